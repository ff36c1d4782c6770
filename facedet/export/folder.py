"""A folder that is replaced whole: what is made takes the place of what was there by one rename, killed or not."""

import contextlib
import ctypes
import errno
import glob
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # fcntl.h, linux/fs.h
_MADE, _OLD = "made", "old"


@contextlib.contextmanager
def replacing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty folder beside `folder` to write to; it takes its place when the block ends, and is gone where the block raises.

    What a killed process left beside it is cleaned first. One process at a time may replace a folder. Raises OSError.
    """
    folder = folder.resolve()  # a link to a folder stays one
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = _work(folder)
    recover(folder)
    (work / _MADE).mkdir(parents=True)
    try:
        yield work / _MADE
        _take_place(work / _MADE, folder, work / _OLD)
    finally:
        recover(folder)


def recover(folder: pathlib.Path) -> None:
    """Puts back the old folder where a process was killed between two renames, and removes what it left."""
    work = _work(folder)
    if not folder.exists() and (work / _OLD).is_dir():
        os.rename(work / _OLD, folder)
    shutil.rmtree(work, ignore_errors=True)
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        if path.is_dir() and re.fullmatch("[a-z0-9_]{8}", path.name.rpartition(".")[2]):
            shutil.rmtree(path, ignore_errors=True)  # tempfile's names, of exports before there was one fixed name


def _work(folder: pathlib.Path) -> pathlib.Path:
    return folder.parent / f".{folder.name}.unfinished"


def _take_place(made: pathlib.Path, folder: pathlib.Path, old: pathlib.Path) -> None:
    if not folder.exists():
        os.rename(made, folder)
    elif not _exchange(made, folder):
        os.rename(folder, old)
        os.rename(made, folder)


def _exchange(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Linux's exchange of two names in one step; False where system or file system has none."""
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))
