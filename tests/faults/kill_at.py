"""Kills a process (SIGKILL, to itself) right before its n-th change of a file below a folder, or so
many seconds after the first.

    python tests/faults/kill_at.py --under DIR (--at N | --after SECONDS) script.py [arguments]

With neither it writes the number of changes to stderr at the end. What TensorFlow writes by itself is not seen: use --after.
"""

import argparse
import atexit
import os
import pathlib
import runpy
import signal
import sys
import threading

_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "shutil.copyfile", "shutil.move")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Changes:
    """Counts the process's changes below `folder` from now on; kills it before the one numbered `at` (from 1), or `after` seconds."""

    def __init__(self, folder: pathlib.Path, at: int | None = None, after: float | None = None):
        self._folder, self._at, self._after, self.count = os.path.abspath(folder), at, after, 0
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple) -> None:
        changes = event in _CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & _WRITES)
        # relative paths are those of shutil.rmtree, below a folder that is open
        if changes and isinstance(args[0], str | os.PathLike) and self._is_below(os.fspath(args[0])):
            self.count += 1
            if self.count == self._at:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.count == 1 and self._after is not None:
                timer = threading.Timer(self._after, os.kill, (os.getpid(), signal.SIGKILL))
                timer.daemon = True
                timer.start()

    def _is_below(self, path) -> bool:
        return not isinstance(path, str) or not os.path.isabs(path) or path.startswith(self._folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--under", type=pathlib.Path, required=True)
    parser.add_argument("--at", type=int)
    parser.add_argument("--after", type=float)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    changes = Changes(args.under, args.at, args.after)
    if args.at is None and args.after is None:
        atexit.register(lambda: print(f"{changes.count} changes", file=sys.stderr))
    sys.argv = args.command
    sys.path[0] = str(pathlib.Path(args.command[0]).resolve().parent)
    runpy.run_path(args.command[0], run_name="__main__")


if __name__ == "__main__":
    main()
