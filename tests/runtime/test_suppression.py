"""Raw boxes, scores and points -> faces: what belongs together stays together."""

import numpy as np

from facedet.runtime.suppression import suppress

BOXES = np.asarray([[0.5, 0.5, 0.2, 0.1], [0.2, 0.8, 0.2, 0.1], [0.51, 0.5, 0.2, 0.1], [0.7, 0.2, 0.4, 0.1]], np.float32)  # 2 overlaps 0
SCORES = np.asarray([0.6, 0.9, 0.7, 0.1], np.float32)
POINTS = np.arange(4 * 5 * 2, dtype=np.float32).reshape(4, 5, 2)


def test_the_better_of_two_stays_with_its_points():
    corners, scores, points = suppress(BOXES, SCORES, POINTS, 0.3, 0.5, 10)
    np.testing.assert_allclose(corners, [[0.1, 0.75, 0.3, 0.85], [0.41, 0.45, 0.61, 0.55]], atol=1e-6)  # ymin, xmin, ymax, xmax
    np.testing.assert_array_equal(scores, SCORES[[1, 2]])
    np.testing.assert_array_equal(points, POINTS[[1, 2]])
    assert corners.dtype == scores.dtype == points.dtype == np.float32


def test_thresholds_and_the_cap_hold():
    def kept(*limits):
        corners, scores, points = suppress(BOXES, SCORES, POINTS, *limits)
        assert len(corners) == len(scores) == len(points)
        return scores.tolist()

    assert kept(0.3, 0.95, 10) == SCORES[[1, 2, 0]].tolist()  # the overlap of .9 is not above .95
    assert kept(0.3, 0.5, 1) == SCORES[[1]].tolist()
    assert kept(float(SCORES[3]), 0.5, 10) == SCORES[[1, 2, 3]].tolist()  # a score at the threshold counts
    assert kept(0.95, 0.5, 10) == []


def test_without_points_none_come_out():
    assert suppress(BOXES, SCORES, None, 0.3, 0.5, 10)[2] is None
