"""What MediaPipe's BlazeFace, short range, gives, and so the files that stand in for it: 896 anchors, a linear code, six points."""

import numpy as np

SIDE = 128  # of the input, px
_GRIDS = ((16, 2), (8, 6))  # places along a side, anchors of each place
OUTPUTS = {"regressors": (1, 896, 16), "classificators": (1, 896, 1)}
_LARGEST_LOGIT = 80.0  # past it nothing changes but that exp overflows


def anchor_centres() -> np.ndarray:
    """float32 [896, 2] y, x in fractions of the input, by level, row, column and anchor of a place."""
    levels = []
    for places, anchors in _GRIDS:
        centres = (np.arange(places, dtype=np.float32) + 0.5) / places
        levels.append(np.stack(np.meshgrid(centres, centres, indexing="ij"), 2).reshape(-1, 2).repeat(anchors, 0))
    return np.concatenate(levels)


def decode(regressors: np.ndarray, classificators: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """regressors [896, 16] x, y, width, height and six points x, y, in px from an anchor's centre; classificators [896, 1], logits.

    Returns boxes [896, 4] ycenter, xcenter, height, width, scores [896], points [896, 6, 2] y, x, in fractions of the input.
    """
    pairs, centres = regressors.reshape(-1, 8, 2)[..., ::-1] / SIDE, anchor_centres()
    boxes = np.concatenate([pairs[:, 0] + centres, pairs[:, 1]], 1)
    scores = 1 / (1 + np.exp(-np.clip(classificators[:, 0], -_LARGEST_LOGIT, _LARGEST_LOGIT)))
    return boxes, scores, pairs[:, 2:] + centres[:, None]
