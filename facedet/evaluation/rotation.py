"""Recall on pictures turned in the plane: a phone is not always held upright, nor is a head."""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from facedet.evaluation import protocol, scoring
from facedet.evaluation.protocol import Detections, GroundTruth
from facedet.evaluation.scoring import Picture

DEGREES = (0, 30, 60, 90)


def rotate(image: np.ndarray, boxes_xywh_px: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """image: RGB uint8 [H, W, 3], boxes [N, 4] -> both turned counter-clockwise, on a canvas that holds all of the picture.

    A face is taken for the ellipse in its box; its new box is that around the turned ellipse.
    """
    turned = Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR, expand=True)
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    half = boxes_xywh_px[:, 2:] / 2
    offset = boxes_xywh_px[:, :2] + half - np.array([image.shape[1], image.shape[0]]) / 2
    center = offset @ np.array([[cos, -sin], [sin, cos]]) + np.array(turned.size) / 2
    half = np.sqrt(half**2 @ np.array([[cos**2, sin**2], [sin**2, cos**2]]))
    return np.asarray(turned), np.concatenate([center - half, 2 * half], 1)


def recall(
    detector, pictures: Iterable[Picture], score_threshold: float, degrees=DEGREES, total: int | None = None
) -> dict[str, dict[float, float]]:
    """{subset: {degrees: share of its faces that a detection of at least `score_threshold` overlaps by IoU 0.5}}.

    detector: has detect(image).  total: the number of pictures, for the progress.
    """
    angles = {}  # of the turned pictures, by name

    def turned():
        for picture in pictures:
            for angle in degrees:
                image, boxes = rotate(picture.image, picture.truth.boxes_xywh_px, angle)
                name = f"{picture.name} turned by {angle:g}"
                angles[name] = angle
                yield Picture(name, image, GroundTruth(boxes, picture.truth.member))

    scores = scoring.score({"turned": detector}, turned(), total and total * len(degrees), "rotation")
    faces = {angle: np.zeros(len(protocol.SUBSETS)) for angle in degrees}
    found = {angle: np.zeros(len(protocol.SUBSETS)) for angle in degrees}
    for name, truth in scores.truth.items():
        detected = scores.detections["turned"][name]
        keep = detected.scores >= score_threshold
        hit = protocol.covered(Detections(detected.boxes_xyxy_px[keep], detected.scores[keep]), truth)
        faces[angles[name]] += truth.member.sum(0)
        found[angles[name]] += (truth.member & hit[:, None]).sum(0)
    return {
        subset: {angle: float(found[angle][i] / max(faces[angle][i], 1)) for angle in degrees} for i, subset in enumerate(protocol.SUBSETS)
    }
