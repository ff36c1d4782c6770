#!/usr/bin/env python3
"""What networks cost before they are run: parameters, multiply-adds, memory of activations, bytes, operators, anchors.

    python scripts/profile.py configs/*.config exported_models/*/*_int8.tflite
    python scripts/profile.py configs/NAME.config --layers
    python scripts/profile.py FILE.tflite --json > profile.json

A config's network is built with random weights: nothing needs to be trained. In a .tflite batch norms are folded into the convolutions.
"""

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tabulate import tabulate


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("paths", nargs="+", metavar="CONFIG_OR_FILE")
    parser.add_argument("--layers", action="store_true", help="layer by layer, too")
    parser.add_argument("--json", action="store_true", help="print JSON, a list with one object for each, sizes in bytes")
    parser.add_argument(
        "--published_rules",
        action="store_true",
        help="the 'flops' of zineos/blazeface's table, too: multiply-adds and bias adds, and for each value of a batch norm 2 in its "
        "BlazeFace row, 4 in its others, which therefore do not compare",
    )
    args = parser.parse_args(argv)
    from facedet.errors import ConfigError
    from facedet.evaluation import profile

    profiles = []
    for path in args.paths:
        try:
            profiles.append(profile.read(path))
        except (profile.ProfileError, ConfigError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    if args.json:
        print(json.dumps([made.as_dict(args.layers) for made in profiles], indent=1))
        return 0
    print(tabulate([_row(made, args.published_rules) for made in profiles], "keys", "github", disable_numparse=True))
    for made in profiles:
        print(f"\n{made.name}: " + ", ".join(f"{count} {kind}" for kind, count in made.operators.items()))
        if args.layers:
            print(tabulate([_layer_row(layer) for layer in made.layers], "keys", "github", disable_numparse=True))
    return 0


def _row(made, published: bool) -> dict:
    row = {
        "": made.name,
        "input": f"{made.input[1]}x{made.input[0]}",
        "parameters": f"{made.parameters - made.statistics:,}",
        "statistics": f"{made.statistics:,}",
        "M multiply-adds": f"{made.multiply_adds / 1e6:.1f}",
        "peak of activations, kB": _kilobytes(made.peak_activation_bytes),
        "weights, kB": _kilobytes(made.weight_bytes),
        "file, kB": "" if made.file_bytes is None else f"{made.file_bytes / 1e3:,.0f}",
        "anchors": f"{made.anchors:,}",
        "operators": len(made.layers),
    }
    for rule in (2, 4) if published else ():
        row[f"M flops, BN {rule}"] = f"{made.published[rule] / 1e6:.3f}" if made.published else ""
    return row


def _kilobytes(sizes: dict[str, int]) -> str:
    return ", ".join(f"{size / 1e3:,.0f} {precision}" for precision, size in sizes.items())


def _layer_row(layer) -> dict:
    return {
        "name": layer.name,
        "kind": f"{layer.kind} {layer.detail}".rstrip(),
        "output": "x".join(map(str, layer.shape)),
        "parameters": f"{layer.parameters:,}" if layer.parameters else "",
        "multiply-adds": f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
    }


if __name__ == "__main__":
    sys.exit(main())
