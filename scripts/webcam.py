#!/usr/bin/env python3
"""The command `facedet webcam`, from a clone."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from facedet.__main__ import run

if __name__ == "__main__":
    sys.exit(run("webcam"))
