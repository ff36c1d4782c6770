#!/usr/bin/env python3
"""Turns WIDER FACE, as folders or as the official zips, into TFRecord shards and a manifest.

    python dataset_tools/create_widerface_tf_record.py --data_dir ~/widerface --output_dir data/widerface

Every face of the official lists is written, written as ignored (weight 0: neither learned nor background) or dropped,
each with its reason; the sums are printed and kept in manifest.json. Bad pictures and rows are named, never a crash.
"""

import argparse
import dataclasses
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tabulate import tabulate

from facedet.data import conversion, records, widerface


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--data_dir", required=True, help="holds WIDER_train, WIDER_val and wider_face_split, as folders or zips")
    parser.add_argument("--output_dir", default="data/widerface", help="where shards and manifest go (default: %(default)s)")
    parser.add_argument("--splits", nargs="+", default=["train", "val"], choices=["train", "val"])
    parser.add_argument("--landmarks", metavar="FILE", help="a RetinaFace label file with five points a face")
    parser.add_argument("--eval_gt_dir", metavar="DIR", help="the official wider_*_val.mat (default: looked for below --data_dir)")
    for field in dataclasses.fields(conversion.Options):
        flag, default = f"--{field.name}", field.default
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true", help=_HELP[field.name])
        else:
            parser.add_argument(flag, type=type(default), default=default, help=f"{_HELP[field.name]} (default: %(default)s)")
    args = parser.parse_args(argv)
    options = conversion.Options(**{field.name: getattr(args, field.name) for field in dataclasses.fields(conversion.Options)})
    try:
        manifest = conversion.convert(args.data_dir, args.output_dir, args.splits, options, args.landmarks, args.eval_gt_dir)
    except (widerface.WiderFaceError, records.RecordsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, split in manifest["splits"].items():
        print(f"\n{name}: {sum(split['images'].values()):,} pictures, {split['faces']['stated']:,} faces, {len(split['shards'])} shards")
        print(tabulate(balance_rows(split), headers=["", "reason", "faces"], intfmt=","))
        print(tabulate(sorted(split["images"].items()), headers=["pictures", ""], intfmt=","))
    print(f"\nManifest: {pathlib.Path(args.output_dir) / records.MANIFEST}")
    return 0


def balance_rows(split: dict) -> list[tuple]:
    """What became of the faces, as table rows whose numbers add up to the last one."""
    faces = split["faces"]
    rows = [("written", "", faces["written"])]
    rows += [(outcome, reason, count) for outcome in ("ignored", "dropped") for reason, count in faces[outcome].items()]
    return [*rows, ("= stated", "", faces["stated"])]


_HELP = {
    "min_face_px": "faces whose longer side is below, in pixels of the picture, are written as ignored",
    "max_faces_per_image": "faces of a picture to learn: the smallest past so many are written as ignored; max_number_of_boxes has to hold them too",
    "holdout_percent": "so much of each event's train pictures goes to a third split, holdout, for tuning",
    "seed": "of the order of the pictures and of the held-out part",
    "allow_missing_images": "go on where listed pictures are missing; they are counted",
    "verify_images": "decode every picture in full, not only its headers and its end",
    "strict": "stop at the first bad picture or row",
    "num_workers": "processes; 0 is one a core",
}

if __name__ == "__main__":
    sys.exit(main())
