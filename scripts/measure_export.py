#!/usr/bin/env python3
"""Measures an export on WIDER FACE val and writes what it finds into its model card.

    python scripts/measure_export.py exported_models/NAME --data_dir DIR

Average precision and recall by face height of each file with an NMS operator (float16's is float32's but for rounding, and left
out) and of the raw files, recall of the int8 file on turned pictures, latency of all of them, one thread.
"""

import argparse
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from facedet import DetectorError, FaceDetector
from facedet.data import widerface
from facedet.evaluation import dataset, protocol, rotation
from facedet.export import card as model_card
from facedet.runtime import benchmark
from facedet.runtime.detector import resize
from facedet.training import run_record

ROTATION_SCORE = 0.5  # FaceDetector's own
LATENCY_PICTURES = 10


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("export_dir", metavar="FOLDER")
    parser.add_argument("--data_dir", required=True, help="WIDER FACE: WIDER_val and the official evaluation lists")
    parser.add_argument("--eval_gt_dir", help="the official wider_*_val.mat (default: looked for below --data_dir)")
    parser.add_argument("--limit", type=int, default=0, help="an even sample of so many pictures; 0: all")
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
    names = sorted(truth)
    if args.limit:
        names = names[:: max(1, len(names) // args.limit)][: args.limit]
    if len(names) < (earlier := _pictures_measured(card)):
        print(
            f"error: the card in {folder} holds figures of {earlier:,} pictures; those of "
            f"{len(names):,} do not replace them. Leave out --limit, or measure a copy of the folder.",
            file=sys.stderr,
        )
        return 1
    truth = {name: truth[name] for name in names}

    found = {kind: {} for kind in detectors}
    for name in tqdm(names, desc="accuracy", unit="img"):
        image = dataset.read_picture(source, name)
        for kind, detector in detectors.items():
            faces = detector.detect(image)
            found[kind][name] = protocol.Detections(faces.boxes, faces.scores)
    accuracy = {}
    for kind, detections in found.items():
        precision = {subset: result.average_precision for subset, result in protocol.evaluate(detections, truth).items()}
        accuracy[kind] = {"average_precision": precision, "recall_by_height": protocol.recall_by_height(detections, truth)}

    progress = tqdm(names, desc="rotation", unit="img")
    turned = rotation.recall(by_default, ((dataset.read_picture(source, n), truth[n]) for n in progress), ROTATION_SCORE)

    images = [resize(dataset.read_picture(source, n), 240, 320) for n in names[:: max(1, len(names) // LATENCY_PICTURES)]][
        :LATENCY_PICTURES
    ]
    timed = {kind: FaceDetector(detector.path) for kind, detector in detectors.items()}
    with tqdm(total=11, desc="latency", unit="round") as bar:
        times = benchmark.latency(timed, images, 10, bar.update)
    card["measured"] = {
        "protocol": f"WIDER FACE protocol on {len(truth):,} of its 3,226 val pictures, each stretched to the input, one scale, no flip; "
        f"scores from {max(protocol.LEAST_SCORE, card['score_threshold'])}; IoU 0.5; NMS and cap are the file's own. One training run, one seed.",
        "pictures": len(truth),
        "accuracy": accuracy,
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


def _pictures_measured(card: dict) -> int:
    """Of the card's figures; an older card says it in words only."""
    measured = card.get("measured") or {"pictures": 0}
    if "pictures" in measured:
        return measured["pictures"]
    stated = re.search(r"on ([\d,]+) of", measured["protocol"])
    return int(stated[1].replace(",", "")) if stated else 0


if __name__ == "__main__":
    sys.exit(main())
