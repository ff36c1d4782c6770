"""The one scoring loop, on records and on made-up pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from facedet.data import records
from facedet.evaluation import dataset, protocol, scoring, validation
from facedet.runtime.detector import Faces

PICTURE = np.zeros((40, 60, 3), np.uint8)


class OneByOne:
    """Finds one face, whose left side is the first pixel's value."""

    calls = 0

    def detect(self, image) -> Faces:
        self.calls += 1
        left = float(image[0, 0, 0])
        return Faces(np.asarray([[left, 0, left + 20, 20]], np.float32), np.asarray([0.9], np.float32))


class InBatches(OneByOne):
    def detect_batch(self, images) -> list[Faces]:
        self.sizes = [*getattr(self, "sizes", []), len(images)]
        return [super(InBatches, self).detect(image) for image in images]

    def detect(self, image):
        raise AssertionError("asked one by one")


def made_up(count: int):
    for number in range(count):
        truth = protocol.GroundTruth(np.asarray([[float(number), 0, 20, 20]]), np.ones((1, 3), bool))
        yield scoring.Picture(f"e/{number}.jpg", np.full_like(PICTURE, number), truth)


def test_each_detector_sees_each_picture_once_and_finds_are_not_mixed_up():
    detectors = {"one": OneByOne(), "batches": InBatches()}
    scores = scoring.score(detectors, made_up(2 * scoring.BATCH + 3), keep=2)
    assert detectors["one"].calls == 35 and detectors["batches"].sizes == [scoring.BATCH, scoring.BATCH, 3]
    for found in scores.detections.values():
        assert [faces.boxes_xyxy_px[0, 0] for faces in found.values()] == list(range(35)) and list(found) == list(scores.truth)
    assert scores.results("one")["hard"].average_precision == pytest.approx(1) and scores.sizes["e/7.jpg"] == (40, 60)
    assert [picture.name for picture in scores.kept] == ["e/0.jpg", "e/1.jpg"] and scores.official


def labelled(subsets, weights=(1.0, 0.0), landmarks=None) -> records.Labels:
    """Faces at 0, 0, 20, 20 and 30, 0, 50, 20 px of PICTURE; the second is to ignore."""
    boxes = np.asarray([[0, 0, 0.5, 1 / 3], [0, 0.5, 0.5, 5 / 6]], np.float32)
    listed = np.asarray([[30, 0, 20, 20], [0, 0, 20, 20]], np.float32)  # in another order
    return records.Labels(boxes, np.asarray(weights, np.float32), np.zeros((2, 0)), landmarks, listed, subsets)


def test_records_without_the_official_lists_are_one_set_of_the_faces_not_ignored():
    picture = scoring.Picture("e/a.jpg", PICTURE, validation.ground_truth(labelled(None), 40, 60), labelled(None))
    results = scoring.score({"one": OneByOne()}, [picture]).results("one")
    assert list(results) == [scoring.ALL_FACES] and results["all"].faces == 1 and results["all"].average_precision == pytest.approx(1)
    labels = labelled(np.asarray([4, 7]))
    picture = scoring.Picture("e/a.jpg", PICTURE, validation.ground_truth(labels, 40, 60), labels)
    results = scoring.score({"one": OneByOne()}, [picture]).results("one")
    assert [result.faces for result in results.values()] == [1, 1, 2]


def test_points_follow_their_face_into_the_official_order():
    points = np.full((2, 5, 2), np.nan, np.float32)
    points[0] = 0.25
    truth = validation.ground_truth(labelled(None, landmarks=points), 40, 60)
    np.testing.assert_array_equal(truth.landmarks_xy_px[0], [[15, 10]] * 5)
    truth = validation.ground_truth(labelled(np.asarray([4, 7]), landmarks=points), 40, 60)
    np.testing.assert_array_equal(truth.landmarks_xy_px[1], [[15, 10]] * 5)
    assert np.isnan(truth.landmarks_xy_px[0]).all()


class Annotated:
    """Finds the faces of records as they are annotated, points and all, each coordinate by so many px too great."""

    def __init__(self, paths, off: float, with_landmarks: bool = True):
        self._off, self._with_landmarks, self._known = off, with_landmarks, {}
        for picture in validation.pictures(paths):
            self._known[picture.image.tobytes()] = picture.truth

    def detect(self, image) -> Faces:
        truth = self._known[image.tobytes()]
        corners = np.concatenate([truth.boxes_xywh_px[:, :2], truth.boxes_xywh_px[:, :2] + truth.boxes_xywh_px[:, 2:]], 1)
        points = np.nan_to_num(truth.landmarks_xy_px) + self._off if self._with_landmarks else None
        return Faces(corners.astype(np.float32), np.full(len(corners), 0.9, np.float32), points)


@pytest.fixture(scope="module")
def train_records(records_dir) -> list[str]:
    return validation.find(f"{records_dir}/*_train.tfrecord-*")


def test_validation_measures_landmarks_where_there_are_some(train_records):
    metrics, shown = validation.validate(Annotated(train_records, 0.0), train_records, keep_pictures=3)
    assert metrics["WiderFace/all"] > 0.99 and metrics["DetectionBoxes_Precision/mAP"] > 0.99
    assert metrics["Landmarks/nme"] < 1e-5 and metrics["Landmarks/under_0.05"] == 1
    assert len(shown) == 3 and validation.contact_sheet(shown).any()
    metrics, _ = validation.validate(Annotated(train_records, 100.0), train_records)
    assert metrics["Landmarks/nme"] > 0.5 and metrics["Landmarks/under_0.10"] == 0
    metrics, _ = validation.validate(Annotated(train_records, 0.0, with_landmarks=False), train_records, 4)
    assert not [name for name in metrics if name.startswith("Landmarks")] and metrics["WiderFace/all"] > 0.99


def test_a_sample_is_even_and_counts_itself(train_records):
    names = [picture.name for picture in validation.pictures(train_records)]
    for limit, expected in ((0, names), (5, names[::4][:5]), (7, names[::3][:7]), (100, names)):
        pictures, count = validation.sample(train_records, limit)
        assert [picture.name for picture in pictures] == expected and count == len(expected), limit
    assert dataset.sample(list(range(10)), 4) == [0, 2, 4, 6] and dataset.sample([1, 2], 0) == dataset.sample([1, 2], 9) == [1, 2]
    with pytest.raises(records.RecordsError, match="No file matches none-\\*"):
        validation.find("none-*")


def test_a_record_that_cannot_be_decoded_is_named(monkeypatch):
    whole = io.BytesIO()
    Image.fromarray(PICTURE).save(whole, "JPEG")
    entries = [("e/whole.jpg", whole.getvalue(), labelled(None)), ("e/cut.jpg", whole.getvalue()[:300], labelled(None))]
    monkeypatch.setattr(records, "read_examples", lambda paths: iter(entries))
    with pytest.raises(records.RecordsError, match="e/cut.jpg cannot be decoded .*Convert the data set again"):
        validation.validate(OneByOne(), ["x"])
