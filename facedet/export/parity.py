"""Checkpoint against every exported file on the same pictures: what quantization and conversion changed, with limits."""

import dataclasses

import numpy as np
from tqdm import tqdm

from facedet.data.widerface import SUBSETS
from facedet.evaluation import protocol
from facedet.runtime import boxes

MATCHED_SCORE = 0.3  # of checkpoint detections whose counterparts are looked for


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may lose against its checkpoint before the export fails."""

    average_precision: float
    median_iou: float
    median_score: float


LIMITS = {
    "float32": Limits(0.002, 0.995, 0.002),
    "float16": Limits(0.005, 0.98, 0.01),
    "int8": Limits(0.02, 0.90, 0.05),
}


class ParityError(RuntimeError):
    """A file that does not compute what its checkpoint does; the message lists each figure past its limit."""


def compare(detectors: dict, references: dict[str, str], pictures: list, ground_truth: dict) -> list[dict]:
    """detectors: {name: detector}, all with a score threshold of protocol.LEAST_SCORE.  pictures: [(name, RGB)].

    references: {name: name of the detector that it should equal}; the checkpoint in float for float files, as it was trained for
    int8 ones. Returns a row a detector: {name, reference, AP by subset, what it lost of it, faces by subset, median_iou and median_score of matched
    boxes, matched, unmatched}.
    """
    found: dict[str, dict] = {name: {} for name in detectors}
    for picture, image in tqdm(pictures, desc="parity", unit="img"):
        for name, detector in detectors.items():
            found[name][picture] = detector.detect(image)
    rows = []
    precision_of = {}
    for name, faces in found.items():
        detections = {picture: protocol.Detections(f.boxes, f.scores) for picture, f in faces.items()}
        results = protocol.evaluate(detections, ground_truth)
        precision_of[name] = {subset: results[subset].average_precision for subset in SUBSETS}
        counts = {subset: results[subset].faces for subset in SUBSETS}
        overlaps, differences, unmatched = [], [], 0
        for picture, expected in found[references.get(name, name)].items():
            strong = expected.scores >= MATCHED_SCORE
            if not strong.any():
                continue
            if not len(faces[picture]):
                unmatched += int(strong.sum())
                continue
            overlap = boxes.iou(expected.boxes[strong], faces[picture].boxes)
            best = overlap.argmax(1)
            matched = overlap.max(1) >= 0.5
            unmatched += int((~matched).sum())
            overlaps += overlap.max(1)[matched].tolist()
            differences += np.abs(faces[picture].scores[best] - expected.scores[strong])[matched].tolist()
        rows.append(
            {
                "name": name,
                "reference": references.get(name, name),
                **precision_of[name],
                "median_iou": float(np.median(overlaps)) if overlaps else float("nan"),
                "median_score": float(np.median(differences)) if differences else float("nan"),
                "greatest_score": float(max(differences, default=float("nan"))),
                "matched": len(overlaps),
                "unmatched": unmatched,
            }
        )
    for row in rows:
        row["lost"] = {subset: precision_of[row["reference"]][subset] - row[subset] for subset in SUBSETS}
        row["faces"] = counts
    return rows


def check(rows: list[dict], precisions: dict[str, str]) -> None:
    """Raises ParityError where a row is past the limits of its precision. precisions: {row's name: precision}."""
    faults = []
    for row in rows:
        if row["name"] not in precisions:
            continue
        limits = LIMITS[precisions[row["name"]]]
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
            faults.append(f"{row['name']}: median IoU of matched boxes {row['median_iou']:.4f} (limit {limits.median_iou})")
        if expected and not row["median_score"] <= limits.median_score:
            faults.append(f"{row['name']}: median score difference {row['median_score']:.4f} (limit {limits.median_score})")
        if row["unmatched"] > 0.05 * max(expected, 20):
            faults.append(f"{row['name']}: {row['unmatched']} of {expected} boxes have no counterpart (limit 5%)")
    if faults:
        raise ParityError("These files do not compute what the checkpoint does:\n  " + "\n  ".join(faults))
