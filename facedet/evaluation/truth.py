"""What the protocol scores a picture against, from what its record keeps of it."""

import numpy as np

from facedet.data import records
from facedet.data.widerface import SUBSETS
from facedet.evaluation import protocol
from facedet.runtime import boxes


def ground_truth(labels: records.Labels, height: int, width: int) -> protocol.GroundTruth:
    """What the protocol scores against: the official lists where the records hold them, else the faces not ignored."""
    corners = boxes.yxyx_norm_to_xyxy_px(labels.boxes_yxyx_norm, height, width)
    points = labels.landmarks_xy_norm
    if points is not None:
        points = points * np.asarray((width, height), np.float32)
    if labels.eval_subsets is None:
        member = np.repeat((labels.weights > 0)[:, None], len(SUBSETS), 1)
        return protocol.GroundTruth(boxes.xyxy_to_xywh(corners), member, points)
    member = (labels.eval_subsets[:, None] >> np.arange(len(SUBSETS)) & 1).astype(bool)
    official = labels.eval_boxes_xywh_px
    return protocol.GroundTruth(official, member, points if points is None else _points_of(official, corners, points))


def _points_of(official_xywh: np.ndarray, written_xyxy: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[M, 5, 2]: the points of each official face, by the face of the record that is the same."""
    found = np.full((len(official_xywh), *points.shape[1:]), np.nan, np.float32)
    overlap = boxes.iou(boxes.xywh_to_xyxy(official_xywh), written_xyxy)
    if overlap.size:
        same = overlap.max(1) >= protocol.IOU_THRESHOLD
        found[same] = points[overlap.argmax(1)[same]]
    return found
