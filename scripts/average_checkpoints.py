#!/usr/bin/env python3
"""The mean of two checkpoints of which one was fine-tuned from the other: where a training starts that wants what each does better.

    python scripts/average_checkpoints.py --pipeline_config_path configs/NAME.config --checkpoint models/NAME \\
        --other_config_path configs/OTHER.config --other_checkpoint exported_models/OTHER/checkpoint --share 0.7 --output models/NAME-start

The network is the first config's; what the other one lacks, landmarks for instance, stays as it is.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--pipeline_config_path", required=True, help="of the checkpoint")
    parser.add_argument("--checkpoint", required=True, help="a folder, or a checkpoint's prefix")
    parser.add_argument("--other_config_path", required=True, help="of the other checkpoint")
    parser.add_argument("--other_checkpoint", required=True)
    parser.add_argument("--share", required=True, type=_share, help="of the other one in the mean, 0 to 1")
    parser.add_argument("--output", required=True, help="a folder for the checkpoint")
    args = parser.parse_args(argv)

    from facedet.detectors import registry
    from facedet.quantization.network import QuantizableNetwork
    from facedet.recipe import pipeline_config
    from facedet.weights import averaging, checkpoints

    try:
        network, other = (
            QuantizableNetwork(registry.build(pipeline_config.read(path)).network)
            for path in (args.pipeline_config_path, args.other_config_path)
        )
        checkpoints.load(args.checkpoint, network)
        checkpoints.load(args.other_checkpoint, other)
        kept = averaging.average(network, other, args.share)
    except (pipeline_config.ConfigError, checkpoints.CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    checkpoints.write_weights(str(pathlib.Path(args.output) / "ckpt-0"), network, 0, quantized=False)
    print(
        f"{args.output}: {args.share:g} of {args.other_checkpoint}, {1 - args.share:g} of {args.checkpoint}; {len(kept)} weights are its own."
    )
    return 0


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return share


if __name__ == "__main__":
    sys.exit(main())
