#!/usr/bin/env python3
"""Looks into a set of records: counts, checksums, a histogram of face sizes, and pictures with their boxes.

python dataset_tools/inspect_tf_record.py --records 'data/widerface/widerface_val.tfrecord-*' --num_pictures 12
"""

import argparse
import collections
import glob
import itertools
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image
from tabulate import tabulate
from tqdm import tqdm

from facedet.data import jpeg, records
from facedet.evaluation import validation
from facedet.runtime import boxes, drawing

EDGES = (0, 8, 16, 32, 64, 128, 256, 512, np.inf)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--records", required=True, help="pattern of record files of one split")
    parser.add_argument("--num_pictures", type=int, default=12)
    parser.add_argument("--contact_sheet", default="contact_sheet.png")
    parser.add_argument("--pictures_dir", help="the sheet's pictures as files, without boxes")
    args = parser.parse_args(argv)
    paths = sorted(glob.glob(args.records))
    try:
        stated = records.check_shards(paths, remembered=False)
    except records.RecordsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    counts, heights = collections.Counter(), []
    total = sum(shard["examples"] for shard in stated["shards"])
    every, pictures = max(1, total // max(args.num_pictures, 1)), []
    for number, (name, encoded, labels) in enumerate(tqdm(records.read_examples(paths), total=total, desc="read", unit="img")):
        info = jpeg.read_info(encoded)
        real = labels.weights > 0
        counts.update(pictures=1, faces=int(real.sum()), ignored=int((~real).sum()), without_a_face=int(not real.any()))
        heights.append((labels.boxes_yxyx_norm[real, 2] - labels.boxes_yxyx_norm[real, 0]) * info.height)
        if number % every == 0 and len(pictures) < args.num_pictures:
            pictures.append(_drawn(encoded, labels))
            if args.pictures_dir:
                path = pathlib.Path(args.pictures_dir) / pathlib.PurePosixPath(name).name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded)
    print(f"{len(paths)} shards, checksums right\n" + tabulate(counts.items(), intfmt=","))
    histogram, _ = np.histogram(np.concatenate([*heights, []]), EDGES)
    rows = [
        [f"{low:g} - {high:g}", n, "#" * round(60 * n / max(histogram.max(), 1))]
        for (low, high), n in zip(itertools.pairwise(EDGES), histogram, strict=True)
    ]
    print("\n" + tabulate(rows, ["face height, px", "faces", ""], intfmt=","))
    if pictures:
        Image.fromarray(drawing.contact_sheet(pictures)).save(args.contact_sheet)
        print(f"\n{len(pictures)} pictures are in {args.contact_sheet}: faces in blue, ignored ones in orange.")
    return 0


def _drawn(encoded: bytes, labels: records.Labels) -> np.ndarray:
    image = validation.decode(encoded)
    corners = boxes.yxyx_norm_to_xyxy_px(labels.boxes_yxyx_norm, *image.shape[:2])
    image = drawing.draw_boxes(image, corners[labels.weights == 0], drawing.IGNORED)
    return drawing.draw_boxes(image, corners[labels.weights > 0], drawing.TRUTH)


if __name__ == "__main__":
    sys.exit(main())
