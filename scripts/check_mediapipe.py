#!/usr/bin/env python3
"""Opens exported files in MediaPipe Tasks' ObjectDetector and compares its boxes with FaceDetector's.

    python scripts/check_mediapipe.py --tflite exported_models/NAME/*.tflite --images picture.jpg ...

MediaPipe needs numpy 1: it is installed into an environment of its own (--venv), where it runs; FaceDetector runs here. Both get
the picture already stretched to the input, as MediaPipe's own resizing is coarser.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import venv

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image
from tabulate import tabulate

from facedet import DetectorError, FaceDetector
from facedet.runtime import boxes, detector
from facedet.runtime.input_spec import resize

PACKAGE = "mediapipe==0.10.21"  # the last with a metadata writer; later ones send usage figures to their maker
SCORE = 0.4
LIMIT_PX, LIMIT_SCORE = 2.0, 0.01  # MediaPipe cuts corner, width and height to whole pixels of the input
RAW_IOU = 0.3  # from which MediaPipe suppresses a raw file's boxes, whatever the file says; files with the NMS operator do it themselves
_RUN = """
import json, sys
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision
found = {}
for path in sys.argv[2:]:
    options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=path), score_threshold=float(sys.argv[1]), max_results=300)
    with vision.ObjectDetector.create_from_options(options) as tasks:
        found[path] = {}
        for picture in json.load(open("pictures.json"))[path]:
            result = tasks.detect(mp.Image.create_from_file(picture))
            found[path][picture] = [[d.bounding_box.origin_x, d.bounding_box.origin_y, d.bounding_box.width, d.bounding_box.height,
                                     d.categories[0].score, d.categories[0].category_name] for d in result.detections]
json.dump(found, open("found.json", "w"))
"""


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--tflite", nargs="+", required=True)
    parser.add_argument("--images", nargs="+", required=True)
    parser.add_argument("--venv", default=".venv-mediapipe")
    args = parser.parse_args(argv)
    try:
        return check(args.tflite, args.images, args.venv)
    except DetectorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def check(paths: list[str], image_paths: list[str], environment: str) -> int:
    """Prints the table; 1 where a file fails. Raises DetectorError."""
    images = [detector.read_picture(path) for path in image_paths]
    python = pathlib.Path(environment).absolute() / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    files = [str(pathlib.Path(path).resolve()) for path in paths]
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as directory:
        pictures = {}  # {file: {name: picture stretched to its input}}
        for path in files:
            opened = FaceDetector(path)
            height, width = opened.input.size
            names = [f"{number}_{width}x{height}.png" for number in range(len(images))]
            pictures[path] = {name: resize(image, height, width) for name, image in zip(names, images, strict=True)}
            for name, image in pictures[path].items():
                Image.fromarray(image).save(pathlib.Path(directory) / name)
        (pathlib.Path(directory) / "pictures.json").write_text(json.dumps({path: list(named) for path, named in pictures.items()}))
        ran = subprocess.run([python, "-c", _RUN, str(SCORE), *files], cwd=directory, text=True, capture_output=True)
        if ran.returncode:
            print(ran.stderr[-3000:], file=sys.stderr)
            return 1
        found = json.loads((pathlib.Path(directory) / "found.json").read_text())
    for path in files:
        ours, distances, differences, alone, theirs_count = FaceDetector(path, SCORE), [], [], 0, 0
        if path.endswith("_raw.tflite"):
            ours.details["iou_threshold"] = RAW_IOU
        for name, image in pictures[path].items():
            expected, rows_found = ours.detect(image), found[path][name]
            theirs_count += len(rows_found)
            assert all(row[5] == "face" for row in rows_found), rows_found
            corners = boxes.xywh_to_xyxy(np.asarray([row[:4] for row in rows_found], np.float32))
            scores = np.asarray([row[4] for row in rows_found])
            sure = expected.scores >= SCORE + LIMIT_SCORE
            if not len(rows_found):
                alone += int(sure.sum())
                continue
            apart = np.abs(expected.boxes[sure][:, None] - corners[None]).max(2)
            near = apart.min(1) <= LIMIT_PX
            # int8 scores can be equal: of two boxes that suppress each other, each client then keeps another
            equal = np.abs(scores[None] - expected.scores[sure][:, None]) < 1e-6
            tied = (equal & (boxes.iou(expected.boxes[sure], corners) > ours.details["iou_threshold"])).any(1)
            alone += int((~near & ~tied).sum())
            distances += apart.min(1)[near].tolist()
            differences += np.abs(scores[apart.argmin(1)] - expected.scores[sure])[near].tolist()
        bad = alone > 0 or not distances or max(differences) > LIMIT_SCORE
        failed |= bad
        figures = [f"{max(distances, default=0):.2f}", f"{max(differences, default=0):.4f}"]
        rows.append([pathlib.Path(path).name, theirs_count, len(distances), alone, *figures, "FAILED" if bad else "ok"])
    print(
        tabulate(
            rows,
            ["file", "MediaPipe's boxes", "matched", "ours alone", "greatest distance, px", "greatest score difference", ""],
            "github",
            disable_numparse=True,
        )
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
