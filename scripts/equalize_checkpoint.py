#!/usr/bin/env python3
"""A trained checkpoint that computes the same and loses less to 8 bits: where its last, quantized steps start.

    python scripts/equalize_checkpoint.py --pipeline_config_path configs/NAME.config --checkpoint models/NAME --output models/NAME-start

Channels that share a grid are made alike in width (cross-layer equalization), and the ranges of all activations are collected anew, on training
pictures of the config. Means come before: of two that were equalized apart there is none. export_tflite.py does all this by itself with a
checkpoint that never saw fake quantization.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--pipeline_config_path", required=True)
    parser.add_argument("--checkpoint", required=True, help="a folder, or a checkpoint's prefix")
    parser.add_argument(
        "--calibration_images", type=int, default=200, metavar="N", help="training pictures that are looked at (default: %(default)s)"
    )
    parser.add_argument("--output", required=True, help="a folder for the checkpoint")
    args = parser.parse_args(argv)
    if args.calibration_images < 1:
        parser.error(f"--calibration_images {args.calibration_images}: at least 1 is needed")

    from facedet.data.records import RecordsError
    from facedet.evaluation.checkpoint_detector import CheckpointDetector
    from facedet.export.exporter import calibrate
    from facedet.quantization.network import NotQuantizableError
    from facedet.recipe import pipeline_config
    from facedet.weights import checkpoints

    try:
        recipe = pipeline_config.read(args.pipeline_config_path)
        detector = CheckpointDetector.from_checkpoint(recipe, args.checkpoint)
        equalized = calibrate(detector, pipeline_config.input_paths(recipe.data.train, "train_input_reader"), args.calibration_images)
    except (pipeline_config.ConfigError, checkpoints.CheckpointError, NotQuantizableError, RecordsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    checkpoints.write_weights(str(pathlib.Path(args.output) / "ckpt-0"), detector.quantizable, 0, quantized=True)
    print(f"{args.output}: {args.checkpoint}, what {len(equalized)} layers give equalized, ranges of {args.calibration_images} pictures.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
