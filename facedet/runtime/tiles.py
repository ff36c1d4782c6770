"""A large picture in overlapping tiles, for faces that are too small in the whole of it. numpy only."""

import numpy as np

from facedet.runtime import boxes

OVERLAP = 0.25  # of a tile's side: a face up to this size is whole in one of them
MOST = 8
_EDGE = 0.01  # of a tile's side: a box so near to a cut is that of a part of a face


def cut(height: int, width: int, n: int) -> list[tuple[int, int, int, int]]:
    """top, left, bottom, right in px of n x n tiles that cover the picture."""
    rows, columns = _spans(height, n), _spans(width, n)
    return [(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def _spans(length: int, n: int) -> list[tuple[int, int]]:
    side = length / (n - (n - 1) * OVERLAP)
    starts = [i * side * (1 - OVERLAP) for i in range(n)]
    spans = [(int(start), min(length, int(np.ceil(start + side)))) for start in starts]
    return [(min(start, length - 1), max(end, min(start, length - 1) + 1)) for start, end in spans]


def whole(boxes_xyxy_px: np.ndarray, tile: tuple[int, int, int, int], height: int, width: int) -> np.ndarray:
    """bool [N]: which boxes, in pixels of the tile, do not touch a side where the picture was cut."""
    top, left, bottom, right = tile
    near = np.asarray((right - left, bottom - top)) * _EDGE
    xmin, ymin, xmax, ymax = np.asarray(boxes_xyxy_px).reshape(-1, 4).T
    keep = np.ones(len(xmin), bool)
    for is_cut, inside in (
        (left > 0, xmin > near[0]), (top > 0, ymin > near[1]),
        (right < width, xmax < right - left - near[0]), (bottom < height, ymax < bottom - top - near[1]),
    ):  # fmt: skip
        keep &= inside | (not is_cut)
    return keep


def merge(parts: list[tuple], iou_threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """[(boxes_xyxy_px [N, 4], scores [N], landmarks [N, P, 2] or None)] of one picture -> one such, best first, suppressed."""
    found, scores = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    kept = boxes.non_max_suppression(found, scores, iou_threshold, len(scores))
    landmarks = None if parts[0][2] is None else np.concatenate([part[2] for part in parts])[kept]
    return found[kept], scores[kept], landmarks
