"""Data sets' files as they come off the net: nothing is read without a bound, and what is wrong is said with the way out."""

import errno
import os
import pathlib
import struct
import zipfile
import zlib

from facedet.data import jpeg

MOST_ANNOTATION_BYTES = 16 * 2**20  # the official ones have up to 5 MB
MOST_LANDMARK_BYTES = 64 * 2**20
MOST_IMAGE_BYTES = 32 * 2**20


class WiderFaceError(Exception):
    """Something in the data set cannot be used; the message names file, line, value and the way out."""


# what zipfile raises for damage: also where a password or a compression is asked for that is not there
_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, RuntimeError)


def open_zip(path: pathlib.Path) -> zipfile.ZipFile:
    """Opens a zip; an HTML page or a broken download of that name raises WiderFaceError that says so."""
    try:
        return zipfile.ZipFile(path)
    except _ZIP_FAULTS as error:
        with open(path, "rb") as file:
            what = jpeg.looks_like(file.read(256))
        if what == "a zip":
            what = f"no whole zip ({error})"
        raise WiderFaceError(f"{path} is {what}: download it again (it is {os.path.getsize(path):,} bytes).") from error


def read_member(archive: zipfile.ZipFile, name: str, most_bytes: int = MOST_ANNOTATION_BYTES) -> bytes:
    """A file of a zip. Raises KeyError where it is absent and WiderFaceError where it is damaged, encrypted or too large."""
    info = archive.getinfo(name)
    if info.file_size > most_bytes:
        raise WiderFaceError(
            f"{archive.filename}: {name} has {info.file_size:,} bytes unpacked, more than {most_bytes:,}: it is not official."
        )
    try:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack without a bound
            raise NotImplementedError(f"compression {info.compress_type}")
        return archive.read(info)
    except _ZIP_FAULTS as error:
        raise WiderFaceError(f"{archive.filename}: {name} is damaged or encrypted ({error}): download the zip again.") from error


def read_file(path: pathlib.Path, most_bytes: int = MOST_ANNOTATION_BYTES) -> bytes:
    """A text file, whole. Raises WiderFaceError where it cannot be, or has more than `most_bytes`."""
    try:
        if path.stat().st_size > most_bytes:
            raise WiderFaceError(f"{path} has {path.stat().st_size:,} bytes, more than {most_bytes:,}: it is not the official file.")
        if not path.is_file():
            raise WiderFaceError(f"{path} is no file.")
        return path.read_bytes()
    except OSError as error:
        raise WiderFaceError(f"{path} cannot be read: {error.strerror}.") from error


def text(data: bytes, where: str) -> str:
    """UTF-8 with or without a mark. Raises WiderFaceError naming the line of the first other byte."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise WiderFaceError(
            f"{where}:{line}: no UTF-8 text (byte {data[error.start]:#x}). Download the file again, or save it as UTF-8."
        ) from error


def check_size(num_bytes: int) -> None:
    """Raises OSError for a picture larger than any of WIDER FACE."""
    if num_bytes > MOST_IMAGE_BYTES:
        raise OSError(errno.EFBIG, f"{num_bytes:,} bytes are more than a picture of WIDER FACE has")


def read_picture(path: str) -> bytes:
    """A picture, whole. Raises FileNotFoundError where it is absent, another OSError where it is no file of a picture's size."""
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "it is a folder, a pipe or a link to nothing")
    check_size(os.path.getsize(path))
    with open(path, "rb", buffering=0) as file:
        return file.read()
