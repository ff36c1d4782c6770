"""Reads MATLAB files (level 5) in a process of its own: scipy's reader can crash, or fill the memory, on a damaged one."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np

_MOST_BYTES = 64 * 2**20  # the official lists have half a megabyte each
_MEMORY_BYTES = 2 * 2**30
_SECONDS = 120


class MatFileError(ValueError):
    """A file that cannot be read as MATLAB's: the message names it and says why."""


def read(paths: list[pathlib.Path], variables: tuple[str, ...]) -> list[dict]:
    """{name: value} of those variables of each file that it has: cells as flat lists, text as str, numbers as lists of rows.

    Raises MatFileError naming the file.
    """
    for path in paths:
        with open(path, "rb") as file:
            head = file.read(19)
        if head != b"MATLAB 5.0 MAT-file":
            raise MatFileError(f"{path} is no MATLAB file (it begins with {head!r})")
        if path.stat().st_size > _MOST_BYTES:
            raise MatFileError(
                f"{path} has {path.stat().st_size:,} bytes, more than {_MOST_BYTES:,}: it cannot be one of the official lists"
            )
    command = [sys.executable, "-m", "facedet.data.mat_file", ",".join(variables), *(str(path.resolve()) for path in paths)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # its buffers count as memory
    root = pathlib.Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(command, cwd=root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS)
        why = f"the reader ended with {done.returncode}"
        output = done.stdout
    except subprocess.TimeoutExpired as error:
        why, output = f"it was not read after {_SECONDS} s", error.stdout or b""
    found = []
    for path, line in zip(paths, [*output.splitlines(), *[b""] * len(paths)], strict=False):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise MatFileError(f"{path} is damaged ({why})") from error
        if isinstance(value, str):
            raise MatFileError(f"{path} is damaged ({value})")
        found.append(value)
    return found


def _plain(value):
    if value.dtype == object:
        return [_plain(np.asarray(item)) for item in value.ravel()]
    if value.dtype.kind == "U":
        return "".join(value.ravel())
    if value.dtype.kind in "iufb":
        return value.tolist()
    raise ValueError(f"it holds values of type {value.dtype.name}")


def _main(variables: str, *paths: str) -> None:
    """The child: a line of JSON for each file, the variables or what is wrong."""
    from scipy.io import loadmat

    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):  # not on this system: the time still ends
        pass
    for path in paths:
        try:
            values = loadmat(path, variable_names=variables.split(","))
            line = json.dumps({name: _plain(value) for name, value in values.items() if not name.startswith("__")})
        except Exception as error:  # whatever a damaged file raises in a reader that is not ours
            line = json.dumps(f"{type(error).__name__}: {error}"[:300])
        print(line, flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
