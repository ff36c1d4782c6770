"""Recall on pictures turned in the plane: a phone is not always held upright, nor is a head."""

import numpy as np
from PIL import Image

from facedet.evaluation import protocol
from facedet.evaluation.protocol import Detections, GroundTruth

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


def recall(detector, pictures, score_threshold: float, degrees=DEGREES) -> dict[str, dict[float, float]]:
    """{subset: {degrees: share of its faces that a detection of at least `score_threshold` overlaps by IoU 0.5}}.

    detector: has detect(image).  pictures: iterable of (image, GroundTruth).
    """
    faces = np.zeros(len(protocol.SUBSETS))
    found = np.zeros((len(degrees), len(protocol.SUBSETS)))
    for image, truth in pictures:
        faces += truth.member.sum(0)
        for row, angle in enumerate(degrees):
            turned, boxes = rotate(image, truth.boxes_xywh_px, angle)
            detected = detector.detect(turned)
            keep = detected.scores >= score_threshold
            hit = protocol.covered(Detections(detected.boxes[keep], detected.scores[keep]), GroundTruth(boxes, truth.member))
            found[row] += (truth.member & hit[:, None]).sum(0)
    return {
        subset: {angle: float(found[row, i] / max(faces[i], 1)) for row, angle in enumerate(degrees)}
        for i, subset in enumerate(protocol.SUBSETS)
    }
