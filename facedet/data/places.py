"""Files and folders of this machine, or of any file system that TensorFlow knows by a URL, such as gs://bucket/folder: in pathlib's words."""

import os
import pathlib
import posixpath
from typing import NamedTuple


def place(path: str | os.PathLike) -> "pathlib.Path | Url":
    """A pathlib.Path, or a Url where the path is one. ValueError for a scheme that TensorFlow does not know."""
    text = os.fspath(path)
    if "://" not in text:
        return pathlib.Path(text)
    import tensorflow as tf

    scheme, known = text.split("://")[0], sorted(filter(None, tf.io.gfile.get_registered_schemes()))
    if scheme not in known:
        raise ValueError(f"{text}: TensorFlow knows no file system {scheme}://, but {', '.join(known)}: copy it to one of these.")
    return Url(text)


class _Stat(NamedTuple):
    st_size: int
    st_mtime_ns: int


class Url(os.PathLike):
    """What this project asks of a pathlib.Path; errors are tf.errors.OpError, those of files that are not there FileNotFoundError."""

    def __init__(self, url: str):
        import tensorflow as tf

        self._url, self._files = url.rstrip("/"), tf.io.gfile

    def __fspath__(self) -> str:
        return self._url

    __str__ = __fspath__

    def __repr__(self) -> str:
        return f"Url({self._url!r})"

    def __eq__(self, other) -> bool:
        return isinstance(other, Url) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __truediv__(self, name: str) -> "Url":
        return Url(f"{self._url}/{name}")

    @property
    def name(self) -> str:
        return posixpath.basename(self._url)

    @property
    def stem(self) -> str:
        return posixpath.splitext(self.name)[0]

    @property
    def parent(self) -> "Url":
        return Url(posixpath.dirname(self._url))

    def with_name(self, name: str) -> "Url":
        return self.parent / name

    def with_suffix(self, suffix: str) -> "Url":
        return Url(posixpath.splitext(self._url)[0] + suffix)

    def exists(self) -> bool:
        return self._files.exists(self._url)

    def is_dir(self) -> bool:
        return self._files.isdir(self._url)

    def is_file(self) -> bool:
        return self.exists() and not self.is_dir()

    def stat(self) -> _Stat:
        found = self._files.stat(self._url)
        return _Stat(found.length, found.mtime_nsec)

    def glob(self, pattern: str) -> "list[Url]":
        return [Url(found) for found in self._files.glob(f"{self._url}/{pattern}")]

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        self._files.makedirs(self._url)

    def read_bytes(self) -> bytes:
        import tensorflow as tf

        try:
            with self._files.GFile(self._url, "rb") as file:
                return file.read()
        except tf.errors.NotFoundError as error:
            raise FileNotFoundError(error.message) from error

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def write_text(self, text: str) -> None:
        with self._files.GFile(self._url, "wb") as file:
            file.write(text.encode())

    def replace(self, target: "Url") -> None:
        self._files.rename(self._url, os.fspath(target), overwrite=True)

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok or self.exists():
            self._files.remove(self._url)
