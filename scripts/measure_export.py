#!/usr/bin/env python3
"""Measures an export on WIDER FACE val and writes what it finds into its model card.

    python scripts/measure_export.py exported_models/NAME --data_dir DIR
    python scripts/measure_export.py exported_models/NAME --data_dir DIR --records 'data/widerface/widerface_holdout.tfrecord-*'

Average precision and recall by face height of each file, recall of the int8 file on turned pictures, latency of all of them, one
thread; with --records also the error of the landmarks on those pictures.
"""

import argparse
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from facedet import DetectorError, FaceDetector
from facedet.data import records, widerface
from facedet.evaluation import dataset, landmarks, protocol, report, rotation, scoring
from facedet.export import card as model_card
from facedet.runtime import benchmark
from facedet.runtime.input_spec import resize
from facedet.training import run_record

ROTATION_SCORE = 0.5  # FaceDetector's own
LATENCY_PICTURES = 10


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("export_dir", metavar="FOLDER")
    parser.add_argument("--data_dir", required=True, help="WIDER FACE: WIDER_val and the official evaluation lists")
    parser.add_argument("--eval_gt_dir", help="the official wider_*_val.mat (default: looked for below --data_dir)")
    parser.add_argument("--records", metavar="PATTERN", help="record files of one split that hold landmarks; val has none")
    parser.add_argument("--limit", type=int, default=0, help="an even sample of so many pictures of each set; 0: all")
    args = parser.parse_args(argv)
    folder, begin = pathlib.Path(args.export_dir), time.perf_counter()
    try:
        card = model_card.read(folder)
        source, truth = dataset.load(args.data_dir, args.eval_gt_dir)
        detectors = {
            f["kind"]: FaceDetector(folder / f["file"], protocol.LEAST_SCORE) for f in card["files"] if (folder / f["file"]).is_file()
        }
        by_default = FaceDetector(folder / f"{card['name']}_int8.tflite", ROTATION_SCORE)
    except (widerface.WiderFaceError, DetectorError, model_card.CardError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    names = dataset.sample(sorted(truth), args.limit)
    earlier = _pictures_measured(card)
    if len(names) < earlier or (args.limit and _is_full(card)):
        print(
            f"error: the card in {folder} holds figures of {earlier:,} pictures; those of "
            f"{len(names):,} do not replace them. Leave out --limit, or measure a copy of the folder.",
            file=sys.stderr,
        )
        return 1
    try:
        of_landmarks = _landmarks(args, detectors) or (card.get("measured") or {}).get("landmarks")
        scores = scoring.score(detectors, dataset.pictures(source, truth, names), len(names), "accuracy")
        turned = rotation.recall(by_default, dataset.pictures(source, truth, names), ROTATION_SCORE, total=len(names))
        images = [resize(dataset.read_picture(source, name), 240, 320) for name in dataset.sample(names, LATENCY_PICTURES)]
    except (widerface.WiderFaceError, records.RecordsError, DetectorError) as error:
        print(f"error: {error}; the card in {folder} is as it was.", file=sys.stderr)
        return 1
    accuracy = {
        kind: {"average_precision": scores.average_precision(kind), "recall_by_height": scores.recall_by_height(kind)} for kind in detectors
    }
    timed = {kind: FaceDetector(detector.path) for kind, detector in detectors.items()}
    with tqdm(total=11, desc="latency", unit="round") as bar:
        times = benchmark.latency(timed, images, 10, bar.update)
    fitting = report.fitting(by_default.input, "the input")
    card["measured"] = {
        "protocol": f"WIDER FACE protocol on {len(names):,} of its 3,226 val pictures, each {fitting}, one scale, no flip; "
        f"scores from {max(protocol.LEAST_SCORE, card['score_threshold'])}; IoU 0.5; NMS and cap are the file's own. One training run, one seed.",
        "pictures": len(names),
        **({"limit": args.limit} if args.limit else {}),
        "accuracy": accuracy,
        **({"landmarks": of_landmarks} if of_landmarks else {}),
        "rotation_score": ROTATION_SCORE,
        "recall_by_rotation": {subset: {f"{angle:g}": value for angle, value in row.items()} for subset, row in turned.items()},
        "latency_protocol": f"`FaceDetector.detect`, one thread, {len(images)} pictures of 320x240, 10 rounds in turns, on {benchmark.processor()}"
        " (a shared machine: compare the rows, not the milliseconds).",
        "latency": times,
        "command": run_record.this_command(),
        "minutes": round((time.perf_counter() - begin) / 60, 1),
    }
    try:
        model_card.write(card, folder)
    except OSError as error:
        print(f"error: {error}; the card in {folder} is as it was.", file=sys.stderr)
        return 1
    print((folder / "model_card.md").read_text())
    return 0


def _landmarks(args, detectors: dict) -> dict | None:
    """{records, pictures, errors: {kind: Errors.as_dict()}} of the files that give landmarks; None where --records is not given."""
    if not args.records:
        return None
    from facedet.evaluation import validation

    pictures, count = validation.sample(validation.find(args.records), args.limit)
    scores = scoring.score(detectors, pictures, count, "landmarks")
    of_kinds = {kind: landmarks.errors(scores, kind, detector.input) for kind, detector in detectors.items()}
    errors = {kind: found.as_dict() for kind, found in of_kinds.items() if found}
    if not errors:
        raise records.RecordsError(f"There is no landmark to compare: {args.records} holds none, or the files in the folder give none")
    return {"records": pathlib.Path(args.records).name, "pictures": count, "errors": errors}


def _is_full(card: dict) -> bool:
    """Whether the card's figures are of all pictures at hand; an older card says it by its command only."""
    measured = card.get("measured")
    return bool(measured) and not measured.get("limit") and "--limit" not in measured.get("command", "")


def _pictures_measured(card: dict) -> int:
    """Of the card's figures; an older card says it in words only."""
    measured = card.get("measured") or {"pictures": 0}
    if "pictures" in measured:
        return measured["pictures"]
    stated = re.search(r"on ([\d,]+) of", measured["protocol"])
    return int(stated[1].replace(",", "")) if stated else 0


if __name__ == "__main__":
    sys.exit(main())
