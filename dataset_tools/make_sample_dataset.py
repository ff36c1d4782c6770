#!/usr/bin/env python3
"""Writes a small data set in WIDER FACE's own layout, composed from photographs in the public domain and under CC0.

python dataset_tools/make_sample_dataset.py --output_dir data/sample
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from facedet.data import sample


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--output_dir", default="data/sample")
    parser.add_argument("--num_train", type=int, default=160)
    parser.add_argument("--num_val", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    print(f"{args.num_train} train and {args.num_val} val pictures are in {sample.make(**vars(args))}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
