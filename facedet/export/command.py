"""What the commands that export have in common: their options, and which errors are a sentence."""

import argparse
import pathlib
import sys
from collections.abc import Callable


def main(name: str, description: str, make_format: Callable, argv=None) -> int:
    """The exit code: 0, 1 for what cannot be exported, 2 for files that do not compute what their checkpoint does.

    name: of the command, as it is typed.  make_format: () -> a formats.base.Format. Nothing heavy is imported before the options are read.
    """
    parser = argparse.ArgumentParser(
        prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--pipeline_config_path", required=True)
    parser.add_argument("--checkpoint_dir", required=True, help="a folder, of which the newest is taken, or a checkpoint's prefix")
    parser.add_argument("--output_dir", required=True, help="a folder of its own: it is replaced whole")
    parser.add_argument("--parity_images", type=int, default=100, help="pictures of the evaluation records (default: %(default)s)")
    parser.add_argument("--calibration_images", type=int, default=200, help="pictures for a float checkpoint (default: %(default)s)")
    parser.add_argument(
        "--files",
        choices=("all", "shipped", "int8"),
        default="all",
        help="shipped: int8, and float16 raw for GPUs (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    from facedet.data import records
    from facedet.export import exporter, parity
    from facedet.export.formats.base import NotConvertibleError
    from facedet.quantization.network import NotQuantizableError
    from facedet.recipe import pipeline_config
    from facedet.training import run_record
    from facedet.weights import checkpoints

    try:
        card = exporter.export(args.pipeline_config_path, args.checkpoint_dir, args.output_dir, args.parity_images, args.calibration_images,
                               command=run_record.this_command(), export_format=make_format(), files=args.files)  # fmt: skip
    except parity.ParityError as error:
        print(f"error: {error}\nNothing was written to {args.output_dir}.", file=sys.stderr)
        return 2
    except (
        pipeline_config.ConfigError,
        records.RecordsError,
        checkpoints.CheckpointError,
        NotQuantizableError,
        NotConvertibleError,
        exporter.ExportError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print((pathlib.Path(args.output_dir) / "model_card.md").read_text())
    print(f"{len(card['files'])} files are in {args.output_dir}.")
    return 0
