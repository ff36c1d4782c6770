import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facedet.runtime import boxes

SIDE = st.floats(-200, 1200, allow_nan=False, width=32)
LENGTH = st.floats(0.125, 900, allow_nan=False, width=32)
BOX_XYWH = st.tuples(SIDE, SIDE, LENGTH, LENGTH)
MANY = st.lists(BOX_XYWH, min_size=1, max_size=12).map(lambda rows: np.asarray(rows, np.float64))
SIZE = st.tuples(st.integers(1, 2000), st.integers(1, 2000))


@given(MANY)
def test_corners_and_sides_are_inverse(xywh):
    np.testing.assert_allclose(boxes.xyxy_to_xywh(boxes.xywh_to_xyxy(xywh)), xywh, atol=1e-9)


@given(MANY, SIZE)
def test_pixels_and_fractions_are_inverse(xywh, size):
    corners = boxes.xywh_to_xyxy(xywh)
    fractions = boxes.xyxy_px_to_yxyx_norm(corners, *size)
    np.testing.assert_allclose(boxes.yxyx_norm_to_xyxy_px(fractions, *size), corners, atol=1e-6)
    np.testing.assert_allclose(fractions[:, 0] * size[0], corners[:, 1], atol=1e-6)  # y comes first, over the height


@given(MANY, SIZE)
def test_clipped_boxes_lie_inside(xywh, size):
    clipped = boxes.clip_xyxy(boxes.xywh_to_xyxy(xywh), *size)
    assert (clipped >= 0).all() and (clipped <= (size[1], size[0], size[1], size[0])).all()
    assert (boxes.area(clipped) <= boxes.area(boxes.xywh_to_xyxy(xywh)) + 1e-6).all()


@given(MANY, MANY)
def test_iou_is_symmetric_and_bounded(first, second):
    a, b = boxes.xywh_to_xyxy(first), boxes.xywh_to_xyxy(second)
    overlap = boxes.iou(a, b)
    np.testing.assert_allclose(overlap, boxes.iou(b, a).T, atol=1e-12)
    assert (overlap >= 0).all() and (overlap <= 1 + 1e-9).all()
    np.testing.assert_allclose(np.diag(boxes.iou(a, a)), 1)
    moved = boxes.iou(a + 7.5, b + 7.5)
    np.testing.assert_allclose(moved, overlap, atol=1e-4)


def test_iou_of_known_boxes():
    assert boxes.iou([[0, 0, 2, 2]], [[1, 0, 3, 2]])[0, 0] == 2 / 6
    assert boxes.iou([[0, 0, 0, 0]], [[0, 0, 0, 0]])[0, 0] == 0


@given(MANY, st.floats(0.1, 0.9), st.integers(1, 12))
def test_suppression_keeps_the_best_and_no_two_that_overlap(xywh, threshold, most):
    corners = boxes.xywh_to_xyxy(xywh)
    scores = np.linspace(1, 0.1, len(corners))[::-1]
    kept = boxes.non_max_suppression(corners, scores, threshold, most)
    assert kept[0] == scores.argmax() and len(kept) <= most
    assert (np.diff(scores[kept]) <= 0).all()
    overlap = boxes.iou(corners[kept], corners[kept]) - np.eye(len(kept))
    assert (overlap <= threshold + 1e-9).all()
    if len(kept) < most:  # every box is kept or falls on a better one that is
        assert (boxes.iou(corners, corners[kept]).max(1) >= threshold - 1e-9).all()
