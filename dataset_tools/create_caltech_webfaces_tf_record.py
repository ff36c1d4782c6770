#!/usr/bin/env python3
"""Turns Caltech 10,000 Web Faces into the TFRecord shards and the manifest that WIDER FACE is turned into.

    python dataset_tools/create_caltech_webfaces_tf_record.py --data_dir ~/caltech --output_dir data/caltech_webfaces --holdout_percent 10

--data_dir holds WebFaces_GroundThruth.txt, and the pictures in img/, in Caltech_WebFaces/ or beside it. Boxes are derived from the
points of eyes, nose and mouth (facedet/data/caltech_webfaces.py says how); records have no landmarks. The shards are named
as WIDER FACE's, widerface_train and widerface_holdout: a config takes them by its input_path.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from facedet.data import conversion, conversion_command, records, widerface
from facedet.data.caltech_webfaces import CaltechWebFaces


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--data_dir", required=True, help="holds WebFaces_GroundThruth.txt")
    parser.add_argument("--images_dir", metavar="DIR", help="the pictures (default: img or Caltech_WebFaces in --data_dir, or itself)")
    parser.add_argument("--output_dir", default="data/caltech_webfaces", help="where shards and manifest go (default: %(default)s)")
    conversion_command.add_options(parser)
    args = parser.parse_args(argv)
    try:
        source = CaltechWebFaces(args.data_dir, args.images_dir)
        manifest = conversion.convert_sources([source], args.output_dir, conversion_command.options(args))
    except (widerface.WiderFaceError, records.RecordsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    conversion_command.report(manifest, args.output_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
