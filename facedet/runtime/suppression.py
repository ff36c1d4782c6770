"""Raw outputs of a network -> the faces among them: what a file with its own suppression does inside."""

import numpy as np

from facedet.runtime import boxes

MAX_DETECTIONS = 10_000  # of a file


def suppress(
    boxes_yxhw: np.ndarray,
    scores: np.ndarray,
    points_yx: np.ndarray | None,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """[N, 4] ycenter, xcenter, height, width, [N], [N, P, 2] y, x or None -> those kept, best first.

    Returns corners [K, 4] ymin, xmin, ymax, xmax, scores [K], points [K, P, 2] or None; unit and dtype stay.
    Scores from score_threshold on, at most max_detections; what overlaps a better one by more than iou_threshold goes.
    """
    keep = np.flatnonzero(scores >= score_threshold)
    centers, halves = boxes_yxhw[keep, :2], boxes_yxhw[keep, 2:] / 2
    corners, scores = np.concatenate([centers - halves, centers + halves], 1), scores[keep]
    kept = boxes.non_max_suppression(corners, scores, iou_threshold, max_detections)
    return corners[kept], scores[kept], None if points_yx is None else points_yx[keep[kept]]
