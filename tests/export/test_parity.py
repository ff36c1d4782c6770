"""The parity gate: what it must not let through, without a network."""

import numpy as np
import pytest

from facedet.evaluation import protocol, scoring
from facedet.export import parity
from facedet.runtime.detector import Faces

BOX = np.asarray([[10, 10, 50, 50]], np.float32)
POINTS = np.asarray([[[20, 22], [40, 22], [30, 30], [22, 40], [38, 40]]], np.float32)


class Finds:
    """A detector of one face with this score in every picture; of none without a score. landmarks: so many px to the right, or None."""

    def __init__(self, score: float | None, shift: float = 0.0, landmarks: float | None = None):
        self._score, self._shift, self.landmarks = score, shift, landmarks

    def detect(self, image) -> Faces:
        count = 0 if self._score is None else 1
        points = None if self.landmarks is None else POINTS[:count] + np.asarray([self.landmarks, 0], np.float32)
        return Faces(BOX[:count] + self._shift, np.full(count, self._score or 0, np.float32), points)


def check(checkpoint, file, kind: str = "int8", precision: str = "int8") -> list[dict]:
    truth = protocol.GroundTruth(np.asarray([[10.0, 10, 40, 40]]), np.ones((1, 3), bool))
    pictures = [scoring.Picture(f"e/{number}.jpg", np.zeros((64, 64, 3), np.uint8), truth) for number in range(3)]
    rows = parity.compare(scoring.score({"checkpoint": checkpoint, kind: file}, pictures), {kind: "checkpoint"})
    parity.check(rows, {kind: precision})
    return rows


def test_a_file_that_finds_the_same_passes():
    rows = check(Finds(0.9), Finds(0.9))
    assert not any("median_landmarks" in row for row in rows) and "landmarks" not in parity.limits_in_words(rows)


@pytest.mark.parametrize(
    "checkpoint, file",
    [
        (Finds(None), Finds(None)),  # nothing was compared
        (Finds(0.2), Finds(0.2)),  # nor here: no box is sure enough
        (Finds(None), Finds(0.9)),
        (Finds(None, landmarks=0.0), Finds(0.9, landmarks=0.0)),
    ],
)
def test_a_checkpoint_that_finds_nothing_fails(checkpoint, file):
    with pytest.raises(parity.ParityError, match=r"int8: checkpoint finds no face with a score of 0\.3"):
        check(checkpoint, file)


@pytest.mark.parametrize("file", [Finds(None), Finds(0.4), Finds(0.9, shift=12), Finds(0.9, shift=40)])
def test_another_file_fails(file):
    with pytest.raises(parity.ParityError):
        check(Finds(0.9), file)


@pytest.mark.parametrize("precision, allowed", [("float32", 0.001), ("float16", 0.005), ("int8", 0.03)])
def test_landmarks_are_compared_in_sizes_of_the_face(precision, allowed):
    rows = check(Finds(0.9, landmarks=0.0), Finds(0.9, landmarks=0.9 * allowed * 40), precision, precision)
    assert rows[1]["median_landmarks"] == pytest.approx(0.9 * allowed, rel=0.01) and rows[0]["median_landmarks"] == 0
    assert f"landmarks {allowed}" in parity.limits_in_words(rows)
    with pytest.raises(parity.ParityError, match=f"{precision}: median landmark distance .* of a face's size .limit {allowed}"):
        check(Finds(0.9, landmarks=0.0), Finds(0.9, landmarks=1.1 * allowed * 40), precision, precision)


def test_a_file_without_the_landmarks_of_its_checkpoint_fails_unless_it_is_one_of_boxes_only():
    with pytest.raises(parity.ParityError, match="int8: no landmarks, while checkpoint gives some"):
        check(Finds(0.9, landmarks=0.0), Finds(0.9))
    rows = check(Finds(0.9, landmarks=0.0), Finds(0.9), "int8_boxes")
    assert rows[1]["median_landmarks"] is None
    with pytest.raises(parity.ParityError, match="int8_boxes: median score"):
        check(Finds(0.9, landmarks=0.0), Finds(0.4), "int8_boxes")


def test_a_file_that_finds_nothing_is_told_for_what_it_is():
    with pytest.raises(parity.ParityError, match="int8: 3 of 3 boxes have no counterpart") as raised:
        check(Finds(0.9, landmarks=0.0), Finds(None, landmarks=0.0))
    assert "no landmarks" not in str(raised.value)


def test_what_rounding_moved_is_told_apart_from_a_file_that_computes_something_else():
    """Of a float checkpoint the simulation may move boxes where AP stays; the file may move them about as far, no further."""
    truth = protocol.GroundTruth(np.asarray([[10.0, 10, 40, 40]]), np.ones((1, 3), bool))
    pictures = [scoring.Picture(f"e/{number}.jpg", np.zeros((64, 64, 3), np.uint8), truth) for number in range(3)]
    references = {parity.CALIBRATED: "checkpoint", "int8": parity.CALIBRATED}

    def compare(simulation, file):
        checkpoint = Finds(0.9, landmarks=simulation.landmarks and 0.0)
        rows = parity.compare(scoring.score({"checkpoint": checkpoint, parity.CALIBRATED: simulation, "int8": file}, pictures), references)
        assert "calibrated: AP -0.02" in parity.limits_in_words(rows)
        parity.check(rows, {parity.CALIBRATED: "calibrated", "int8": "int8"})

    compare(Finds(0.9, shift=1.5), Finds(0.9, shift=1.5))  # IoU .86
    compare(Finds(0.9, shift=1.5), Finds(0.9, shift=-0.5))  # of the simulation .82, where .80 is allowed
    with pytest.raises(parity.ParityError, match=r"int8: median IoU of matched boxes 0\.7.* \(limit 0\.80"):
        compare(Finds(0.9, shift=1.5), Finds(0.9, shift=-1.5))
    compare(Finds(0.9, landmarks=2.0), Finds(0.9, landmarks=-0.5))  # .05 of the face, and .0625 from the simulation where .0707 is allowed
    with pytest.raises(parity.ParityError, match=r"int8: median landmark distance 0\.0750 .* \(limit 0\.0707"):
        compare(Finds(0.9, landmarks=2.0), Finds(0.9, landmarks=-1.0))
    with pytest.raises(parity.ParityError, match=r"int8: median IoU of matched boxes 0\.8"):
        compare(Finds(0.9, shift=0.0), Finds(0.9, shift=1.5))
    with pytest.raises(parity.ParityError, match="checkpoint as int8: median IoU"):
        compare(Finds(0.9, shift=4.0), Finds(0.9, shift=4.0))
    with pytest.raises(parity.ParityError, match="checkpoint as int8: Easy AP|checkpoint as int8: easy AP"):
        compare(Finds(None), Finds(None))
