#!/usr/bin/env python3
"""Published weights of a detector as a checkpoint of its config here, to evaluate, to export or to go on training from.

    python scripts/import_weights.py --pipeline_config_path configs/slim_320x240_widerface.config --weights slim.onnx \\
        --output models/slim_published --images DIR

Published files have their batch norms folded into the convolutions: their statistics are lost. With pictures, of faces and of the kind
that is trained on, they are measured; without, the checkpoint detects the same, but only model.ssd.freeze_batchnorm: true trains it.
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
    parser.add_argument("--weights", required=True, metavar="FILE", help="of the config's network: .onnx, or MediaPipe's .tflite")
    parser.add_argument("--output", required=True, help="a folder for the checkpoint")
    parser.add_argument("--images", metavar="DIR", help="pictures (.jpg, .png), on which statistics for training are measured")
    parser.add_argument("--num_images", type=int, default=64, help="so many of them (default: %(default)s)")
    args = parser.parse_args(argv)

    from facedet.detectors import registry
    from facedet.quantization.network import QuantizableNetwork
    from facedet.recipe import pipeline_config
    from facedet.weights import checkpoints, published, statistics

    try:
        detector = registry.build(pipeline_config.read(args.pipeline_config_path))
        pictures = _pictures(args.images, args.num_images) if args.images else []
        count = published.load(args.weights, detector.network)
    except pipeline_config.ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if pictures:
        statistics.measure(detector.network, _batches(pictures, detector.input))
    quantizable = QuantizableNetwork(detector.network, detector.input.range)
    prefix = checkpoints.write_weights(str(pathlib.Path(args.output) / "ckpt-0"), quantizable, 0, quantized=False)
    measured = f"; batch norms have the statistics of {len(pictures)} pictures" if pictures else ""
    print(
        f"{prefix}: all {count} layers of the network, {detector.network.count_params():,} weights, are those of {args.weights}{measured}."
    )
    return 0


def _pictures(directory: str, count: int) -> list[pathlib.Path]:
    """An even sample. ConfigError where there is none."""
    found = sorted(path for path in pathlib.Path(directory).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not found:
        from facedet.errors import ConfigError

        raise ConfigError(f"--images {directory}: there is no .jpg or .png below it.")
    return found[:: max(1, len(found) // max(1, count))][: max(1, count)]


def _batches(pictures: list[pathlib.Path], spec, size: int = 8):
    import numpy as np
    from PIL import Image

    for start in range(0, len(pictures), size):
        images = [spec.prepare(np.asarray(Image.open(path).convert("RGB")))[0] for path in pictures[start : start + size]]
        yield spec.normalize(np.stack(images).astype(np.float32))


if __name__ == "__main__":
    sys.exit(main())
