"""Exports a checkpoint as float32, float16 and int8 .tflite, each with its NMS operator and raw, with a parity report.

    facedet export --pipeline_config_path configs/NAME.config --checkpoint_dir models/NAME \\
        --output_dir exported_models/NAME
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from facedet.export import command


def main(argv=None) -> int:
    """The exit code, of facedet.export.command.main()."""
    return command.main("facedet export", __doc__, _format, argv)


def _format():
    from facedet.export.formats.tflite import TFLite

    return TFLite()
