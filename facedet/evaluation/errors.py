"""What a detector's errors are: false boxes by their kind at a recall, and faces that no box finds, by height and by attribute.

A false box is one of the protocol's: not the best on a face of the subset, and on no other face (those are neither right nor wrong).
It is 'badly placed' where it overlaps a face by an IoU of .2 to .5, 'double' where it finds a face that a better one found, else it
is on the 'background'. All heights are px of the picture: of false boxes their own, of faces the annotated ones.
"""

import itertools

import numpy as np

from facedet.data.records import Labels
from facedet.data.widerface import ATTRIBUTES, SUBSETS
from facedet.evaluation import protocol
from facedet.evaluation.protocol import Detections, GroundTruth
from facedet.evaluation.scoring import ALL_FACES, Scores
from facedet.runtime import boxes

RECALL = 0.80
KINDS = ("badly placed", "background", "double")
LEAST_OVERLAP = 0.2  # of a box that is taken for a badly placed one
EDGES = (0, 16, 32, 64, 128, np.inf)
# WIDER FACE's values of ATTRIBUTES, from 0 on
VALUES = {
    "blur": ("clear", "normal", "heavy"), "expression": ("typical", "exaggerate"), "illumination": ("normal", "extreme"),
    "occlusion": ("none", "partial", "heavy"), "pose": ("typical", "atypical"),
}  # fmt: skip


def analyse(scores: Scores, detector: str, recall: float = RECALL, attributes: dict[str, np.ndarray] | None = None) -> dict:
    """The errors of one of the detectors of `scores`, on Easy, or where that is not known on all faces.

    attributes: {picture: int [M, 6], of its truth's faces in their order, -1 where not known}.
    Returns {subset, faces, recall, score, false_boxes: {kind: {count, median_height, by_height}}, never_found: {count, by_height,
    by_attribute: {attribute: {value: {faces, missed}}}}}. score: from which on `recall` is reached, None where it never is; the
    false boxes are then those of all scores. Rows by height are {from, to (None: no end), ...}.
    """
    subset = 0 if scores.official else len(SUBSETS) - 1
    pictures = {name: _Picture(scores.detections[detector][name], truth, subset) for name, truth in scores.truth.items()}
    faces = sum(int(picture.counts.sum()) for picture in pictures.values())
    found = np.sort(np.concatenate([[], *(picture.scores[picture.true] for picture in pictures.values())]))[::-1]
    wanted = int(np.ceil(recall * faces))
    limit = float(found[wanted - 1]) if 0 < wanted <= len(found) else None
    false = {kind: [] for kind in KINDS}
    for picture in pictures.values():
        for kind, chosen in picture.false.items():
            false[kind].append(picture.heights[chosen & (picture.scores >= (limit if limit is not None else -np.inf))])
    heights = {kind: np.concatenate([[], *parts]) for kind, parts in false.items()}
    missed = {name: picture.counts & ~protocol.covered(picture.detections, picture.truth) for name, picture in pictures.items()}
    told = {
        "subset": SUBSETS[0] if scores.official else ALL_FACES,
        "faces": faces,
        "recall": recall if limit is not None else len(found) / max(faces, 1),
        "score": limit,
        "false_boxes": {
            kind: {
                "count": len(values),
                "median_height": float(np.median(values)) if len(values) else None,
                "by_height": _histogram(values),
            }
            for kind, values in heights.items()
        },
        "never_found": {"count": int(sum(map(np.sum, missed.values()))), "by_height": _missed_by_height(pictures, missed)},
    }
    if attributes:
        told["never_found"]["by_attribute"] = _missed_by_attribute(pictures, missed, attributes)
    return told


def attributes_of(truth: GroundTruth, annotated_xywh_px: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """int [M, 6]: of each face of the truth the attributes [N, 6] of the annotated one that it is, -1 where there is none."""
    found = np.full((len(truth.boxes_xywh_px), len(ATTRIBUTES)), -1)
    overlap = boxes.iou(boxes.xywh_to_xyxy(truth.boxes_xywh_px), boxes.xywh_to_xyxy(np.asarray(annotated_xywh_px, float).reshape(-1, 4)))
    if overlap.size:
        same = overlap.max(1) >= protocol.IOU_THRESHOLD
        found[same] = np.asarray(attributes)[overlap.argmax(1)[same]]
    return found


def attributes_of_record(truth: GroundTruth, labels: Labels, height: int, width: int) -> np.ndarray:
    """attributes_of() a picture's record."""
    return attributes_of(truth, boxes.xyxy_to_xywh(boxes.yxyx_norm_to_xyxy_px(labels.boxes_yxyx_norm, height, width)), labels.attributes)


class _Picture:
    """counts: bool [M], the faces of the subset.  scores, heights: [N].  true: bool [N].  false: {kind: bool [N]}."""

    def __init__(self, detections: Detections, truth: GroundTruth, subset: int):
        self.detections, self.truth, self.scores = detections, truth, np.asarray(detections.scores, float)
        corners = np.asarray(detections.boxes_xyxy_px, float).reshape(-1, 4)
        self.counts, self.heights = truth.member[:, subset].astype(bool), corners[:, 3] - corners[:, 1]
        self.true = np.zeros(len(self.scores), bool)
        if not len(self.scores) or not len(truth.boxes_xywh_px):
            self.false = dict.fromkeys(KINDS, ~self.true & False) | {"background": ~self.true}
            return
        overlap = protocol.overlaps(corners, np.asarray(truth.boxes_xywh_px, float))
        best, on_subset = overlap.max(1), self.counts[overlap.argmax(1)]
        hit = best >= protocol.IOU_THRESHOLD
        match = protocol.matches(detections, truth)
        self.true[match[(match >= 0) & self.counts]] = True
        self.false = {
            "badly placed": ~hit & (best >= LEAST_OVERLAP),
            "background": best < LEAST_OVERLAP,
            "double": hit & on_subset & ~self.true,
        }


def _histogram(heights: np.ndarray) -> list[dict]:
    return [_ends(low, high) | {"count": int(((heights >= low) & (heights < high)).sum())} for low, high in itertools.pairwise(EDGES)]


def _missed_by_height(pictures: dict, missed: dict) -> list[dict]:
    heights = np.concatenate([[], *(picture.truth.boxes_xywh_px[picture.counts, 3] for picture in pictures.values())])
    lost = np.concatenate([np.zeros(0, bool), *(missed[name][picture.counts] for name, picture in pictures.items())])
    rows = []
    for low, high in itertools.pairwise(EDGES):
        inside = (heights >= low) & (heights < high)
        rows.append(_ends(low, high) | {"faces": int(inside.sum()), "missed": int(lost[inside].sum())})
    return rows


def _missed_by_attribute(pictures: dict, missed: dict, attributes: dict[str, np.ndarray]) -> dict:
    none = np.zeros((0, len(ATTRIBUTES)), int)
    known_of = {name: np.full((len(picture.counts), len(ATTRIBUTES)), -1) for name, picture in pictures.items()} | attributes
    known = np.concatenate([none, *(known_of[name][picture.counts] for name, picture in pictures.items())])
    lost = np.concatenate([np.zeros(0, bool), *(missed[name][picture.counts] for name, picture in pictures.items())])
    told = {}
    for attribute, values in VALUES.items():
        column = known[:, ATTRIBUTES.index(attribute)]
        told[attribute] = {
            value: {"faces": int((column == i).sum()), "missed": int(lost[column == i].sum())} for i, value in enumerate(values)
        }
    return told


def _ends(low: float, high: float) -> dict:
    return {"from": low, "to": high if np.isfinite(high) else None}
