#!/usr/bin/env python3
"""WIDER FACE Easy / Medium / Hard of exported files or of a checkpoint, by the official protocol.

    python scripts/evaluate.py --data_dir DIR --tflite exported_models/NAME/NAME_int8.tflite
    python scripts/evaluate.py --data_dir DIR --pipeline_config_path configs/NAME.config --checkpoint_dir models/NAME

Any part of the val pictures will do: the others' faces are left out. With --output_dir: predictions in the official text
form, results.json and the precision-recall curves as a picture.
"""

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from facedet import DetectorError, FaceDetector
from facedet.data import widerface
from facedet.evaluation import dataset, protocol, report


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--data_dir", required=True, help="WIDER FACE: WIDER_val and the official evaluation lists")
    parser.add_argument("--eval_gt_dir", help="the official wider_*_val.mat (default: looked for below --data_dir)")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--tflite", nargs="+", metavar="FILE")
    which.add_argument("--checkpoint_dir", help="with --pipeline_config_path")
    parser.add_argument("--pipeline_config_path")
    parser.add_argument(
        "--score_threshold", type=float, default=protocol.LEAST_SCORE, help="least score that counts (default: %(default)s)"
    )
    parser.add_argument("--num_threads", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=int, default=0, help="an even sample of so many pictures; 0: all")
    parser.add_argument("--output_dir", help="for predictions, results.json and the curves")
    args = parser.parse_args(argv)
    if args.checkpoint_dir and not args.pipeline_config_path:
        parser.error("--checkpoint_dir needs --pipeline_config_path")
    try:
        source, truth = dataset.load(args.data_dir, args.eval_gt_dir)
        detectors, own_limits = _detectors(args)
    except (widerface.WiderFaceError, DetectorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.limit and args.limit < len(truth):
        names = sorted(truth)[:: len(truth) // args.limit][: args.limit]
        truth = {name: truth[name] for name in names}

    results, summary = {}, {}
    for label, detector in detectors.items():
        detections = {}
        for name in tqdm(sorted(truth), desc=label, unit="img"):
            faces = detector.detect(dataset.read_picture(source, name))
            detections[name] = protocol.Detections(faces.boxes, faces.scores)
        results[label] = protocol.evaluate(detections, truth)
        by_height = protocol.recall_by_height(detections, truth)
        print("\n" + report.tables(label, results[label], by_height), flush=True)
        ap = {subset: result.average_precision for subset, result in results[label].items()}
        summary[label] = {"average_precision": ap, "recall_by_height": by_height, "pictures": len(truth)}
        if args.output_dir:
            dataset.write_predictions(detections, str(pathlib.Path(args.output_dir) / label))
    some = next(iter(detectors.values()))
    used = (
        f"WIDER FACE protocol: {len(truth):,} val pictures, each stretched to {some.input_width}x{some.input_height}, one scale, no flip; "
        f"scores from {_least_scores(args.score_threshold, own_limits)}; IoU 0.5; NMS and cap are the detector's own."
    )
    print(f"\n{used}")
    if args.output_dir:
        output = pathlib.Path(args.output_dir)
        (output / "results.json").write_text(json.dumps({"protocol": used, "detectors": summary}, indent=1) + "\n")
        report.plot_curves(results, output / "precision_recall.png", f"{len(truth):,} pictures of WIDER FACE val")
        print(f"Predictions, results.json and precision_recall.png are in {output}.")
    return 0


def _detectors(args) -> tuple[dict, dict[str, float]]:
    """{label: detector} and {label: least score that it gives at all}; TensorFlow is imported for a checkpoint only."""
    if args.tflite:
        detectors = {pathlib.Path(path).stem: FaceDetector(path, args.score_threshold, args.num_threads) for path in args.tflite}
        return detectors, {label: detector.details["score_threshold"] for label, detector in detectors.items()}
    from facedet.evaluation.checkpoint_detector import CheckpointDetector
    from facedet.quantization.network import NotQuantizableError
    from facedet.recipe import pipeline_config
    from facedet.weights import checkpoints

    try:
        config = pipeline_config.read(args.pipeline_config_path)
        detector = CheckpointDetector.from_checkpoint(config, args.checkpoint_dir, args.score_threshold)
    except (pipeline_config.ConfigError, checkpoints.CheckpointError, NotQuantizableError) as error:
        raise DetectorError(str(error)) from error
    label = f"checkpoint_{detector.step}"
    return {label: detector}, {label: config.model.ssd.post_processing.batch_non_max_suppression.score_threshold}


def _least_scores(asked: float, own_limits: dict[str, float]) -> str:
    """'0.05', or '0.02 (one), 0.05 (other)' where the detectors' own limits are not the same."""
    least = {label: f"{max(asked, limit):.6g}" for label, limit in own_limits.items()}
    if len(set(least.values())) == 1:
        return next(iter(least.values()))
    return ", ".join(f"{score} ({label})" for label, score in least.items())


if __name__ == "__main__":
    sys.exit(main())
