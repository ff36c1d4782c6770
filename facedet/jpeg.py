"""What a JPEG says of itself, read from its markers without decoding a pixel (ITU-T T.81, annex B; Exif 2.3, 4.6)."""

import struct
from typing import NamedTuple

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # not: Huffman tables, reserved, arithmetic tables
_START_OF_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}


class NotJpegError(ValueError):
    """The bytes are no JPEG: the message says what they look like."""


class TruncatedJpegError(ValueError):
    """A JPEG that stops before its end-of-image marker."""


class JpegInfo(NamedTuple):
    """height and width are those of the stored pixels; orientation is the EXIF tag, 1 where pixels are upright."""

    height: int
    width: int
    orientation: int


def read_info(data: bytes) -> JpegInfo:
    """Size and orientation of a whole JPEG.

    Raises NotJpegError for other content and TruncatedJpegError where the picture stops early: in coded data the byte
    0xFF is followed by a marker only at the picture's end, so an end-of-image marker after the first scan proves a whole file.
    """
    if data[:3] != b"\xff\xd8\xff":
        raise NotJpegError(f"not a JPEG but {looks_like(data)}")
    size, orientation, at = None, 1, 2
    while True:
        start = data.find(b"\xff", at)
        if start < 0 or start + 4 > len(data):
            raise TruncatedJpegError(f"stops after {len(data)} bytes, within its headers")
        marker, at = data[start + 1], start + 2
        if marker == 0xFF:
            at = start + 1
            continue
        if marker in _WITHOUT_LENGTH or marker == 0:
            continue
        if marker == _END_OF_IMAGE:
            raise TruncatedJpegError("holds no picture: it ends before the first scan")
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _START_OF_FRAME and at + 7 <= len(data):
            size = struct.unpack_from(">HH", data, at + 3)
        elif marker == _APP1 and data[at + 2 : at + 8] == b"Exif\0\0":
            orientation = _exif_orientation(data[at + 8 : at + length])
        elif marker == _START_OF_SCAN:
            break
        at += length
    if size is None or 0 in size:
        raise TruncatedJpegError("has no frame header with a size")
    if data.rfind(b"\xff\xd9") < at:
        raise TruncatedJpegError(f"stops after {len(data)} bytes, before its end-of-image marker")
    return JpegInfo(size[0], size[1], orientation)


def _exif_orientation(tiff: bytes) -> int:
    """The value of tag 0x0112 in the first directory; 1 where it is absent or makes no sense."""
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, at)
        for i in range(entries):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, at + 2 + 12 * i)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        pass
    return 1


def looks_like(data: bytes) -> str:
    """What the first bytes of a file that should be something else are, in words."""
    if not data:
        return "an empty file"
    head = data[:256].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, as a failed download leaves"
    for magic, name in ((b"\x89PNG", "a PNG"), (b"GIF8", "a GIF"), (b"RIFF", "a WebP"), (b"PK", "a zip"), (b"BM", "a BMP")):
        if data.startswith(magic):
            return name
    return f"something that begins with {data[:4].hex(' ')}"
