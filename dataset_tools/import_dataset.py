#!/usr/bin/env python3
"""Turns pictures of your own, with boxes in one of the usual formats, into the records that WIDER FACE is turned into.

    python dataset_tools/import_dataset.py --format yolo --images DIR --annotations LABELS --output_dir data/mine

    voc   a folder of XML files, one a picture; corners count from 1
    coco  one JSON file; bbox is left, top, width, height in pixels; crowds are ignored; five keypoints are landmarks
    yolo  a folder of texts, one a picture: class xcenter ycenter width height in fractions, and five landmarks where there are
    csv   one table with a header row: image,xmin,ymin,xmax,ymax or image,x,y,width,height in pixels; class, ignore, x1,y1 to x5,y5

Every box is written, written as ignored or dropped, each with its reason; the sums are printed and kept in manifest.json, and what cannot
be used is named with file and line. A fifth of the pictures is held out, as a split of its own. JPEGs are written as they are, other pictures as
JPEGs of quality 95. The landmarks are eye, eye, nose, mouth corner, mouth corner.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from facedet.data import conversion, conversion_command, records
from facedet.data.official_files import WiderFaceError
from facedet.data.own_pictures import FORMATS, OwnPictures


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--images", required=True, metavar="DIR", help="the pictures, in folders of any depth")
    parser.add_argument("--annotations", required=True, metavar="PATH", help="the folder of annotation files, or the one file")
    parser.add_argument("--output_dir", default="data/mine", help="where shards and manifest go (default: %(default)s)")
    parser.add_argument(
        "--class_name", nargs="+", default=[], help="the classes that are faces (default: 'face', or the only one there is)"
    )
    parser.add_argument("--split", default="train", choices=["train", "val"], help="val: a set to test on, nothing is held out of it")
    parser.add_argument("--upright", action="store_true", help="boxes were drawn on the pictures as their EXIF orientation turns them")
    conversion_command.add_options(parser)
    parser.set_defaults(holdout_percent=20)
    args = parser.parse_args(argv)
    try:
        source = OwnPictures(args.format, args.images, args.annotations, args.class_name, args.split, args.upright)
        manifest = conversion.convert_sources([source], args.output_dir, conversion_command.options(args))
    except (WiderFaceError, records.RecordsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    conversion_command.report(manifest, args.output_dir)
    print("".join(f"\n{note}" for note in source.notes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
