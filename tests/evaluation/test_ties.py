"""Ties of scores, counted by hand."""

import numpy as np

from facedet.evaluation import ties
from facedet.evaluation.protocol import Detections


def found(*scores: float) -> Detections:
    return Detections(np.zeros((len(scores), 4)), np.asarray(scores, np.float32))


def test_boxes_tie_within_their_picture_and_from_one_half_on():
    told = ties.count([found(0.9, 0.9, 0.9, 0.7, 0.3, 0.3, 0.01), found(0.7, 0.5, 0.5), found()])
    assert told == {"distinct_scores": 4, "boxes": 7, "tied": 5, "share": 5 / 7}  # .9 .7 .5 .3; the two .7 are of two pictures
    assert ties.in_words(told).startswith("4 distinct scores from 0.05 on; 71.4% of 7 boxes")
    assert "| int8   | 4 " in "\n".join(ties.markdown({"int8": told})) and "71.4%" in "\n".join(ties.markdown({"int8": told}))


def test_a_detector_that_is_sure_of_nothing_has_no_share():
    told = ties.count([found(0.3, 0.3)])
    assert told == {"distinct_scores": 1, "boxes": 0, "tied": 0, "share": None}
    assert "no box" in ties.in_words(told) and ties.markdown({"x": told})[2].count(" - ") == 1
    assert ties.markdown({}) == [] and ties.count([])["distinct_scores"] == 0
