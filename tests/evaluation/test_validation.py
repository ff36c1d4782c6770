"""Records as pictures with their truth."""

import numpy as np
import pytest

from facedet.data import records
from facedet.evaluation import validation
from facedet.evaluation.protocol import Detections, GroundTruth
from facedet.evaluation.scoring import Scores


def test_the_picture_is_read_as_stored(records_dir):
    name, encoded, labels = next(iter(records.read_examples(sorted(map(str, records_dir.glob("*val*"))))))
    image = validation.decode(encoded)
    truth = validation.ground_truth(labels, *image.shape[:2])
    assert image.dtype == np.uint8 and len(truth.boxes_xywh_px) == len(truth.member) and name.endswith(".jpg")


def scores_of(found: dict, faces: dict, member=True) -> Scores:
    """{picture: boxes xyxy} and {picture: boxes xywh}, in pictures of 200 x 100 px."""
    detections = {
        name: Detections(np.reshape(boxes, (-1, 4)).astype(float), np.linspace(0.9, 0.8, len(boxes))) for name, boxes in found.items()
    }
    truth = {name: GroundTruth(np.reshape(boxes, (-1, 4)).astype(float), np.full((len(boxes), 3), member)) for name, boxes in faces.items()}
    return Scores({"detector": detections}, truth, sizes=dict.fromkeys(faces, (100, 200)))


def test_boxes_are_compared_with_the_faces_that_they_find():
    """One 10 px to the right of a face of 40 x 20 and two that are right, beside one of which another finds nothing new; a face is missed."""
    found = {"a": [[150, 50, 190, 90], [20, 10, 60, 30]], "b": [[100, 40, 140, 80], [101, 40, 141, 80], [0, 0, 5, 5]]}
    faces = {"a": [[10, 10, 40, 20], [150, 50, 40, 40], [90, 10, 30, 30]], "b": [[100, 40, 40, 40]]}
    metrics = validation.box_errors(scores_of(found, faces), "detector")
    assert metrics["Boxes/iou"] == pytest.approx((30 / 50 + 1 + 1) / 3)
    assert metrics["Boxes/mse"] == pytest.approx((2 * (10 / 200) ** 2 / 4 + 0 + 0) / 3)


def test_of_faces_that_are_ignored_or_not_found_nothing_is_said():
    assert validation.box_errors(scores_of({"a": [[10, 10, 50, 30]]}, {"a": [[10, 10, 40, 20]]}, member=False), "detector") == {}
    assert validation.box_errors(scores_of({"a": []}, {"a": [[10, 10, 40, 20]]}), "detector") == {}
