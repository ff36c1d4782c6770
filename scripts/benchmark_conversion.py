#!/usr/bin/env python3
"""The converter beside what the 2019 recipe does and beside a plain copy of the same bytes, in turns on the same pictures.

    python scripts/benchmark_conversion.py --data_dir DIR

The 2019 recipe: one process, a full Pillow decode of each picture to learn its size, a SHA-256, one tf.train.Example at a time.
Imports are not counted; the pictures are read once beforehand, so that no run pays for the disk alone.
"""

import argparse
import hashlib
import io
import os
import pathlib
import shutil
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf
from PIL import Image
from tabulate import tabulate

from facedet.data import conversion, widerface


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    sources = [widerface.WiderFace(args.data_dir, split) for split in ("train", "val")]
    listed = []
    for source in sources:
        there = source.sizes()
        listed.append((source, [entry.parse() for entry in source.annotation() if entry.name in there]))
    count = sum(len(images) for _, images in listed)
    total = sum(len(source.read(image.name)) for source, images in listed for image in images)
    print(f"{count:,} pictures, {total / 1e6:.0f} MB, {os.cpu_count()} cores, {args.rounds} rounds; best of each:")
    ways = {"2019 recipe": lambda out: _recipe_of_2019(listed, out), "plain copy": lambda out: _copy(listed, out),
            "facedet": lambda out: _ours(args.data_dir, out)}  # fmt: skip
    seconds = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as directory:
                begin = time.perf_counter()
                way(pathlib.Path(directory))
                seconds[name].append(time.perf_counter() - begin)
    best = {name: min(values) for name, values in seconds.items()}
    rows = [
        [name, f"{s:.2f}", f"{count / s:,.0f}", f"{best['2019 recipe'] / s:.1f}", f"{s / best['plain copy']:.2f}"]
        for name, s in best.items()
    ]
    print(
        tabulate(rows, ["", "seconds", "pictures/s", "times as fast as 2019", "times as long as a copy"], "github", disable_numparse=True)
    )
    return 0


def _ours(data_dir, output_dir) -> None:
    conversion.convert(data_dir, output_dir, options=conversion.Options(allow_missing_images=True), say=lambda text: None)


def _copy(listed, output_dir) -> None:
    for source, images in listed:
        for image in images:
            target = output_dir / image.name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source.images_dir / image.name, target)


def _recipe_of_2019(listed, output_dir) -> None:
    def integers(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def floats(values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def strings(values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    for source, images in listed:
        writers = [tf.io.TFRecordWriter(str(output_dir / f"{source.split}-{i}")) for i in range(100 if source.split == "train" else 10)]
        for number, image in enumerate(images):
            encoded = source.read(image.name)
            picture = Image.open(io.BytesIO(encoded))
            picture.load()
            width, height = picture.size
            kept = [box for box in image.boxes_xywh_px if box[2] >= 50 and box[3] >= 50]
            feature = {
                "image/height": integers([height]),
                "image/width": integers([width]),
                "image/filename": strings([image.name.encode()]),
                "image/source_id": strings([image.name.encode()]),
                "image/key/sha256": strings([hashlib.sha256(encoded).hexdigest().encode()]),
                "image/encoded": strings([encoded]),
                "image/format": strings([b"jpeg"]),
                "image/object/bbox/xmin": floats([x / width for x, _, _, _ in kept]),
                "image/object/bbox/xmax": floats([(x + w) / width for x, _, w, _ in kept]),
                "image/object/bbox/ymin": floats([y / height for _, y, _, _ in kept]),
                "image/object/bbox/ymax": floats([(y + h) / height for _, y, _, h in kept]),
                "image/object/class/text": strings([b"face"] * len(kept)),
                "image/object/class/label": integers([1] * len(kept)),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writers[number % len(writers)].write(example.SerializeToString())
        for writer in writers:
            writer.close()


if __name__ == "__main__":
    sys.exit(main())
