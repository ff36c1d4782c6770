#!/usr/bin/env python3
"""Opens exported files in MediaPipe Tasks and compares what it finds with what facedet's FaceDetector does: those whose name ends in
_mediapipe.tflite in its FaceDetector, points too, all others in its ObjectDetector. That takes no points: other files with some are left out.

    python scripts/check_mediapipe.py --tflite exported_models/NAME/*.tflite --images picture.jpg ...

MediaPipe needs numpy 1: it is installed into an environment of its own (--venv), where it runs; FaceDetector runs here. Both get
the picture already fitted to the input, as MediaPipe's own resizing is coarser.
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
from facedet.runtime import boxes, pictures

PACKAGE = "mediapipe==0.10.21"  # the last with a metadata writer; later ones send usage figures to their maker
SCORE = 0.4
LIMIT_PX, LIMIT_SCORE = 2.0, 0.01  # MediaPipe cuts corner, width and height to whole pixels of the input
LIMIT_POINT = 0.01  # of a point of the face, as a share of the input
FACES = "_mediapipe.tflite"
RAW_IOU = 0.3  # from which MediaPipe suppresses a raw file's boxes, whatever the file says; files with the NMS operator do it themselves
NOTHING_GOES = (
    0.99  # of overlaps (1 does otherwise): its FaceDetector blends the boxes that it suppresses: what is compared is all that it found
)
_RUN = """
import json, sys
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision
found = {}
for path in sys.argv[4:]:
    score, base = float(sys.argv[1]), BaseOptions(model_asset_path=path)
    if path.endswith(sys.argv[2]):
        options = vision.FaceDetectorOptions(base_options=base, min_detection_confidence=score, min_suppression_threshold=float(sys.argv[3]))
        kind = vision.FaceDetector
    else:
        options = vision.ObjectDetectorOptions(base_options=base, score_threshold=score, max_results=300)
        kind = vision.ObjectDetector
    with kind.create_from_options(options) as tasks:
        found[path] = {}
        for picture in json.load(open("pictures.json"))[path]:
            result = tasks.detect(mp.Image.create_from_file(picture))
            found[path][picture] = [[d.bounding_box.origin_x, d.bounding_box.origin_y, d.bounding_box.width, d.bounding_box.height,
                                     d.categories[0].score, d.categories[0].category_name, [[p.x, p.y] for p in d.keypoints or []]]
                                    for d in result.detections]
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
    images = [pictures.read_picture(path) for path in image_paths]
    python = pathlib.Path(environment).absolute() / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    files = []
    for path in paths:
        if FaceDetector(path).has_landmarks and not path.endswith(FACES):
            print(f"{pathlib.Path(path).name} is left out: MediaPipe's ObjectDetector takes no landmarks; *_boxes.tflite is for it.")
        else:
            files.append(str(pathlib.Path(path).resolve()))
    if not files:
        raise DetectorError("None of the files is one for MediaPipe: name some without landmarks (*_boxes.tflite) or *_mediapipe.tflite.")
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as directory:
        fitted = {}  # {file: {name: picture fitted to its input}}
        for path in files:
            opened = FaceDetector(path)
            height, width = opened.input.size
            names = [f"{number}_{width}x{height}_{opened.input.resize}.png" for number in range(len(images))]
            fitted[path] = {name: opened.input.prepare(image)[0] for name, image in zip(names, images, strict=True)}
            for name, image in fitted[path].items():
                Image.fromarray(image).save(pathlib.Path(directory) / name)
        (pathlib.Path(directory) / "pictures.json").write_text(json.dumps({path: list(named) for path, named in fitted.items()}))
        ran = subprocess.run(
            [python, "-c", _RUN, str(SCORE), FACES, str(NOTHING_GOES), *files], cwd=directory, text=True, capture_output=True
        )
        if ran.returncode:
            print(ran.stderr[-3000:], file=sys.stderr)
            return 1
        found = json.loads((pathlib.Path(directory) / "found.json").read_text())
    for path in files:
        ours, distances, differences, points, alone, theirs_count = FaceDetector(path, SCORE), [], [], [], 0, 0
        if path.endswith("_raw.tflite"):
            ours.details["iou_threshold"] = RAW_IOU
        if path.endswith(FACES):
            ours.details["iou_threshold"] = NOTHING_GOES
        for name, image in fitted[path].items():
            expected, rows_found = ours.detect(image), found[path][name]
            theirs_count += len(rows_found)
            assert path.endswith(FACES) or all(row[5] == "face" for row in rows_found), rows_found
            sure = expected.scores >= SCORE + LIMIT_SCORE
            if not rows_found:
                alone += int(sure.sum())
                continue
            corners = boxes.xywh_to_xyxy(np.asarray([row[:4] for row in rows_found], np.float32))
            corners = np.clip(corners, 0, np.tile(image.shape[1::-1], 2))  # its FaceDetector's boxes reach over the border
            scores = np.asarray([row[4] for row in rows_found])
            apart = np.abs(expected.boxes[sure][:, None] - corners[None]).max(2)
            difference = np.abs(scores[None] - expected.scores[sure][:, None])
            partner = np.where(apart <= LIMIT_PX, difference + apart / 1000, np.inf).argmin(1)  # of boxes as near, that of the same score
            near = apart.min(1) <= LIMIT_PX
            # int8 scores can be equal: of two boxes that suppress each other, each client then keeps another
            equal = difference < 1e-6
            tied = (equal & (boxes.iou(expected.boxes[sure], corners) > ours.details["iou_threshold"])).any(1)
            alone += int((~near & ~tied).sum())
            distances += apart[near, partner[near]].tolist()
            differences += difference[near, partner[near]].tolist()
            if path.endswith(FACES):
                side = np.asarray((image.shape[1], image.shape[0]), np.float32)
                theirs = np.asarray([row[6] for row in rows_found], np.float32)[partner]
                points += np.abs(theirs - expected.landmarks[sure] / side)[near].ravel().tolist()
        bad = alone > 0 or not distances or max(differences) > LIMIT_SCORE or max(points, default=0) > LIMIT_POINT
        failed |= bad
        figures = [f"{max(distances, default=0):.2f}", f"{max(differences, default=0):.4f}", f"{max(points):.4f}" if points else "-"]
        rows.append([pathlib.Path(path).name, theirs_count, len(distances), alone, *figures, "FAILED" if bad else "ok"])
    print(
        tabulate(
            rows,
            ["file", "MediaPipe's boxes", "matched", "ours alone", "greatest distance, px", "greatest score difference", "of a point", ""],
            "github",
            disable_numparse=True,
        )
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
