#!/usr/bin/env python3
"""Published weights of a detector as a checkpoint of its config here, to evaluate, to export or to go on training from.

    python scripts/import_weights.py --pipeline_config_path configs/slim_320x240_widerface.config --weights slim.onnx \\
        --output models/slim_published
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
    parser.add_argument("--weights", required=True, metavar="FILE", help="of the config's network: .onnx")
    parser.add_argument("--output", required=True, help="a folder for the checkpoint")
    args = parser.parse_args(argv)

    from facedet.detectors import registry
    from facedet.quantization.network import QuantizableNetwork
    from facedet.recipe import pipeline_config
    from facedet.weights import checkpoints, published

    try:
        detector = registry.build(pipeline_config.read(args.pipeline_config_path))
        count = published.load(args.weights, detector.network)
    except (pipeline_config.ConfigError, published.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    quantizable = QuantizableNetwork(detector.network, detector.input.range)
    prefix = checkpoints.write_weights(str(pathlib.Path(args.output) / "ckpt-0"), quantizable, 0, quantized=False)
    print(f"{prefix}: all {count} convolutions of the network, {detector.network.count_params():,} weights, are those of {args.weights}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
