#!/usr/bin/env python3
"""The command `facedet export`, from a clone."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from facedet.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
