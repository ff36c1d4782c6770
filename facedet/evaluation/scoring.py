"""The one loop that runs detectors over pictures with known faces; every figure is computed from what it returns."""

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from facedet.data.records import Labels
from facedet.data.widerface import SUBSETS
from facedet.evaluation import protocol
from facedet.evaluation.protocol import Detections, GroundTruth

BATCH = 16  # pictures that detect_batch() gets at once
ALL_FACES = "all"  # the one subset of pictures without the official lists


@dataclasses.dataclass(frozen=True)
class Picture:
    """image: RGB uint8 [H, W, 3].  truth: what the protocol scores against.  labels: of its record, None of a picture from a folder."""

    name: str
    image: np.ndarray
    truth: GroundTruth
    labels: Labels | None = None


@dataclasses.dataclass
class Scores:
    """What detectors found on the same pictures.

    detections: {detector: {picture: Detections}}.  truth, labels, sizes: {picture: GroundTruth, Labels or None, (height, width) in px}.
    official: whether Easy, Medium and Hard are known of any picture.  kept: the first pictures themselves.
    """

    detections: dict[str, dict[str, Detections]]
    truth: dict[str, GroundTruth] = dataclasses.field(default_factory=dict)
    labels: dict[str, Labels | None] = dataclasses.field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    official: bool = False
    kept: list[Picture] = dataclasses.field(default_factory=list)

    def results(self, detector: str) -> dict[str, protocol.Result]:
        """{subset: Result}; without the official lists {'all': Result} of the faces that are not ignored."""
        found = protocol.evaluate(self.detections[detector], self.truth)
        return found if self.official else {ALL_FACES: found[SUBSETS[-1]]}

    def average_precision(self, detector: str) -> dict[str, float]:
        """{subset: average precision} of results()."""
        return {subset: result.average_precision for subset, result in self.results(detector).items()}

    def recall_by_height(self, detector: str) -> list[dict]:
        """The rows of protocol.recall_by_height."""
        return protocol.recall_by_height(self.detections[detector], self.truth)


def score(detectors: dict, pictures: Iterable[Picture], total: int | None = None, description: str = "evaluate", keep: int = 0) -> Scores:
    """Runs every detector on every picture, once, in the pictures' order.

    detectors: {name: anything with detect(image) -> Faces}; one that has detect_batch(images) -> [Faces] gets BATCH pictures at once.
    total: the number of pictures, for the progress.  keep: so many pictures are kept whole.
    """
    scores = Scores({name: {} for name in detectors})
    size = BATCH if any(hasattr(detector, "detect_batch") for detector in detectors.values()) else 1
    pictures = iter(pictures)
    with tqdm(total=total, desc=description, unit="img", leave=False) as progress:
        while batch := list(itertools.islice(pictures, size)):
            images = [picture.image for picture in batch]
            for name, detector in detectors.items():
                found = detector.detect_batch(images) if hasattr(detector, "detect_batch") else map(detector.detect, images)
                for picture, faces in zip(batch, found, strict=True):
                    scores.detections[name][picture.name] = Detections(faces.boxes, faces.scores, faces.landmarks)
            for picture in batch:
                scores.truth[picture.name], scores.labels[picture.name] = picture.truth, picture.labels
                scores.sizes[picture.name] = picture.image.shape[:2]
                scores.official |= picture.labels is None or picture.labels.eval_subsets is not None
            scores.kept += batch[: max(0, keep - len(scores.kept))]
            progress.update(len(batch))
    return scores
