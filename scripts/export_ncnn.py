#!/usr/bin/env python3
"""Exports a checkpoint as ncnn's .param and .bin, raw, with kernels in float32 and in float16, with a parity report.

    python scripts/export_ncnn.py --pipeline_config_path configs/NAME.config --checkpoint_dir models/NAME \\
        --output_dir exported_models/NAME_ncnn
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from facedet.export import command


def _format():
    from facedet.export.formats.ncnn import NCNN

    return NCNN()


if __name__ == "__main__":
    sys.exit(command.main("scripts/export_ncnn.py", __doc__, _format))
