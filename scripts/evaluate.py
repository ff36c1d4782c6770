#!/usr/bin/env python3
"""WIDER FACE Easy / Medium / Hard of exported files or of a checkpoint, by the official protocol, and their landmarks' error.

    python scripts/evaluate.py --data_dir DIR --model exported_models/NAME/NAME_int8.tflite
    python scripts/evaluate.py --data_dir DIR --pipeline_config_path configs/NAME.config --checkpoint_dir models/NAME
    python scripts/evaluate.py --records 'data/widerface/widerface_holdout.tfrecord-*' --model FILE

Any part of the val pictures will do: the others' faces are left out. Records or a DIR without the official lists are scored as one set,
on all faces that are not ignored; records with landmarks also by the normalized mean error. With --output_dir: predictions in the official
text form, results.json and the precision-recall curves as a picture. With --errors: which boxes are false and which faces are never found,
beside another detector's where several files are named.

    python scripts/evaluate.py --data_dir DIR --model FILE --tiles 2
    python scripts/evaluate.py --data_dir DIR --model FILE OTHER --groups CSV

--groups: recall by perceived gender, age and skin tone at equal face size, of the faces that a CSV names. Its columns: file (images/<event>/
<picture>.jpg), face (the row of the face in its picture's list of wider_face_val_bbx_gt.txt, from 0 on) and one or more of
perceived_gender, perceived_age, perceived_skin; 'Not Sure' or nothing is no group.
"""

import argparse
import json
import math
import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np

from facedet import DetectorError, FaceDetector
from facedet.data import records, widerface
from facedet.evaluation import dataset, errors, false_faces, groups, landmarks, protocol, report, scoring, ties

LANDMARKS = (
    " Landmarks: mean distance of the five points over the square root of the annotated box's area, on faces with points that are found."
)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data_dir", help="WIDER FACE: WIDER_val, and the official evaluation lists or wider_face_split")
    where.add_argument("--records", metavar="PATTERN", help="the record files of one split")
    parser.add_argument(
        "--eval_gt_dir", help="the official wider_*_val.mat (default: looked for below --data_dir; without them all faces are one set)"
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", "--tflite", nargs="+", metavar="FILE", help="exported files of any format")
    which.add_argument("--checkpoint_dir", help="with --pipeline_config_path")
    parser.add_argument("--pipeline_config_path")
    parser.add_argument(
        "--score_threshold", type=float, default=protocol.LEAST_SCORE, help="least score that counts (default: %(default)s)"
    )
    parser.add_argument("--num_threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--errors",
        action="store_true",
        help=f"false boxes by kind and height at a recall of {errors.RECALL:.2f}, and faces never found by height and attribute",
    )
    parser.add_argument(
        "--tiles", type=int, default=1, metavar="N", help="files search N x N overlapping parts of each picture besides the whole"
    )
    parser.add_argument(
        "--face_free",
        nargs="?",
        const="",
        metavar="DIR",
        help="false faces on scikit-image's photographs without a face and on the pictures of a folder that show none",
    )
    parser.add_argument("--groups", metavar="CSV", help="who is on the pictures of --data_dir, for recall by group")
    parser.add_argument("--limit", type=int, default=0, help="an even sample of so many pictures; 0: all")
    parser.add_argument("--output_dir", help="for predictions, results.json and the curves")
    parser.add_argument("--json", action="store_true", help="prints what results.json holds in place of tables")
    args = parser.parse_args(argv)
    if args.checkpoint_dir and not args.pipeline_config_path:
        parser.error("--checkpoint_dir needs --pipeline_config_path")
    if args.checkpoint_dir and args.tiles != 1:
        parser.error("--tiles needs --model: a checkpoint sees whole pictures")
    if args.groups and not args.data_dir:
        parser.error("--groups needs --data_dir: records do not keep the rows of the annotation")
    if args.groups and args.score_threshold > groups.SCORE:
        parser.error(f"--groups needs boxes from score {groups.SCORE} on, not from --score_threshold {args.score_threshold}")
    if args.face_free is not None and args.score_threshold > false_faces.SCORE:
        parser.error(f"--face_free counts boxes from score {false_faces.SCORE} on, not from --score_threshold {args.score_threshold}")
    try:
        pictures, count = _pictures(args)
        rows = groups.read(args.groups) if args.groups else []
        detectors, own_limits = _detectors(args)
        searching = {label: _Searching(detector, args.tiles) for label, detector in detectors.items()} if args.model else detectors
        scores = scoring.score(searching, pictures, count)
        spent = {label: float(np.median(one.cpu_ms)) for label, one in searching.items() if args.model and one.cpu_ms}
        labelled = groups.faces(rows, widerface.WiderFace(args.data_dir, "val").annotation(), scores.truth) if rows else None
        false = false_faces.measure(searching, args.face_free or None) if args.face_free is not None else {}
    except (widerface.WiderFaceError, records.RecordsError, DetectorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    results = {label: scores.results(label) for label in detectors}
    summary = {label: _summary(scores, label, results[label], detectors[label].input) for label in detectors}
    if args.score_threshold <= false_faces.SCORE:
        for label, told in summary.items():
            told["ties"] = ties.count(scores.detections[label].values())
        shown = {label: told for label in detectors if (told := false_faces.count(scores, label))}
        false |= {"those of the measured pictures that show none": shown} if shown else {}
    used = _protocol(args, scores, detectors, own_limits)
    if any("landmarks" in told for told in summary.values()):
        used += LANDMARKS
    document = {"protocol": used, "detectors": summary}
    if args.errors:
        attributes = _attributes(args, scores)
        document["errors"] = {label: errors.analyse(scores, label, attributes=attributes) for label in detectors}
    if labelled:
        document["groups"] = groups.recall(scores.detections, labelled)
    if false:
        document["false_faces"] = false
    if spent:
        document["cpu_ms"] = spent
    if args.json:
        print(json.dumps(document, indent=1))
    else:
        for label, told in summary.items():
            print("\n" + report.tables(label, results[label], told["recall_by_height"], told.get("landmarks")))
            if "ties" in told:
                print(f"\n{ties.in_words(told['ties'])}")
            if label in spent:
                print(f"\n{spent[label]:.1f} ms of processor time a picture, the median", flush=True)
        if args.errors:
            print("\n" + report.error_tables(document["errors"]))
        for lines in (false_faces.markdown(false), groups.markdown(document.get("groups"))):
            if lines:
                print("\n" + "\n".join(lines).rstrip())
        print(f"\n{used}")
    if args.output_dir:
        output = pathlib.Path(args.output_dir)
        for label, detections in scores.detections.items():
            dataset.write_predictions(detections, str(output / label))
        (output / "results.json").write_text(json.dumps(document, indent=1) + "\n")
        report.plot_curves(results, output / "precision_recall.png", f"{len(scores.truth):,} pictures of {_source(args)}")
        print(f"Predictions, results.json and precision_recall.png are in {output}.", file=sys.stderr if args.json else sys.stdout)
    return 0


class _Searching:
    """A file's detector that searches in tiles. cpu_ms: processor time of each picture so far, all threads."""

    def __init__(self, detector: FaceDetector, tiles: int):
        self._detector, self._tiles, self.cpu_ms = detector, tiles, []

    def detect(self, image):
        begin = time.process_time()
        found = self._detector.detect(image, tiles=self._tiles)
        self.cpu_ms.append(1000 * (time.process_time() - begin))
        return found


def _pictures(args) -> tuple:
    """The pictures to score on, one by one, and their number."""
    if args.records:
        from facedet.evaluation import validation

        return validation.sample(validation.find(args.records), args.limit)
    if not args.eval_gt_dir and widerface.find_eval_gt(args.data_dir) is None:
        return dataset.annotated(args.data_dir, args.limit)
    source, truth = dataset.load(args.data_dir, args.eval_gt_dir)
    names = dataset.sample(sorted(truth), args.limit)
    return dataset.pictures(source, truth, names), len(names)


def _attributes(args, scores: scoring.Scores) -> dict | None:
    """{picture: attributes of its faces}; None where the annotation is not at hand."""
    if any(scores.labels.values()):
        return {
            name: errors.attributes_of_record(scores.truth[name], labels, *scores.sizes[name]) for name, labels in scores.labels.items()
        }
    try:
        return dataset.attributes(widerface.WiderFace(args.data_dir, "val"), scores.truth)
    except widerface.WiderFaceError as error:
        print(f"Without attributes: {error}", file=sys.stderr)
        return None


def _source(args) -> str:
    return pathlib.Path(args.records).name if args.records else "WIDER FACE val"


def _summary(scores: scoring.Scores, label: str, results: dict, spec) -> dict:
    """What results.json says of a detector; None for an average precision over no face."""
    values = {subset: result.average_precision for subset, result in results.items()}
    ap = {subset: value if math.isfinite(value) else None for subset, value in values.items()}
    told = {"average_precision": ap, "recall_by_height": scores.recall_by_height(label), "pictures": len(scores.truth)}
    if errors := landmarks.errors(scores, label, spec):
        told["landmarks"] = errors.as_dict()
    if any(scores.labels.values()):
        from facedet.evaluation import validation

        told["coco"] = validation.coco(scores, label)
    return told


def _detectors(args) -> tuple[dict, dict[str, float]]:
    """{label: detector} and {label: least score that it gives at all}; TensorFlow is imported for a checkpoint only."""
    if args.model:
        stems = [pathlib.Path(path).stem for path in args.model]
        labels = [stem if stems.count(stem) == 1 else pathlib.Path(path).name for stem, path in zip(stems, args.model, strict=True)]
        detectors = {
            label: FaceDetector(path, args.score_threshold, args.num_threads) for label, path in zip(labels, args.model, strict=True)
        }
        return detectors, {label: detector.details["score_threshold"] for label, detector in detectors.items()}
    from facedet.evaluation.checkpoint_detector import CheckpointDetector
    from facedet.quantization.network import NotQuantizableError
    from facedet.recipe import pipeline_config
    from facedet.weights import checkpoints

    try:
        recipe = pipeline_config.read(args.pipeline_config_path)
        detector = CheckpointDetector.from_checkpoint(recipe, args.checkpoint_dir, args.score_threshold)
    except (pipeline_config.ConfigError, checkpoints.CheckpointError, NotQuantizableError) as error:
        raise DetectorError(str(error)) from error
    label = f"checkpoint_{detector.step}"
    return {label: detector}, {label: recipe.suppression.score_threshold}


def _protocol(args, scores: scoring.Scores, detectors: dict, own_limits: dict[str, float]) -> str:
    """How the figures were taken, in a sentence."""
    number = f"{len(scores.truth):,}"
    pictures = f"{number} pictures of {_source(args)}" if args.records else f"{number} val pictures"
    faces = "" if scores.official else " on all faces that are not ignored"
    fitting = _of_each({label: report.fitting(detector.input) for label, detector in detectors.items()})
    scales = "one scale" if args.tiles == 1 else f"the whole and {args.tiles} x {args.tiles} tiles"
    return (
        f"WIDER FACE protocol{faces}: {pictures}, each {fitting}, {scales}, no flip; "
        f"scores from {_least_scores(args.score_threshold, own_limits)}; IoU 0.5; NMS and cap are the detector's own."
    )


def _least_scores(asked: float, own_limits: dict[str, float]) -> str:
    return _of_each({label: f"{max(asked, limit):.6g}" for label, limit in own_limits.items()})


def _of_each(told: dict[str, str]) -> str:
    """'0.05', or '0.02 (one), 0.05 (other)' where the detectors' are not the same."""
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return ", ".join(f"{text} ({label})" for label, text in told.items())


if __name__ == "__main__":
    sys.exit(main())
