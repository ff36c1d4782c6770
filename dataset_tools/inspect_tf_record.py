#!/usr/bin/env python3
"""Looks into a set of records: counts, checksums, a histogram of face sizes, and pictures with their boxes and landmarks.

python dataset_tools/inspect_tf_record.py --records 'data/widerface/widerface_val.tfrecord-*' --num_pictures 12

With --augment CONFIG the pictures are those that a training of that config would see.
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
    parser.add_argument("--augment", metavar="CONFIG", help="a pipeline config: the sheet shows augmented pictures, and nothing is counted")
    args = parser.parse_args(argv)
    paths = sorted(glob.glob(args.records))
    try:
        stated = records.check_shards(paths, remembered=False)
    except records.RecordsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.augment:
        return _show_augmented(args, paths)
    counts, heights = collections.Counter(), []
    total = sum(shard["examples"] for shard in stated["shards"])
    every, pictures = max(1, total // max(args.num_pictures, 1)), []
    for number, (name, encoded, labels) in enumerate(tqdm(records.read_examples(paths), total=total, desc="read", unit="img")):
        info = jpeg.read_info(encoded)
        real = labels.weights > 0
        counts.update(pictures=1, faces=int(real.sum()), ignored=int((~real).sum()), without_a_face=int(not real.any()))
        heights.append((labels.boxes_yxyx_norm[real, 2] - labels.boxes_yxyx_norm[real, 0]) * info.height)
        if number % every == 0 and len(pictures) < args.num_pictures:
            faces = labels.boxes_yxyx_norm, labels.weights, labels.landmarks_xy_norm
            pictures.append(_drawn(validation.decode(encoded), *faces))
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
    _write_sheet(pictures, args.contact_sheet)
    return 0


def _show_augmented(args, paths: list[str]) -> int:
    from facedet.augment import pipeline
    from facedet.errors import ConfigError
    from facedet.recipe import pipeline_config

    try:
        recipe = pipeline_config.read(args.augment)
        examples = pipeline.dataset(paths, recipe.augmentation, recipe.input, batch_size=1)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    pictures = []
    for batch in tqdm(examples.take(args.num_pictures).as_numpy_iterator(), total=args.num_pictures, desc="augment", unit="img"):
        image = np.rint(batch[pipeline.IMAGE][0]).astype(np.uint8)
        pictures.append(_drawn(image, *(batch[key][0] for key in (pipeline.BOXES, pipeline.WEIGHTS)), batch[pipeline.POINTS][0, ..., ::-1]))
    _write_sheet(pictures, args.contact_sheet)
    return 0


def _drawn(image: np.ndarray, boxes_yxyx_norm: np.ndarray, weights: np.ndarray, landmarks_xy_norm: np.ndarray | None) -> np.ndarray:
    corners = boxes.yxyx_norm_to_xyxy_px(boxes_yxyx_norm, *image.shape[:2])
    image = drawing.draw_boxes(image, corners[weights == 0], drawing.IGNORED)
    image = drawing.draw_boxes(image, corners[weights > 0], drawing.TRUTH)
    if landmarks_xy_norm is None:
        return image
    whole = np.isfinite(landmarks_xy_norm).all((1, 2)) & (weights > 0)
    points = landmarks_xy_norm[whole] * np.asarray(image.shape[1::-1])
    return drawing.draw_boxes(image, corners[whole], drawing.TRUTH, landmarks=points)


def _write_sheet(pictures: list[np.ndarray], path: str) -> None:
    if pictures:
        Image.fromarray(drawing.contact_sheet(pictures)).save(path)
        print(f"\n{len(pictures)} pictures are in {path}: faces in blue, ignored ones in orange, landmarks in yellow.")


if __name__ == "__main__":
    sys.exit(main())
