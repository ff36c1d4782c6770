"""Checkpoint against every exported file on the same pictures: what quantization and conversion changed, with limits."""

import dataclasses

import numpy as np

from facedet.data.widerface import SUBSETS
from facedet.evaluation import landmarks, protocol
from facedet.evaluation.protocol import Detections
from facedet.evaluation.scoring import Scores
from facedet.runtime import boxes

MATCHED_SCORE = 0.3  # of checkpoint detections whose counterparts are looked for
BOXES_ONLY = "_boxes"  # ends the kind of a landmark detector's file that gives none
CALIBRATED = "checkpoint as int8"  # the row of a checkpoint that was trained in float, computed as its int8 files should


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may lose against its checkpoint before the export fails.

    "int8" is the limit of a file against the simulation of its own arithmetic: past it a graph is wrong. "calibrated" is that of the
    simulation against the float checkpoint which never learned to be rounded. Here nothing is wrong, each layer rounds once more, and
    how far a single box moves is a property of the network: half a pixel of a corner is IoU .90 of a face of 20 px. It may move where
    AP, which a user sees, does not fall by more than .02; a box that moves so far that it might be another face's fails.
    File and simulation round alike but for the last bit, and such a network makes another rounding of that: the two may then lie as far
    apart as two independent roundings do, sqrt 2 times as far as the simulation lies from the checkpoint (_of_two_roundings).

    median_landmarks: of the mean distance of a face's five points over the square root of its box's area.
    """

    average_precision: float
    median_iou: float
    median_score: float
    median_landmarks: float


LIMITS = {
    "float32": Limits(0.002, 0.995, 0.002, 0.001),
    "float16": Limits(0.005, 0.98, 0.01, 0.005),
    "int8": Limits(0.02, 0.90, 0.05, 0.03),
    "calibrated": Limits(0.02, 0.80, 0.05, 0.10),
}


class ParityError(RuntimeError):
    """A file that does not compute what its checkpoint does; the message lists each figure past its limit."""


def compare(scores: Scores, references: dict[str, str]) -> list[dict]:
    """scores: of detectors that all have a score threshold of protocol.LEAST_SCORE.

    references: {name: name of the detector that it should equal}; the checkpoint in float for float files, as it was trained for
    int8 ones, CALIBRATED where it was not trained so. Returns a row a detector: {name, reference, AP by subset, what it lost of it, faces by subset, median_iou, median_score,
    greatest_score of matched boxes, matched, unmatched}, and median_landmarks where the reference gives some: None if it gives none.
    """
    results = {name: protocol.evaluate(found, scores.truth) for name, found in scores.detections.items()}
    precision_of = {name: {subset: result[subset].average_precision for subset in SUBSETS} for name, result in results.items()}
    rows = []
    for name, found in scores.detections.items():
        reference = references.get(name, name)
        told = {"name": name, "reference": reference, **precision_of[name], **_matched(scores.detections[reference], found)}
        told["lost"] = {subset: precision_of[reference][subset] - precision_of[name][subset] for subset in SUBSETS}
        told["faces"] = {subset: results[name][subset].faces for subset in SUBSETS}
        rows.append(told)
    return rows


def _matched(expected: dict[str, Detections], found: dict[str, Detections]) -> dict:
    """Of the expected boxes from MATCHED_SCORE on, each with the found one that overlaps it most, from IoU 0.5 on."""
    overlaps, differences, distances, unmatched = [], [], [], 0
    for picture, wanted in expected.items():
        file, strong = found[picture], np.flatnonzero(wanted.scores >= MATCHED_SCORE)
        if not len(strong) or not len(file.scores):
            unmatched += len(strong)
            continue
        overlap = boxes.iou(wanted.boxes_xyxy_px[strong], file.boxes_xyxy_px)
        matched = overlap.max(1) >= 0.5
        unmatched += int((~matched).sum())
        strong, best = strong[matched], overlap.argmax(1)[matched]
        overlaps += overlap.max(1)[matched].tolist()
        differences += np.abs(file.scores[best] - wanted.scores[strong]).tolist()
        if wanted.landmarks_xy_px is not None and file.landmarks_xy_px is not None:
            areas = np.maximum(boxes.area(wanted.boxes_xyxy_px[strong]), 1)
            distances += landmarks.distances(file.landmarks_xy_px[best], wanted.landmarks_xy_px[strong], areas).tolist()
    told = {
        "median_iou": float(np.median(overlaps)) if overlaps else float("nan"),
        "median_score": float(np.median(differences)) if differences else float("nan"),
        "greatest_score": float(max(differences, default=float("nan"))),
        "matched": len(overlaps),
        "unmatched": unmatched,
    }
    if any(wanted.landmarks_xy_px is not None for wanted in expected.values()):
        told["median_landmarks"] = float(np.median(distances)) if distances else None
    return told


def _of_two_roundings(limits: Limits, simulation: dict) -> Limits:
    """A file's limits where its reference is that row, of CALIBRATED: what rounding does to boxes and points of this network."""
    apart, points = 2**0.5 * (1 - simulation["median_iou"]), 2**0.5 * (simulation.get("median_landmarks") or 0)
    return dataclasses.replace(limits, median_iou=min(limits.median_iou, 1 - apart), median_landmarks=max(limits.median_landmarks, points))


def limits_in_words(rows: list[dict]) -> str:
    """LIMITS, for the card; those of landmarks where a row has some."""
    words = []
    for precision, limit in LIMITS.items():
        if precision == "calibrated" and not any(row["name"] == CALIBRATED for row in rows):
            continue
        words.append(f"{precision}: AP -{limit.average_precision} and one face, IoU {limit.median_iou}, score {limit.median_score}")
        if any("median_landmarks" in row for row in rows):
            words[-1] += f", landmarks {limit.median_landmarks}"
        if precision == "calibrated":
            words[-1] += ", and an int8 file's boxes may lie sqrt 2 times as far from it as it lies from the checkpoint"
    return ", ".join(words) + "."


def check(rows: list[dict], precisions: dict[str, str]) -> None:
    """Raises ParityError where a row is past the limits of its precision. precisions: {row's name: precision}."""
    faults = []
    for row in rows:
        if row["name"] not in precisions:
            continue
        limits = LIMITS[precisions[row["name"]]]
        if row["reference"] == CALIBRATED:
            limits = _of_two_roundings(limits, next(other for other in rows if other["name"] == CALIBRATED))
        expected = row["matched"] + row["unmatched"]
        if not expected:  # equal because there is nothing: no file was compared
            faults.append(
                f"{row['name']}: {row['reference']} finds no face with a score of {MATCHED_SCORE} or more in these pictures, so that "
                "nothing can be compared; train on, or take more pictures (--parity_images)"
            )
        for subset in SUBSETS:
            lost = row["lost"][subset]
            # On a few pictures one face near a threshold is more than the limit: it is allowed beside it.
            limit = limits.average_precision + 1 / max(row["faces"][subset], 1)
            if lost > limit:
                fault = f"{row['name']}: {subset} AP {row[subset]:.4f}, {lost:.4f} less than {row['reference']}'s (limit {limit:.4f})"
                faults.append(fault)
        if expected and not row["median_iou"] >= limits.median_iou:
            faults.append(f"{row['name']}: median IoU of matched boxes {row['median_iou']:.4f} (limit {limits.median_iou:.4g})")
        if expected and not row["median_score"] <= limits.median_score:
            faults.append(f"{row['name']}: median score difference {row['median_score']:.4f} (limit {limits.median_score})")
        if row["matched"] and "median_landmarks" in row and not row["name"].endswith(BOXES_ONLY):
            faults += _landmark_faults(row, limits)
        if row["unmatched"] > 0.05 * max(expected, 20):
            faults.append(f"{row['name']}: {row['unmatched']} of {expected} boxes have no counterpart (limit 5%)")
    if faults:
        raise ParityError("These files do not compute what the checkpoint does:\n  " + "\n  ".join(faults))


def _landmark_faults(row: dict, limits: Limits) -> list[str]:
    distance = row["median_landmarks"]
    if distance is None:
        return [f"{row['name']}: no landmarks, while {row['reference']} gives some"]
    if not distance <= limits.median_landmarks:
        return [f"{row['name']}: median landmark distance {distance:.4f} of a face's size (limit {limits.median_landmarks:.4g})"]
    return []
