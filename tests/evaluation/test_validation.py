"""Records as pictures with their truth."""

import numpy as np

from facedet.data import records
from facedet.evaluation import validation


def test_the_picture_is_read_as_stored(records_dir):
    name, encoded, labels = next(iter(records.read_examples(sorted(map(str, records_dir.glob("*val*"))))))
    image = validation.decode(encoded)
    truth = validation.ground_truth(labels, *image.shape[:2])
    assert image.dtype == np.uint8 and len(truth.boxes_xywh_px) == len(truth.member) and name.endswith(".jpg")
