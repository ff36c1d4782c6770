"""Exports a checkpoint as float32, float16 and int8 .tflite, each with its NMS operator and raw, with a parity report.

    facedet export --pipeline_config_path configs/NAME.config --checkpoint_dir models/NAME \\
        --output_dir exported_models/NAME
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="facedet export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--pipeline_config_path", required=True)
    parser.add_argument("--checkpoint_dir", required=True, help="a folder, of which the newest is taken, or a checkpoint's prefix")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--parity_images", type=int, default=100, help="pictures of the evaluation records (default: %(default)s)")
    parser.add_argument("--calibration_images", type=int, default=200, help="pictures for a float checkpoint (default: %(default)s)")
    args = parser.parse_args(argv)
    from facedet.data import records
    from facedet.export import exporter, parity
    from facedet.quantization.network import NotQuantizableError
    from facedet.recipe import pipeline_config
    from facedet.training import run_record
    from facedet.weights import checkpoints

    try:
        card = exporter.export(args.pipeline_config_path, args.checkpoint_dir, args.output_dir, args.parity_images, args.calibration_images,
                               command=run_record.this_command())  # fmt: skip
    except parity.ParityError as error:
        print(f"error: {error}\nNothing was written to {args.output_dir}.", file=sys.stderr)
        return 2
    except (
        pipeline_config.ConfigError,
        records.RecordsError,
        checkpoints.CheckpointError,
        NotQuantizableError,
        exporter.ExportError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print((pathlib.Path(args.output_dir) / "model_card.md").read_text())
    print(f"{len(card['files'])} files are in {args.output_dir}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
