"""Turning pictures and their boxes together."""

import numpy as np
import pytest

from facedet.evaluation import protocol, rotation
from facedet.evaluation.scoring import Picture
from facedet.runtime.detector import Faces


@pytest.mark.parametrize("degrees", [0, 30, 60, 90, 180, 270])
def test_a_box_stays_on_its_face(degrees):
    image = np.zeros((160, 240, 3), np.uint8)
    rows, columns = np.mgrid[:160, :240]
    ellipse = ((columns + 0.5 - 60) / 20) ** 2 + ((rows + 0.5 - 100) / 35) ** 2 <= 1
    image[ellipse] = 255
    turned, boxes = rotation.rotate(image, np.asarray([[40.0, 65.0, 40.0, 70.0]]), degrees)
    lit = np.argwhere(turned[:, :, 0] > 127)
    seen = [lit[:, 1].min(), lit[:, 0].min(), lit[:, 1].max() + 1, lit[:, 0].max() + 1]
    x, y, w, h = boxes[0]
    np.testing.assert_allclose([x, y, x + w, y + h], seen, atol=2)


class FindsUpright:
    """Finds the white square while the picture is wider than high: not when it lies on its side."""

    def detect(self, image):
        lit = np.argwhere(image[:, :, 0] > 127)
        if image.shape[0] > image.shape[1]:
            return Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        box = [lit[:, 1].min(), lit[:, 0].min(), lit[:, 1].max() + 1, lit[:, 0].max() + 1]
        return Faces(np.asarray([box, box], np.float32), np.asarray([0.9, 0.2], np.float32))


def test_recall_counts_the_faces_of_each_subset():
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:60, 30:70] = 255
    truth = protocol.GroundTruth(
        np.asarray([[30.0, 20, 40, 40], [120, 20, 40, 40]]), np.asarray([[True, True, True], [False, False, True]])
    )
    upright = Picture("e/a.jpg", image, truth)
    found = rotation.recall(FindsUpright(), [upright], 0.5, (0, 90))
    assert found == {"easy": {0: 1.0, 90: 0.0}, "medium": {0: 1.0, 90: 0.0}, "hard": {0: 0.5, 90: 0.0}}
    assert rotation.recall(FindsUpright(), [upright], 0.95, (0,))["easy"] == {0: 0.0}
    lying = Picture("e/b.jpg", *rotation_of(upright))
    found = rotation.recall(FindsUpright(), [upright, lying], 0.5, (0, 90))
    assert found["easy"] == {0: 0.5, 90: 0.5} and found["hard"] == {0: 0.25, 90: 0.25}


def rotation_of(picture: Picture):
    image, boxes = rotation.rotate(picture.image, picture.truth.boxes_xywh_px, 90)
    return image, protocol.GroundTruth(boxes, picture.truth.member)
