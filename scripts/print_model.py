#!/usr/bin/env python3
"""A network's structure: each layer with its sources, shape and cost as a table, and on request as a picture.

    python scripts/print_model.py configs/NAME.config --output network.png

An exported .tflite is taken, too. The picture may be .png, .pdf or .svg.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tabulate import tabulate


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("path", metavar="CONFIG_OR_FILE")
    parser.add_argument("--output", metavar="PICTURE")
    args = parser.parse_args(argv)
    from facedet.errors import ConfigError
    from facedet.evaluation import network_drawing, profile

    try:
        made = profile.read(args.path)
    except (profile.ProfileError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tabulate([_row(layer) for layer in made.layers], "keys", "github", disable_numparse=True))
    print(f"\n{made.name}: {made.parameters:,} parameters, {made.multiply_adds:,} multiply-adds, {made.anchors:,} anchors.")
    if args.output:
        try:
            network_drawing.draw(made, args.output)
        except (OSError, ValueError) as error:
            print(f"error: --output {args.output} cannot be written: {error}", file=sys.stderr)
            return 1
    return 0


def _row(layer) -> dict:
    return {
        "name": layer.name,
        "kind": f"{layer.kind} {layer.detail}".rstrip(),
        "from": ", ".join(layer.sources),
        "output": " x ".join(map(str, layer.shape)),
        "parameters": f"{layer.parameters:,}" if layer.parameters else "",
        "multiply-adds": f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
    }


if __name__ == "__main__":
    sys.exit(main())
