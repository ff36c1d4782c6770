"""Box forms and geometry in numpy. The name of every array of boxes carries its order and its unit.

    boxes_xywh_px     left, top, width, height in pixels         (WIDER FACE's annotation)
    boxes_xyxy_px     xmin, ymin, xmax, ymax in pixels           (FaceDetector's result)
    boxes_yxyx_norm   ymin, xmin, ymax, xmax, 0..1 of the image  (the OD API, TFLite)

Pixels are counted from the outer corner of the first pixel: a box that fills an image is 0, 0, width, height.
"""

import numpy as np


def xywh_to_xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    """[N, 4] left, top, width, height -> [N, 4] xmin, ymin, xmax, ymax, in the same unit."""
    boxes = np.asarray(boxes_xywh).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def xyxy_to_xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """[N, 4] xmin, ymin, xmax, ymax -> [N, 4] left, top, width, height, in the same unit."""
    boxes = np.asarray(boxes_xyxy).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def xyxy_px_to_yxyx_norm(boxes_xyxy_px: np.ndarray, height: int, width: int) -> np.ndarray:
    """[N, 4] pixels of an image of this size -> [N, 4] ymin, xmin, ymax, xmax in fractions of it."""
    boxes = np.asarray(boxes_xyxy_px, dtype=np.float64).reshape(-1, 4)
    return boxes[:, [1, 0, 3, 2]] / (height, width, height, width)


def yxyx_norm_to_xyxy_px(boxes_yxyx_norm: np.ndarray, height: int, width: int) -> np.ndarray:
    """[N, 4] fractions -> [N, 4] xmin, ymin, xmax, ymax in pixels of an image of this size."""
    boxes = np.asarray(boxes_yxyx_norm).reshape(-1, 4)
    return boxes[:, [1, 0, 3, 2]] * np.asarray((width, height, width, height), boxes.dtype)


def clip_xyxy(boxes_xyxy_px: np.ndarray, height: int, width: int) -> np.ndarray:
    """[N, 4] cut to the image. A box wholly outside keeps no area."""
    boxes = np.asarray(boxes_xyxy_px).reshape(-1, 4)
    return np.clip(boxes, 0, np.asarray((width, height, width, height), boxes.dtype))


def area(boxes: np.ndarray) -> np.ndarray:
    """[N] areas of corner boxes of either order; a box with a side turned inside out has area 0."""
    boxes = np.asarray(boxes).reshape(-1, 4)
    return np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)


def intersection(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """[N, 4] and [M, 4] corner boxes of one order and unit -> [N, M] areas of overlap."""
    a, b = np.asarray(boxes_a).reshape(-1, 4), np.asarray(boxes_b).reshape(-1, 4)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    return np.prod(np.maximum(sides, 0), axis=2)


def iou(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """[N, 4] and [M, 4] corner boxes of one order and unit -> [N, M] intersection over union, 0 where both are empty."""
    shared = intersection(boxes_a, boxes_b)
    union = area(boxes_a)[:, None] + area(boxes_b)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared, dtype=np.result_type(shared, np.float32)), where=union > 0)


def non_max_suppression(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float, max_detections: int) -> np.ndarray:
    """Greedy suppression: [N, 4] corner boxes, [N] scores -> [K] indices of those kept, best first.

    A box goes when its IoU with a better one that is kept is above `iou_threshold`. Equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, areas = boxes[order], area(boxes)[order]
    kept = []
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if not alive[i]:
            continue
        kept.append(order[i])
        if len(kept) == max_detections:
            break
        rest = i + 1 + np.flatnonzero(alive[i + 1 :])
        sides = np.minimum(boxes[i, 2:], boxes[rest, 2:]) - np.maximum(boxes[i, :2], boxes[rest, :2])
        shared = np.prod(np.maximum(sides, 0), axis=1)
        alive[rest[shared > iou_threshold * (areas[i] + areas[rest] - shared)]] = False
    return np.asarray(kept, np.int64)
