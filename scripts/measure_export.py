#!/usr/bin/env python3
"""Measures an export on WIDER FACE val and writes what it finds into its model card.

    python scripts/measure_export.py exported_models/NAME --data_dir DIR --pipeline_config_path configs/NAME.config
    python scripts/measure_export.py exported_models/NAME --data_dir DIR --records 'data/widerface/widerface_holdout.tfrecord-*'
    python scripts/measure_export.py exported_models/NAME --data_dir DIR --face_free PICTURES --groups CSV --beside OTHER.tflite

Average precision and recall by face height of each file, false faces on photographs without a face and scores that tie; recall of the int8
file on turned pictures; latency of all of them, one thread. With --pipeline_config_path also average precision and recall of the folder's
checkpoint in float, which a folder without float32 files does not tell else; with --records also the error of the landmarks on those pictures, of a detector
that gives some, and false faces on those that show none; with --face_free false faces on pictures of your own; with --groups recall by
perceived gender, age and skin tone at equal face size, of the int8 file and that of --beside. A CSV has the columns file (images/<event>/
<picture>.jpg), face (the row of the face in its picture's list of wider_face_val_bbx_gt.txt, from 0 on) and one or more of
perceived_gender, perceived_age, perceived_skin; 'Not Sure' or nothing is no group.
"""

import argparse
import os
import pathlib
import re
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from facedet import DetectorError, FaceDetector
from facedet.data import records, widerface
from facedet.evaluation import dataset, false_faces, groups, landmarks, protocol, report, rotation, scoring, ties
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
    parser.add_argument("--pipeline_config_path", metavar="CONFIG", help="of the folder's checkpoint, which is then measured in float, too")
    parser.add_argument("--eval_gt_dir", help="the official wider_*_val.mat (default: looked for below --data_dir)")
    parser.add_argument(
        "--records", metavar="PATTERN", help="record files of one split, for landmarks (val has none) and pictures without a face"
    )
    parser.add_argument("--face_free", metavar="DIR", help="a folder of pictures without a face, for false faces")
    parser.add_argument("--groups", metavar="CSV", help="who is on val's pictures, for recall by group")
    parser.add_argument("--beside", metavar="FILE", help="another detector's file whose recall by group is told beside")
    parser.add_argument("--limit", type=int, default=0, help="an even sample of so many pictures of each set; 0: all")
    args = parser.parse_args(argv)
    if args.beside and not args.groups:
        parser.error("--beside needs --groups")
    folder, begin = pathlib.Path(args.export_dir), time.perf_counter()
    try:
        card = model_card.read(folder)
        source, truth = dataset.load(args.data_dir, args.eval_gt_dir)
        detectors = {
            f["kind"]: FaceDetector(folder / f["file"], protocol.LEAST_SCORE) for f in card["files"] if (folder / f["file"]).is_file()
        }
        in_float = {"checkpoint in float": _in_float(args.pipeline_config_path, folder)} if args.pipeline_config_path else {}
        by_default = FaceDetector(folder / f"{card['name']}_int8.tflite", ROTATION_SCORE)
        others = {pathlib.Path(args.beside).name: FaceDetector(args.beside, groups.SCORE)} if args.beside else {}
        names = dataset.sample(sorted(truth), args.limit)
        labelled = groups.faces(groups.read(args.groups), source.annotation(), names) if args.groups else None
    except (widerface.WiderFaceError, DetectorError, model_card.CardError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    earlier_figures = card.get("measured") or {}
    earlier = _pictures_measured(card)
    if len(names) < earlier or (args.limit and _is_full(card)):
        print(
            f"error: the card in {folder} holds figures of {earlier:,} pictures; those of "
            f"{len(names):,} do not replace them. Leave out --limit, or measure a copy of the folder.",
            file=sys.stderr,
        )
        return 1
    try:
        of_records, of_landmarks = _records(args, detectors)
        found_falsely = earlier_figures.get("false_faces", {}) | false_faces.measure(detectors, args.face_free) | of_records
        scores = scoring.score(in_float | detectors, dataset.pictures(source, truth, names), len(names), "accuracy")
        turned = rotation.recall(by_default, dataset.pictures(source, truth, names), ROTATION_SCORE, total=len(names))
        by_group = _by_group(scores, {"int8": by_default} | others, labelled, source) if labelled else None
        images = [resize(dataset.read_picture(source, name), 240, 320) for name in dataset.sample(names, LATENCY_PICTURES)]
    except (widerface.WiderFaceError, records.RecordsError, DetectorError) as error:
        print(f"error: {error}; the card in {folder} is as it was.", file=sys.stderr)
        return 1
    accuracy = {
        kind: {"average_precision": scores.average_precision(kind), "recall_by_height": scores.recall_by_height(kind)}
        for kind in (*in_float, *detectors)
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
        **_known("landmarks", of_landmarks, earlier_figures),
        "rotation_score": ROTATION_SCORE,
        "recall_by_rotation": {subset: {f"{angle:g}": value for angle, value in row.items()} for subset, row in turned.items()},
        "false_faces": found_falsely,
        "ties": {kind: ties.count(scores.detections[kind].values()) for kind in detectors},
        **_known("groups", by_group, earlier_figures),
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


def _in_float(config: str, folder: pathlib.Path):
    """A CheckpointDetector of the folder's weights, not quantized. Raises DetectorError."""
    from facedet.evaluation.checkpoint_detector import CheckpointDetector
    from facedet.quantization.network import NotQuantizableError
    from facedet.recipe import pipeline_config
    from facedet.weights import checkpoints

    try:
        loaded = CheckpointDetector.from_checkpoint(pipeline_config.read(config), str(folder / "checkpoint"))
    except (pipeline_config.ConfigError, checkpoints.CheckpointError, NotQuantizableError) as error:
        raise DetectorError(str(error)) from error
    return CheckpointDetector(loaded.detector, loaded.quantizable, False, protocol.LEAST_SCORE)


def _known(key: str, value: dict | None, earlier: dict) -> dict:
    """{key: what was measured now, else before}; {} where it never was."""
    value = value or earlier.get(key)
    return {key: value} if value else {}


def _records(args, detectors: dict) -> tuple[dict, dict | None]:
    """False faces, {pictures, in words: {kind: count}}, and landmarks, {records, pictures, errors: {kind: Errors.as_dict()}}, on --records.

    {} where no picture is without a face; None where the detector or the records have no points.
    """
    if not args.records:
        return {}, None
    from facedet.evaluation import validation

    name = pathlib.Path(args.records).name
    pictures, count = validation.sample(validation.find(args.records), args.limit)
    if not any(detector.has_landmarks for detector in detectors.values()):
        pictures, count = false_faces.among(pictures), None
    scores = scoring.score(detectors, pictures, count, "records")
    false = {kind: told for kind in detectors if (told := false_faces.count(scores, kind))}
    of_kinds = {kind: landmarks.errors(scores, kind, detector.input) for kind, detector in detectors.items()}
    errors = {kind: found.as_dict() for kind, found in of_kinds.items() if found}
    return {f"`{name}`": false} if false else {}, {"records": name, "pictures": count, "errors": errors} if errors else None


def _by_group(scores: scoring.Scores, detectors: dict, labelled: dict, source) -> dict:
    """groups.recall() of the files; `scores` has the folder's own already."""
    pictures = dataset.pictures(source, scores.truth, labelled)
    missing = {name: detector for name, detector in detectors.items() if name not in scores.detections}
    found = scores.detections | (scoring.score(missing, pictures, len(labelled), "groups").detections if missing else {})
    return groups.recall({name: found[name] for name in detectors}, labelled)


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
