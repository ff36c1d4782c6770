#!/usr/bin/env python3
"""Turns WIDER FACE, as folders or as the official zips, into TFRecord shards and a manifest.

    python dataset_tools/create_widerface_tf_record.py --data_dir ~/widerface --output_dir data/widerface

Every face of the official lists is written, written as ignored (weight 0: neither learned nor background) or dropped,
each with its reason; the sums are printed and kept in manifest.json. Bad pictures and rows are named, never a crash.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from facedet.data import conversion, conversion_command, records, widerface


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--data_dir", required=True, help="holds WIDER_train, WIDER_val and wider_face_split, as folders or zips")
    parser.add_argument("--output_dir", default="data/widerface", help="where shards and manifest go (default: %(default)s)")
    parser.add_argument("--splits", nargs="+", default=["train", "val"], choices=["train", "val"])
    parser.add_argument("--landmarks", metavar="FILE", help="a RetinaFace label file with five points a face")
    parser.add_argument("--eval_gt_dir", metavar="DIR", help="the official wider_*_val.mat (default: looked for below --data_dir)")
    conversion_command.add_options(parser)
    args = parser.parse_args(argv)
    try:
        options = conversion_command.options(args)
        manifest = conversion.convert(args.data_dir, args.output_dir, args.splits, options, args.landmarks, args.eval_gt_dir)
    except (widerface.WiderFaceError, records.RecordsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    conversion_command.report(manifest, args.output_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
