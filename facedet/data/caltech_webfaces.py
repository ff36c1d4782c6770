"""Caltech 10,000 Web Faces (Angelova et al. 2005): a text of four points a face, and pictures in one folder, here as one split, train.

    WebFaces_GroundThruth.txt    a face a line: picture, left eye x y, right eye x y, nose x y, mouth x y, in px
    img/<picture>.jpg            or Caltech_WebFaces/, or beside the text

A box is derived from the points by derive_boxes(). The points themselves are not written: a record has five of a face or none, and
the one of the mouth is neither of its corners.
"""

import dataclasses
import os
import pathlib
import re

import numpy as np

from facedet.data.official_files import WiderFaceError, read_file, read_picture, text
from facedet.data.source import MOST_PX, FaceImage, Problem

ANNOTATION = "WebFaces_GroundThruth.txt"  # as it is spelled
FOLDERS = ("img", "Caltech_WebFaces", ".")
_NUM_POINTS = 4
_PICTURE = re.compile(r"[^/\\]+\.jpe?g", re.IGNORECASE)
_WIDTH, _HEIGHT = 1.5, 2.0  # of a box, in diagonals of its points


def derive_boxes(points_xy_px: np.ndarray) -> np.ndarray:
    """[N, 4, 2] eye, eye, nose, mouth -> boxes_xywh_px [N, 4], as WIDER FACE's annotators draw them, forehead and chin included.

    In diagonals of the points' upright bounding box, 1.5 wide and 2 high; around the mean of eyes and mouth, moved sideways as far
    from the nose as that is beside the mean, for the more a head is turned, the more of it lies behind the nose. Fitted to the 25,532
    faces of 40 px and more of WIDER FACE's train pictures that have five points: mean IoU .77 with the annotated boxes, .5 or more for
    97 % of them. (.61 and 81 % with a square of twice the longer side around the bounding box, as it is done elsewhere.)
    """
    diagonal = np.linalg.norm(np.ptp(points_xy_px, 1), axis=1)[:, None]
    center = points_xy_px[:, [0, 1, 3]].mean(1)
    center[:, 0] -= points_xy_px[:, 2, 0] - center[:, 0]
    sides = diagonal * (_WIDTH, _HEIGHT)
    return np.concatenate([center - sides / 2, sides], 1)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One picture's lines, which parse() reads. rows: (line number, text after the name) each."""

    name: str
    path: str
    rows: tuple[tuple[int, str], ...]
    event = ""  # the pictures are one group

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def where(self) -> str:
        """'file:line' of the first."""
        return f"{self.path}:{self.rows[0][0]}"

    def parse(self) -> FaceImage:
        """A line that is no face becomes a Problem."""
        points, problems = [], []
        for number, row in self.rows:
            try:
                values = np.asarray(row.split(), np.float64)
            except ValueError:
                values = np.zeros(0)
            if len(values) == 2 * _NUM_POINTS and (np.abs(values) <= MOST_PX).all():
                points.append(values.reshape(_NUM_POINTS, 2))
            else:
                message = f"{2 * _NUM_POINTS} numbers up to {MOST_PX:,} are wanted after {self.name}, got {row[:80]!r}"
                problems.append(Problem(f"{self.path}:{number}", "row_malformed", message, 1))
        annotated = derive_boxes(np.reshape(points, (-1, _NUM_POINTS, 2)))
        ignored, attributes = np.zeros(len(points), bool), np.zeros((len(points), 0), np.int64)
        return FaceImage(self.name, self.where, annotated, ignored, attributes, None, tuple(problems))


class CaltechWebFaces:
    """The set below `data_dir`, a Source. No attribute of a face is known.

    images_dir: where the pictures are, if in none of FOLDERS. Raises WiderFaceError.
    """

    split, attributes = "train", ()

    def __init__(self, data_dir: str | os.PathLike, images_dir: str | os.PathLike | None = None):
        self._annotation = pathlib.Path(data_dir) / ANNOTATION
        if not self._annotation.is_file():
            raise WiderFaceError(f"{self._annotation} does not exist: --data_dir has to hold Caltech 10,000 Web Faces' {ANNOTATION}.")
        folders = [pathlib.Path(images_dir)] if images_dir else [pathlib.Path(data_dir) / name for name in FOLDERS]
        self.images_dir = next((folder for folder in folders if folder.is_dir()), None)
        if self.images_dir is None:
            raise WiderFaceError(f"{folders[0]} is no folder: --images_dir has to hold the pictures.")

    @property
    def images_source(self) -> str:
        return str(self.images_dir)

    def annotation(self) -> list[Entry]:
        """Every picture of the text, in the order of their first lines. WiderFaceError names a line that begins with no picture."""
        path, rows = str(self._annotation), {}
        for number, line in enumerate(text(read_file(self._annotation), path).splitlines(), 1):
            if not line.strip():
                continue
            name, *rest = line.split(maxsplit=1)
            if not _PICTURE.fullmatch(name):
                wanted = f"'<picture>.jpg' and {2 * _NUM_POINTS} numbers"
                raise WiderFaceError(f"{path}:{number}: expected {wanted}, got {line[:80]!r}. Is this {ANNOTATION}?")
            rows.setdefault(name, []).append((number, rest[0] if rest else ""))
        if not rows:
            raise WiderFaceError(f"{path} names no picture. Download it again.")
        return [Entry(name, path, tuple(faces)) for name, faces in rows.items()]

    def sizes(self) -> dict[str, int]:
        """{name: bytes} of the pictures that are there."""
        with os.scandir(self.images_dir) as files:
            return {file.name: file.stat().st_size for file in files if os.path.isfile(file.path)}

    def read(self, name: str) -> bytes:
        """The bytes of a picture. Raises as official_files.read_picture()."""
        return read_picture(f"{self.images_dir}/{name}")
