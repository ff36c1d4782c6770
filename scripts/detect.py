#!/usr/bin/env python3
"""Finds faces in pictures, folders of pictures and video files: draws boxes and writes what was found as JSON beside.

python scripts/detect.py --tflite FILE --output_dir found picture.jpg folder film.mp4
"""

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from facedet import DetectorError, FaceDetector, Faces, drawing

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
    output_dir.mkdir(parents=True, exist_ok=True)
    for path, relative in tqdm(_files(args.inputs), unit="file"):
        target = output_dir / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if path.suffix.lower() in VIDEOS:
                _video(detector, path, target)
            else:
                with Image.open(path) as picture:
                    image = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
                faces = detector.detect(image)
                drawn = drawing.draw_boxes(image, faces.boxes, scores=faces.scores, landmarks=faces.landmarks)
                Image.fromarray(drawn).save(target.with_name(target.name + ".found.png"))
                _write_json(target, {"file": str(path), "width": image.shape[1], "height": image.shape[0], **_as_dict(faces)})
                tqdm.write(f"{path}: {len(faces)} faces")
        except (OSError, UnidentifiedImageError, DetectorError) as error:
            failed += 1
            tqdm.write(f"error: {path}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _files(inputs) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """(file, where it goes below the output folder) of the pictures and videos named, folders walked through."""
    files = []
    for given in map(pathlib.Path, inputs):
        if given.is_dir():
            found = [p for p in sorted(given.rglob("*")) if p.suffix.lower() in PICTURES | VIDEOS]
            files += [(path, path.relative_to(given)) for path in found]
        else:
            files.append((given, pathlib.Path(given.name)))
    return files


def _video(detector: FaceDetector, path: pathlib.Path, target: pathlib.Path) -> None:
    import cv2

    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise OSError("no video that OpenCV can read")
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    film = target.with_name(target.name + ".found.mp4")
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"mp4v"), rate, (width, height))
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
        raise OSError("holds no frame that OpenCV can decode")
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
