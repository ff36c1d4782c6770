"""Faces: what was found in a picture, and what is done with it. numpy and Pillow only."""

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from facedet.errors import DetectorError
from facedet.runtime import drawing
from facedet.runtime import landmarks as points_of

# Eye, eye, nose, mouth corner, mouth corner of an upright face in 112x112, x, y of pixels' centres: what recognition networks of ArcFace's kind are
# trained on (Deng et al., "ArcFace", CVPR 2019; InsightFace's arcface_dst).
TEMPLATE_112 = np.asarray([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
_BLUR_CELLS, _BLUR_MARGIN = 4, 0.15  # so few colours each way, so far around; the same in web/drawing.js


class Face(NamedTuple):
    """box: float32 [4], xmin, ymin, xmax, ymax in pixels.  score: 0..1.  landmarks: float32 [P, 2], x, y in pixels, or None."""

    box: np.ndarray
    score: float
    landmarks: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Faces:
    """What was found, best first; iterable, each a Face.

    boxes: float32 [N, 4], xmin, ymin, xmax, ymax in pixels of the picture.  scores: float32 [N].
    landmarks: float32 [N, P, 2], x, y in pixels, the left of the picture first: of five, eye, eye, nose, mouth corner, mouth corner; of six,
    MediaPipe's, eye, eye, nose tip, mouth centre, ear, ear. A point may lie outside of the picture. None where the detector has none.
    picture: RGB uint8 [H, W, 3] that they were found in; it lives as long as they do. Methods that need it raise DetectorError without.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray | None = None
    picture: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int) -> Face:
        return Face(self.boxes[index], float(self.scores[index]), None if self.landmarks is None else self.landmarks[index])

    def __iter__(self) -> Iterator[Face]:
        return map(self.__getitem__, range(len(self)))

    def draw(self) -> Image.Image:
        """The picture with boxes, scores and landmarks."""
        return Image.fromarray(drawing.draw_boxes(self._picture(), self.boxes, scores=self.scores, landmarks=self.landmarks))

    def save(self, path: str | os.PathLike) -> None:
        """Writes draw() to a file, whose suffix says the kind. Raises DetectorError where that cannot be."""
        try:
            self.draw().save(path)
        except (OSError, ValueError) as error:
            raise DetectorError(f"{path} cannot be written: {error}") from error

    def crop(self, margin: float = 0.2) -> list[Image.Image]:
        """Each face with `margin` of its width and height on each side, as far as the picture goes."""
        picture = Image.fromarray(self._picture())
        return [picture.crop(self._around(box, margin)) for box in self.boxes]

    def blur(self, margin: float = _BLUR_MARGIN) -> Image.Image:
        """The picture with its faces beyond recognition.

        Each, with `margin` of its width and height on each side, is thrown down to a few colours, so that nothing can be won back.
        That there was a face can still be told: detectors find some of the blurs.
        """
        picture = Image.fromarray(self._picture())
        for box in self.boxes:
            left, top, right, bottom = around = self._around(box, margin)
            few = picture.crop(around).resize((_BLUR_CELLS, _BLUR_CELLS), Image.Resampling.BOX)
            picture.paste(few.resize((right - left, bottom - top), Image.Resampling.BILINEAR), (left, top))
        return picture

    def align(self, size: int = 112) -> np.ndarray:
        """uint8 [N, size, size, 3]: each face turned, scaled and moved so that its landmarks lie best on ArcFace's template.

        The least-squares similarity: no face is mirrored or bent. Raises DetectorError without landmarks.
        """
        if self.landmarks is None:
            raise DetectorError("align() needs landmarks, and this detector gives none: take a file of a detector that does.")
        if not isinstance(size, int) or not 1 <= size <= 4096:
            raise DetectorError(f"size: {size}; a whole number from 1 to 4096 is expected.")
        picture = Image.fromarray(self._picture())
        count = self.landmarks.shape[1]
        template = np.asarray(points_of.expected(TEMPLATE_112 + 0.5, count)) * size / 112  # our pixels are counted from their corners
        faces = [_warped(picture, points[: len(template)], template, size) for points in self.landmarks.astype(float)]
        return np.stack(faces) if faces else np.zeros((0, size, size, 3), np.uint8)

    def as_dict(self) -> dict:
        """boxes_xyxy_px, scores, landmarks_xy_px (None where there are none) as lists, rounded to what they are worth."""
        return {
            "boxes_xyxy_px": np.round(self.boxes.astype(float), 2).tolist(),
            "scores": np.round(self.scores.astype(float), 4).tolist(),
            "landmarks_xy_px": None if self.landmarks is None else np.round(self.landmarks.astype(float), 2).tolist(),
        }

    def to_json(self) -> str:
        """as_dict(), with the picture's width and height where it is known."""
        size = {} if self.picture is None else {"width": self.picture.shape[1], "height": self.picture.shape[0]}
        return json.dumps({**size, **self.as_dict()})

    def _picture(self) -> np.ndarray:
        if self.picture is None:
            raise DetectorError("these faces hold no picture: detect() gives those that do.")
        return self.picture

    def _around(self, box: np.ndarray, margin: float) -> tuple[int, int, int, int]:
        """left, top, right, bottom in whole pixels, inside of the picture, at least one pixel."""
        height, width = self._picture().shape[:2]
        left, top, right, bottom = map(float, box)
        dx, dy = margin * (right - left), margin * (bottom - top)
        x, y = (min(max(0, int(v)), most - 1) for v, most in ((left - dx, width), (top - dy, height)))
        return x, y, max(x + 1, min(width, int(np.ceil(right + dx)))), max(y + 1, min(height, int(np.ceil(bottom + dy))))


def _warped(picture: Image.Image, points: np.ndarray, template: np.ndarray, size: int) -> np.ndarray:
    """Points as complex numbers: the similarity from the template to the picture is z -> turn * z + shift."""
    here, there = (values[:, 0] + 1j * values[:, 1] for values in (template, points))
    centered = here - here.mean()
    turn = (centered.conj() * (there - there.mean())).sum() / (abs(centered) ** 2).sum()
    shift = there.mean() - turn * here.mean()
    finer = int(min(max(1, round(abs(turn))), 8))  # a large face is sampled finely and averaged
    step = turn / finer
    matrix = (step.real, -step.imag, shift.real, step.imag, step.real, shift.imag)
    warped = picture.transform((size * finer,) * 2, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(warped.reduce(finer) if finer > 1 else warped)
