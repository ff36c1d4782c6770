#!/usr/bin/env python3
"""A trained checkpoint cut down to the narrower backbone of another config: where that config's training starts from.

    python scripts/narrow_checkpoint.py --pipeline_config_path configs/WIDE.config --checkpoint exported_models/WIDE/checkpoint \\
        --narrow_config_path configs/NARROW.config --output models/NARROW-start
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
    parser.add_argument("--narrow_config_path", required=True)
    parser.add_argument("--output", required=True, help="a folder for the checkpoint")
    args = parser.parse_args(argv)

    from facedet.detectors import registry
    from facedet.quantization.network import QuantizableNetwork
    from facedet.recipe import pipeline_config
    from facedet.weights import checkpoints, narrowing

    try:
        wide, narrow = (
            QuantizableNetwork(registry.build(pipeline_config.read(path)).network)
            for path in (args.pipeline_config_path, args.narrow_config_path)
        )
        checkpoints.load(args.checkpoint, wide)
        new = narrowing.narrow(wide.network, narrow.network)
    except (pipeline_config.ConfigError, checkpoints.CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    checkpoints.write_weights(str(pathlib.Path(args.output) / "ckpt-0"), narrow, 0, quantized=False)
    kept, had = narrow.network.count_params(), wide.network.count_params()
    print(f"{args.output}: {kept:,} of {had:,} parameters; {len(new)} layers are new: {', '.join(new) or 'none'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
