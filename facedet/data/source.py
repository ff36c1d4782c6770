"""What a data set has to give to be converted: conversion.convert_sources() takes any Source, and one more set is one more file.

A Source stands for one split. annotation() lists its pictures as Entries, which are cheap; Entry.parse() reads the faces of one, in
the process that writes its shard, into a FaceImage.
"""

import dataclasses
import pathlib
from typing import Protocol

import numpy as np

NUM_LANDMARKS = 5  # eyes, nose, mouth corners; the first of each pair is at image-left
MOST_PX = 65535  # the greatest side of a JPEG: beyond it, to either side, no coordinate means anything


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that could not be used as it is: where, in words, and how many faces go with it."""

    where: str
    reason: str
    message: str
    faces: int = 0

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclasses.dataclass(frozen=True)
class FaceImage:
    """One picture's annotation, of N faces.

    name: of the picture, below its folder, with slashes.  where: 'file:line' of the annotation.
    boxes_xywh_px: float64 [N, 4] as annotated.  ignored: bool [N], neither to learn nor background.
    attributes: int64 [N, A] in the order of the source's attributes.
    landmarks_xy_px: float32 [N, 5, 2], NaN where absent; None where the source knows none.
    problems: faces of this picture that could not be read.  places: where each face stands, for messages; None: not worth naming.
    fractions: boxes and landmarks are in fractions of the picture, until in_px() is asked.
    size: (width, height) in px as the annotation says it, None where it does not.
    """

    name: str
    where: str
    boxes_xywh_px: np.ndarray
    ignored: np.ndarray
    attributes: np.ndarray
    landmarks_xy_px: np.ndarray | None = None
    problems: tuple[Problem, ...] = ()
    places: tuple[str, ...] | None = None
    fractions: bool = False
    size: tuple[int, int] | None = None

    def in_px(self, width: int, height: int) -> "FaceImage":
        """The same with boxes and landmarks in pixels of a picture of that size."""
        if not self.fractions:
            return self
        side = np.asarray((width, height), np.float64)
        points = None if self.landmarks_xy_px is None else (self.landmarks_xy_px * side).astype(np.float32)
        return dataclasses.replace(self, boxes_xywh_px=self.boxes_xywh_px * np.tile(side, 2), landmarks_xy_px=points, fractions=False)


class RotatedPictureError(ValueError):
    """A picture whose EXIF orientation makes it unclear what its boxes refer to: the message says the way out."""


class Entry(Protocol):
    """One picture of an annotation, not yet read.

    name: of the picture, a key of the source's sizes().  where: 'file:line'.  count: faces stated.
    event: pictures of one event are held out in proportion.  rows: what is kept of each face; their number is the size of a record.
    """

    name: str
    where: str
    count: int
    event: str
    rows: tuple

    def parse(self) -> FaceImage: ...


class Source(Protocol):
    """One split of a data set. It is pickled: files are opened where they are read.

    split: 'train' or 'val'.  attributes: names of those of a face that its records keep.  images_dir: where the pictures are.
    images_source: the same in words, for messages.
    """

    split: str
    attributes: tuple[str, ...]
    images_dir: pathlib.Path
    images_source: str

    def annotation(self) -> list[Entry]:
        """Every picture that is annotated. WiderFaceError where it cannot be read."""
        ...

    def sizes(self) -> dict[str, int]:
        """{name: bytes} of the pictures that are there."""
        ...

    def read(self, name: str) -> bytes:
        """A picture as a JPEG. Raises FileNotFoundError where it is absent, another OSError where it cannot be read as one,
        RotatedPictureError, and what jpeg.read_info() raises."""
        ...
