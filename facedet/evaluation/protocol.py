"""Average precision on WIDER FACE's validation set by the official eval_tools (Yang et al. 2016, arXiv:1511.06523).

Scores are stretched to 0..1 over the whole set; a detection finds the face that it overlaps most, from IoU 0.5 on, with
sides counted one pixel longer, as MATLAB code does; a face is found once; a detection on a face outside of the subset is
neither right nor wrong; precision and recall are taken at 1,000 thresholds and integrated under their envelope (VOC).
"""

import dataclasses
import itertools

import numpy as np

from facedet.data.widerface import SUBSETS

IOU_THRESHOLD = 0.5
NUM_THRESHOLDS = 1000
LEAST_SCORE = 0.02  # of detections that are scored


@dataclasses.dataclass(frozen=True)
class GroundTruth:
    """The faces of a picture.

    boxes_xywh_px: float [M, 4] as annotated.  member: bool [M, 3], which face counts in which of SUBSETS.
    landmarks_xy_px: float [M, 5, 2], NaN where a face has none; or None.
    """

    boxes_xywh_px: np.ndarray
    member: np.ndarray
    landmarks_xy_px: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Detections:
    """boxes_xyxy_px: float [N, 4].  scores: float [N].  landmarks_xy_px: float [N, 5, 2] or None. In any order."""

    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    landmarks_xy_px: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """Of one subset: average precision, the faces that count, and the curve (recall and precision [1000])."""

    average_precision: float
    faces: int
    recall: np.ndarray
    precision: np.ndarray


def evaluate(detections: dict[str, Detections], ground_truth: dict[str, GroundTruth]) -> dict[str, Result]:
    """{subset: Result} over the pictures of `ground_truth`; one without detections counts as a miss of all its faces."""
    scores = [d.scores for name, d in detections.items() if name in ground_truth and len(d.scores)]
    least = min(1.0, min(s.min() for s in scores)) if scores else 0.0
    greatest = max(0.0, max(s.max() for s in scores)) if scores else 1.0
    thresholds = 1 - np.arange(1, NUM_THRESHOLDS + 1) / NUM_THRESHOLDS
    proposed = np.zeros((len(SUBSETS), NUM_THRESHOLDS))
    found = np.zeros_like(proposed)
    faces = np.zeros(len(SUBSETS), np.int64)
    for name, truth in ground_truth.items():
        faces += truth.member.sum(0)
        detected = detections.get(name)
        if detected is None or not len(detected.scores) or not len(truth.boxes_xywh_px):
            continue
        order = np.argsort(-detected.scores, kind="stable")
        stretched = (detected.scores[order].astype(np.float64) - least) / max(float(greatest - least), 1e-300)
        reached = np.searchsorted(-stretched, -thresholds, side="right")  # so many detections pass each threshold
        overlap = overlaps(detected.boxes_xyxy_px[order].astype(np.float64), truth.boxes_xywh_px.astype(np.float64))
        face, hit = overlap.argmax(1), overlap.max(1) >= IOU_THRESHOLD
        for subset in range(len(SUBSETS)):
            counts = truth.member[face, subset]
            first = np.zeros(len(order), bool)
            right = np.flatnonzero(hit & counts)
            if len(right):
                first[right[np.unique(face[right], return_index=True)[1]]] = True
            proposed[subset] += np.concatenate(([0], np.cumsum(~hit | counts)))[reached]
            found[subset] += np.concatenate(([0], np.cumsum(first)))[reached]
    results = {}
    for i, subset in enumerate(SUBSETS):
        precision = np.divide(found[i], proposed[i], out=np.zeros(NUM_THRESHOLDS), where=proposed[i] > 0)
        recall = found[i] / max(faces[i], 1)
        ap = _area_under_envelope(recall, precision) if faces[i] else float("nan")
        results[subset] = Result(ap, int(faces[i]), recall, precision)
    return results


def recall_by_height(detections, ground_truth, edges=(0, 10, 16, 24, 32, 48, 64, 96, 128, 192, 256, np.inf), threshold=0.0) -> list[dict]:
    """Recall of the faces of the hard subset by their height in pixels, of detections whose score is at least `threshold`.

    Returns rows {from, to (None: no end), faces, found}. Where the hard subset is unknown (all False), every face counts.
    """
    heights, hits = [], []
    known = any(truth.member[:, -1].any() for truth in ground_truth.values())
    for name, truth in ground_truth.items():
        count = truth.member[:, -1] if known else np.ones(len(truth.boxes_xywh_px), bool)
        found = np.zeros(len(count), bool)
        detected = detections.get(name)
        if detected is not None:
            keep = detected.scores >= threshold
            found = covered(Detections(detected.boxes_xyxy_px[keep], detected.scores[keep]), truth)
        heights.append(truth.boxes_xywh_px[count, 3])
        hits.append(found[count])
    heights, hits = np.concatenate([*heights, []]), np.concatenate([*hits, []])
    rows = []
    for low, high in itertools.pairwise(edges):
        inside = (heights >= low) & (heights < high)
        rows.append({"from": low, "to": high if np.isfinite(high) else None, "faces": int(inside.sum()), "found": int(hits[inside].sum())})
    return rows


def covered(detections: Detections, truth: GroundTruth) -> np.ndarray:
    """bool [M]: the faces that any detection overlaps enough."""
    if not len(detections.scores) or not len(truth.boxes_xywh_px):
        return np.zeros(len(truth.boxes_xywh_px), bool)
    overlap = overlaps(detections.boxes_xyxy_px.astype(np.float64), truth.boxes_xywh_px.astype(np.float64))
    return (overlap >= IOU_THRESHOLD).any(0)


def matches(detections: Detections, truth: GroundTruth) -> np.ndarray:
    """int [M]: the detection that finds each face, -1 where none does.

    As in evaluate(): best score first, each detection on the face that it overlaps most, from IoU 0.5 on; a face is found once.
    """
    found = np.full(len(truth.boxes_xywh_px), -1)
    if not len(detections.scores) or not len(found):
        return found
    overlap = overlaps(detections.boxes_xyxy_px.astype(np.float64), truth.boxes_xywh_px.astype(np.float64))
    order = np.argsort(-detections.scores, kind="stable")
    order = order[overlap.max(1)[order] >= IOU_THRESHOLD]
    found[overlap.argmax(1)[order][::-1]] = order[::-1]  # the best is written last
    return found


def overlaps(boxes_xyxy: np.ndarray, faces_xywh: np.ndarray) -> np.ndarray:
    """IoU with sides one pixel longer: [N, 4], [M, 4] -> [N, M]."""
    low, high = faces_xywh[:, :2], faces_xywh[:, :2] + faces_xywh[:, 2:]
    sides = np.minimum(boxes_xyxy[:, None, 2:], high[None]) - np.maximum(boxes_xyxy[:, None, :2], low[None]) + 1
    shared = np.where((sides > 0).all(2), sides.prod(2), 0.0)
    areas = [(b - a + 1).prod(1) for a, b in ((boxes_xyxy[:, :2], boxes_xyxy[:, 2:]), (low, high))]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def _area_under_envelope(recall: np.ndarray, precision: np.ndarray) -> float:
    recall = np.concatenate(([0.0], recall, [1.0]))
    envelope = np.maximum.accumulate(np.concatenate(([0.0], precision, [0.0]))[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return float(((recall[steps + 1] - recall[steps]) * envelope[steps + 1]).sum())
