"""Pictures of one's own with boxes in one of the usual formats, as a Source: formats/ has a file for each."""

import collections
import dataclasses
import io
import os
import pathlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from facedet.data import jpeg, official_files
from facedet.data.formats import annotated, coco, csv_table, voc, yolo
from facedet.data.official_files import WiderFaceError
from facedet.data.source import NUM_LANDMARKS, FaceImage, RotatedPictureError
from facedet.errors import DetectorError
from facedet.runtime.pictures import read_picture

FORMATS = {"voc": voc, "coco": coco, "yolo": yolo, "csv": csv_table}
JPEG_QUALITY = 95  # of pictures that are written anew
_MIRRORED = [1, 0, 2, 4, 3]  # the points of a face, left and right exchanged
_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class Entry:
    """A picture with those of its faces that are taken.

    with_points: the set has landmarks.  exchanged: its left and right are the person's, not the picture's.
    """

    picture: annotated.Picture
    with_points: bool
    exchanged: bool
    event = ""  # the pictures are one group

    @property
    def name(self) -> str:
        return self.picture.name

    @property
    def where(self) -> str:
        return self.picture.where

    @property
    def rows(self) -> tuple:
        return self.picture.faces

    @property
    def count(self) -> int:
        return len(self.picture.faces) + len(self.picture.problems)

    def parse(self) -> FaceImage:
        picture, faces = self.picture, self.picture.faces
        points = None
        if self.with_points:
            absent = (np.nan,) * (2 * NUM_LANDMARKS)
            points = np.asarray([face.points_xy or absent for face in faces], np.float32).reshape(-1, NUM_LANDMARKS, 2)
            points = points[:, _MIRRORED] if self.exchanged else points
        return FaceImage(
            name=picture.name,
            where=picture.where,
            boxes_xywh_px=np.asarray([face.box_xywh for face in faces], np.float64).reshape(-1, 4),
            ignored=np.asarray([face.ignored for face in faces], bool),
            attributes=np.zeros((len(faces), 0), np.int64),
            landmarks_xy_px=points,
            problems=picture.problems,
            places=tuple(face.where for face in faces),
            fractions=picture.fractions,
            size=picture.size,
        )


class OwnPictures:
    """Pictures below `images_dir` with the annotation `annotations`, a folder or a file of FORMATS[format].

    class_names: the classes that are faces; by default 'face', or the only one that there is.  upright: the boxes were drawn on the
    pictures as their EXIF orientation turns them.  Raises WiderFaceError.
    notes: what annotation() found worth saying.
    """

    attributes = ()

    def __init__(
        self, format: str, images_dir: str | os.PathLike, annotations: str | os.PathLike, class_names=(), split="train", upright=False
    ):
        self.split, self.images_dir = split, pathlib.Path(images_dir)
        self._format, self._annotations = format, pathlib.Path(annotations)
        self._class_names, self._upright = tuple(class_names), upright
        self._folder = annotated.Folder(images_dir)
        self.notes: list[str] = []

    @property
    def images_source(self) -> str:
        return str(self.images_dir)

    def annotation(self) -> list[Entry]:
        """Every annotated picture. WiderFaceError names file and line or key of what cannot be followed, and a set without a usable face."""
        self.notes.clear()
        pictures = FORMATS[self._format].read(self._annotations, self._folder)
        taken = self._classes(pictures)
        kept = [dataclasses.replace(picture, faces=tuple(face for face in picture.faces if face.label in taken)) for picture in pictures]
        faces = [face for picture in kept for face in picture.faces]
        if not faces:
            problems = [problem for picture in kept for problem in picture.problems]
            why = f"none of its {len(problems):,} boxes can be used. The first, {problems[0]}" if problems else "it has no box"
            raise WiderFaceError(f"{self._annotations}: {why}.")
        self._note_unlabelled({picture.name for picture in kept})
        points = [face.points_xy for face in faces if face.points_xy]
        exchanged = bool(points) and float(np.median([face[2] - face[0] for face in points])) < 0
        if exchanged:
            self.notes.append("Landmarks: left and right are the person's; they are exchanged, for records go by the picture's.")
        return [Entry(picture, bool(points), exchanged) for picture in kept]

    def _classes(self, pictures) -> set[str]:
        """The labels that are faces."""
        first: dict[str, str] = {}
        counts: collections.Counter = collections.Counter()
        for face in (face for picture in pictures for face in picture.faces):
            counts[face.label] += 1
            first.setdefault(face.label, face.where)

        def told(labels) -> str:
            return ", ".join(f"{label!r} {counts[label]:,} (first in {first[label]})" for label in sorted(labels)[:20])

        if self._class_names:
            taken = set(self._class_names) & set(counts)
        else:
            taken = {label for label in counts if label.lower() == annotated.FACE} or (set(counts) if len(counts) == 1 else set())
        if counts and not taken:
            asked = f"No box is of class {' or '.join(map(repr, self._class_names or (annotated.FACE,)))}"
            raise WiderFaceError(f"{self._annotations}: {asked}; there are {told(counts)}. Name those that are faces: --class_name NAME.")
        if taken - {annotated.FACE}:
            self.notes.append(f"Taken as faces: boxes of class {', '.join(map(repr, sorted(taken)))}.")
        if set(counts) - taken:
            self.notes.append(f"Left out, as boxes of other classes: {told(set(counts) - taken)}.")
        return taken

    def _note_unlabelled(self, named: set[str]) -> None:
        absent = sorted(set(self._folder.sizes) - named)
        if absent:
            self.notes.append(
                f"Left out, as pictures without annotation: {len(absent):,}, the first is {absent[0]}. "
                f"A picture without a face is learned from too: it wants {FORMATS[self._format].WITHOUT_A_FACE}."
            )

    def sizes(self) -> dict[str, int]:
        """{name: bytes} of the pictures that are there."""
        return self._folder.sizes

    def read(self, name: str) -> bytes:
        """A picture as a JPEG: as it is where it is one, else of quality 95 with its colours at full resolution.

        Raises as official_files.read_picture(), jpeg.read_info() and RotatedPictureError; OSError where it cannot be decoded.
        """
        path = self.images_dir / name
        encoded = official_files.read_picture(str(path))
        is_jpeg = encoded[:3] == b"\xff\xd8\xff"
        orientation = jpeg.read_info(encoded).orientation if is_jpeg else _orientation(encoded)
        if orientation != 1 and not self._upright:
            raise RotatedPictureError(
                f"has EXIF orientation {orientation}: say --upright where boxes were drawn on the picture as it is shown, "
                "as most tools do; else save it without the tag"
            )
        if is_jpeg and orientation == 1:
            return encoded
        try:
            picture = read_picture(path)
        except DetectorError as error:
            raise OSError(str(error)) from error
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return stream.getvalue()


def _orientation(encoded: bytes) -> int:
    """The EXIF orientation of a picture that is no JPEG; 1 where it has none. jpeg.NotJpegError where it is no picture, OSError for damage."""
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            return picture.getexif().get(_ORIENTATION, 1)
    except UnidentifiedImageError as error:
        raise jpeg.NotJpegError(f"no picture but {jpeg.looks_like(encoded)}") from error
    except Exception as error:  # a damaged file leads Pillow to errors of every type
        raise OSError(f"it cannot be decoded ({error or type(error).__name__})") from error
