"""Finds faces in pictures, folders of pictures and films: draws boxes and writes what was found as JSON beside.

    facedet detect picture.jpg folder film.mp4 --output_dir found
    facedet detect --blur --detector 320 folder
    facedet detect --json picture.jpg

What cannot be read is named, and the rest goes on; the exit code is then 1. Of two files of one name the second is found as NAME-2.
"""

import argparse
import json
import os
import pathlib
import re
import sys

import numpy as np
from tqdm import tqdm

from facedet import DetectorError, FaceDetector
from facedet.runtime.pictures import count_pages
from facedet.runtime.shipped import DEFAULT, NAMES
from facedet.runtime.tiles import MOST as MOST_TILES

FOUND, BLURRED, FACE = ".found", ".blurred", ".face-"  # before the suffix of what is written: not searched in a folder
_OWN = re.compile(r".*(\.found|\.blurred|\.face-\d+)")
PICTURES = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"}
VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".y4m"}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="facedet detect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("inputs", nargs="+", help="pictures, folders, films")
    parser.add_argument(
        "--detector", "--tflite", default=DEFAULT, metavar="NAME|FILE", help=f"{', '.join(NAMES)} or a file (default: %(default)s)"
    )
    parser.add_argument("--output_dir", default="found", help="default: %(default)s")
    parser.add_argument("--score_threshold", type=float, default=0.5)
    parser.add_argument("--num_threads", type=int, default=2)
    parser.add_argument("--tiles", type=int, default=1, metavar="N", help="cut each picture into NxN more, for small faces")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each file, and write no file")
    parser.add_argument("--blur", action="store_true", help="faces beyond recognition in the place of boxes")
    parser.add_argument("--crop", action="store_true", help="each face of a picture as a picture of its own, too")
    args = parser.parse_args(argv)
    try:
        detector = FaceDetector(args.detector, args.score_threshold, args.num_threads)
        if not 1 <= args.tiles <= MOST_TILES:
            raise DetectorError(f"--tiles {args.tiles}: a number from 1 to {MOST_TILES} is expected.")
    except DetectorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    files, left_out = _files(args.inputs)
    output_dir, searched, faces, failed = pathlib.Path(args.output_dir), {"picture": 0, "film": 0}, 0, 0
    for path, relative in tqdm(files, unit="file", disable=None):
        target = output_dir / relative
        kind = "film" if path.suffix.lower() in VIDEOS else "picture"
        try:
            if not args.json:
                target.parent.mkdir(parents=True, exist_ok=True)
            faces += (_video if kind == "film" else _picture)(detector, path, target, args)
            searched[kind] += 1
        except (DetectorError, VideoError, OSError) as error:  # OSError: of what is written
            failed += 1
            named = str(path) in str(error)
            tqdm.write(f"error: {error}" if named else f"error: {path}: {error}", file=sys.stderr)
    counts = [_counted(count, kind) for kind, count in searched.items() if count or kind == "picture"] + [_counted(faces, "face")]
    skipped = [f"{failed} with an error"] * bool(failed) + [f"{count} {reason}" for reason, count in left_out.items()]
    total = failed + sum(left_out.values())
    why = f" ({', '.join(skipped)})" if skipped else ""
    print(f"{', '.join(counts)}, {total} skipped{why}.", file=sys.stderr if args.json else sys.stdout)
    return 1 if failed else 0


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


class VideoError(Exception):
    """A video that cannot be read or written."""


def _files(inputs) -> tuple[list[tuple[pathlib.Path, pathlib.Path]], dict[str, int]]:
    """(file, where it goes below the output folder, no two to one place) of what is named, each once, folders walked through.

    And how many files of the folders are left out, by reason.
    """
    files, left_out = {}, {}
    for given in map(pathlib.Path, inputs):
        found = [(given, pathlib.Path(given.name))]
        if given.is_dir():
            found = []
            for path in sorted(given.rglob("*")):
                if path.is_dir():
                    continue
                reason = _why_not(path)
                if reason:
                    left_out.setdefault(reason, set()).add(os.path.abspath(path))
                else:
                    found.append((path, path.relative_to(given)))
            if not found:
                print(f"{given} holds no picture and no film.", file=sys.stderr)
        for path, relative in found:
            files.setdefault(pathlib.Path(os.path.abspath(path)), (path, relative))
    taken, placed = set(), []
    for path, relative in files.values():
        place, number = relative, 1
        while str(place).casefold() in taken:  # some systems take A.jpg and a.jpg for one
            number += 1
            place = relative.with_stem(f"{relative.stem}-{number}")
        taken.add(str(place).casefold())
        placed.append((path, place))
    return placed, {reason: len(paths) for reason, paths in left_out.items()}


def _why_not(path: pathlib.Path) -> str | None:
    """Why a file of a folder is not searched; None: it is."""
    if _OWN.fullmatch(path.stem) or (path.suffix == ".json" and pathlib.Path(path.stem).suffix.lower() in PICTURES | VIDEOS):
        return "written by this command"
    return None if path.suffix.lower() in PICTURES | VIDEOS else "no picture or film by name"


def _picture(detector: FaceDetector, path: pathlib.Path, target: pathlib.Path, args) -> int:
    faces = detector.detect(path, tiles=args.tiles)
    pages = count_pages(path)
    if pages > 1:
        tqdm.write(f"{path}: it has {pages} pages; the first was searched.", file=sys.stderr)
    told = {"file": str(path), **json.loads(faces.to_json())}
    if args.json:
        print(json.dumps(told), flush=True)
        return len(faces)
    shown, mark = (faces.blur(), BLURRED) if args.blur else (faces.draw(), FOUND)
    shown.save(target.with_name(f"{target.name}{mark}.png"))
    for number, face in enumerate(faces.crop() if args.crop else [], 1):
        face.save(target.with_name(f"{target.name}{FACE}{number}.png"))
    _write_json(target, told)
    tqdm.write(f"{path}: {_counted(len(faces), 'face')}")
    return len(faces)


def _video(detector: FaceDetector, path: pathlib.Path, target: pathlib.Path, args) -> int:
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
    film = target.with_name(f"{target.name}{BLURRED if args.blur else FOUND}.mp4")
    writer = None if args.json else cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"mp4v"), rate, (width, height))
    if writer and not writer.isOpened():
        raise VideoError(f"OpenCV cannot write {film}")
    frames = []
    with tqdm(total=int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), desc=path.name, unit="frame", leave=False) as progress:
        while True:
            there, frame = capture.read()
            if not there:
                break
            image = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            faces = detector.detect(image, tiles=args.tiles)
            if writer:
                shown = np.asarray(faces.blur() if args.blur else faces.draw())
                writer.write(cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))
            frames.append(faces.as_dict())
            progress.update()
    capture.release()
    if writer:
        writer.release()
    if not frames:
        if writer:
            film.unlink(missing_ok=True)
        raise VideoError("it holds no frame that OpenCV can decode")
    told = {"file": str(path), "width": width, "height": height, "frames_per_second": rate, "frames": frames}
    count = sum(len(frame["scores"]) for frame in frames)
    if args.json:
        print(json.dumps(told), flush=True)
        return count
    _write_json(target, told)
    tqdm.write(f"{path}: {_counted(len(frames), 'frame')}, {_counted(count, 'face')}")
    return count


def _write_json(target: pathlib.Path, found: dict) -> None:
    target.with_name(target.name + ".json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    sys.exit(main())
