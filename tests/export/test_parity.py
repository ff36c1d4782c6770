"""The parity gate: what it must not let through, without a network."""

import numpy as np
import pytest

from facedet.evaluation import protocol
from facedet.export import parity
from facedet.runtime.detector import Faces


class Finds:
    """A detector of one face with this score in every picture; of none without a score."""

    def __init__(self, score: float | None, shift: float = 0.0):
        self._score, self._shift = score, shift

    def detect(self, image) -> Faces:
        count = 0 if self._score is None else 1
        boxes = np.asarray([[10, 10, 50, 50]], np.float32)[:count] + self._shift
        return Faces(boxes, np.full(count, self._score or 0, np.float32))


def check(checkpoint, file, pictures: int = 3) -> None:
    names = [f"e/{number}.jpg" for number in range(pictures)]
    truth = {name: protocol.GroundTruth(np.asarray([[10.0, 10, 40, 40]]), np.ones((1, 3), bool)) for name in names}
    image = np.zeros((64, 64, 3), np.uint8)
    rows = parity.compare({"checkpoint": checkpoint, "int8": file}, {"int8": "checkpoint"}, [(name, image) for name in names], truth)
    parity.check(rows, {"int8": "int8"})


def test_a_file_that_finds_the_same_passes():
    check(Finds(0.9), Finds(0.9))


@pytest.mark.parametrize(
    "checkpoint, file",
    [
        (Finds(None), Finds(None)),  # nothing was compared
        (Finds(0.2), Finds(0.2)),  # nor here: no box is sure enough
        (Finds(None), Finds(0.9)),
    ],
)
def test_a_checkpoint_that_finds_nothing_fails(checkpoint, file):
    with pytest.raises(parity.ParityError, match=r"int8: checkpoint finds no face with a score of 0\.3"):
        check(checkpoint, file)


@pytest.mark.parametrize("file", [Finds(None), Finds(0.4), Finds(0.9, shift=12), Finds(0.9, shift=40)])
def test_another_file_fails(file):
    with pytest.raises(parity.ParityError):
        check(Finds(0.9), file)
