#!/usr/bin/env python3
"""Exports a checkpoint as float32, float16 and int8 (QDQ) .onnx, each with NonMaxSuppression and raw, with a parity report.

    python scripts/export_onnx.py --pipeline_config_path configs/NAME.config --checkpoint_dir models/NAME \\
        --output_dir exported_models/NAME_onnx
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from facedet.export import command


def _format():
    from facedet.export.formats.onnx import ONNX

    return ONNX()


if __name__ == "__main__":
    sys.exit(command.main("scripts/export_onnx.py", __doc__, _format))
