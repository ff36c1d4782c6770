#!/usr/bin/env python3
"""Finds faces in pictures, folders of pictures and video files: draws boxes and writes what was found as JSON beside.

python scripts/detect.py --tflite FILE --output_dir found picture.jpg folder film.mp4

What cannot be read is named, and the rest goes on; the exit code is then 1. Of two files of one name the second is found as NAME-2.
"""

import argparse
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image
from tqdm import tqdm

from facedet import DetectorError, FaceDetector, Faces
from facedet.runtime import drawing
from facedet.runtime.detector import read_picture

FOUND = ".found"  # before the suffix of what is written: such files are left out where a folder is walked through
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".y4m"}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("inputs", nargs="+", help="pictures, folders, videos")
    parser.add_argument("--tflite", required=True)
    parser.add_argument("--output_dir", default="found")
    parser.add_argument("--score_threshold", type=float, default=0.5)
    parser.add_argument("--num_threads", type=int, default=2)
    args = parser.parse_args(argv)
    try:
        detector = FaceDetector(args.tflite, args.score_threshold, args.num_threads)
    except DetectorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    output_dir, failed = pathlib.Path(args.output_dir), 0
    for path, relative in tqdm(_files(args.inputs), unit="file"):
        target = output_dir / relative
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix.lower() in VIDEOS:
                _video(detector, path, target)
            else:
                _picture(detector, path, target)
        except (DetectorError, VideoError, OSError) as error:  # OSError: of what is written
            failed += 1
            named = str(path) in str(error)
            tqdm.write(f"error: {error}" if named else f"error: {path}: {error}", file=sys.stderr)
    return 1 if failed else 0


class VideoError(Exception):
    """A video that cannot be read or written."""


def _files(inputs) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """(file, where it goes below the output folder, no two to one place) of what is named, each once, folders walked through."""
    files = {}
    for given in map(pathlib.Path, inputs):
        if given.is_dir():
            found = [p for p in sorted(given.rglob("*")) if p.suffix.lower() in PICTURES | VIDEOS and not p.is_dir()]
            found = [(p, p.relative_to(given)) for p in found if not p.stem.endswith(FOUND)]
            if not found:
                print(f"{given} holds no picture and no film.", file=sys.stderr)
        else:
            found = [(given, pathlib.Path(given.name))]
        for path, relative in found:
            files.setdefault(pathlib.Path(os.path.abspath(path)), (path, relative))
    taken, placed = set(), []
    for path, relative in files.values():
        place, number = relative, 1
        while place in taken:
            number += 1
            place = relative.with_stem(f"{relative.stem}-{number}")
        taken.add(place)
        placed.append((path, place))
    return placed


def _picture(detector: FaceDetector, path: pathlib.Path, target: pathlib.Path) -> None:
    image = read_picture(path)
    faces = detector.detect(image)
    drawn = drawing.draw_boxes(image, faces.boxes, scores=faces.scores, landmarks=faces.landmarks)
    Image.fromarray(drawn).save(target.with_name(f"{target.name}{FOUND}.png"))
    _write_json(target, {"file": str(path), "width": image.shape[1], "height": image.shape[0], **_as_dict(faces)})
    tqdm.write(f"{path}: {len(faces)} faces")


def _video(detector: FaceDetector, path: pathlib.Path, target: pathlib.Path) -> None:
    try:
        import cv2
    except ImportError as error:
        raise VideoError("videos need OpenCV: pip install opencv-python-headless") from error
    if not path.is_file():  # a pipe would be waited on for ever
        raise VideoError("it is no file")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise VideoError("no video that OpenCV can read")
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    film = target.with_name(f"{target.name}{FOUND}.mp4")
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"mp4v"), rate, (width, height))
    if not writer.isOpened():
        raise VideoError(f"OpenCV cannot write {film}")
    frames = []
    with tqdm(total=int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), desc=path.name, unit="frame", leave=False) as progress:
        while True:
            there, frame = capture.read()
            if not there:
                break
            image = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            faces = detector.detect(image)
            drawn = drawing.draw_boxes(image, faces.boxes, scores=faces.scores, landmarks=faces.landmarks)
            writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
            frames.append(_as_dict(faces))
            progress.update()
    capture.release()
    writer.release()
    if not frames:
        film.unlink(missing_ok=True)
        raise VideoError("it holds no frame that OpenCV can decode")
    _write_json(target, {"file": str(path), "width": width, "height": height, "frames_per_second": rate, "frames": frames})
    tqdm.write(f"{path}: {len(frames)} frames, {sum(len(frame['scores']) for frame in frames)} faces")


def _as_dict(faces: Faces) -> dict:
    landmarks = None if faces.landmarks is None else np.round(faces.landmarks.astype(float), 2).tolist()
    return {
        "boxes_xyxy_px": np.round(faces.boxes.astype(float), 2).tolist(),
        "scores": np.round(faces.scores.astype(float), 4).tolist(),
        "landmarks_xy_px": landmarks,
    }


def _write_json(target: pathlib.Path, found: dict) -> None:
    target.with_name(target.name + ".json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    sys.exit(main())
