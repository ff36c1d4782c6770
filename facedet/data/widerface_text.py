"""WIDER FACE's texts: the official list of pictures and faces, and RetinaFace's landmarks of the same faces."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from facedet.data.official_files import MOST_LANDMARK_BYTES, WiderFaceError, read_file, text
from facedet.data.source import MOST_PX, NUM_LANDMARKS, FaceImage, Problem

ATTRIBUTES = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")  # the order of the annotation's columns
ROW_OF_ZEROS = "row_of_zeros"  # the reason of the one Problem that is no fault but a way to write "no face"
_INVALID = ATTRIBUTES.index("invalid")
_COLUMNS = 4 + len(ATTRIBUTES)
_MOST_ATTRIBUTES = (2, 1, 1, 1, 2, 1)  # each counts from 0
_COUNT = re.compile("[0-9]{1,6}")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One picture's lines of an annotation file: its rows are read by parse(), which is most of the work.

    where: 'file:line'.  count: faces stated.  rows: (line number, text) each.
    """

    name: str
    path: str
    line: int
    count: int
    rows: tuple[tuple[int, str], ...]

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"

    @property
    def event(self) -> str:
        return self.name.split("/")[0]

    def parse(self) -> FaceImage:
        table = _regular_table(self.rows) if self.count == len(self.rows) > 1 else None
        problems: list[Problem] = []
        if table is None:
            table, problems = _table_row_by_row(self)
        attributes = table[:, 4:].astype(np.int64)
        ignored = attributes[:, _INVALID] == 1
        return FaceImage(self.name, self.where, table[:, :4], ignored, attributes, None, tuple(problems))


def split_annotation(annotation: str, path: str) -> Iterator[Entry]:
    """Reads a wider_face_*_bbx_gt.txt: name, count, then one row a face, which Entry.parse() reads.

    A picture without a face has count 0 followed by one row of zeros, or (older files) count 1 and a row of zeros.
    Blank lines, CRLF and decimals are taken. A row that cannot be used becomes a Problem of its picture. A picture listed
    twice is yielded twice: the converter takes the first and names both. A file whose names and counts cannot be followed
    raises WiderFaceError.
    """
    stripped = map(str.strip, annotation.splitlines())
    lines = [(number, line) for number, line in enumerate(stripped, 1) if line]
    at = 0
    while at < len(lines):
        number, name = lines[at]
        if not _is_name(name):
            raise WiderFaceError(f"{path}:{number}: expected '<event>/<picture>.jpg', got {_quoted(name)}. Is this the official file?")
        if at + 1 >= len(lines) or not _COUNT.fullmatch(lines[at + 1][1]):
            got = _quoted(lines[at + 1][1]) if at + 1 < len(lines) else "the end of the file"
            raise WiderFaceError(f"{path}:{number + 1}: expected the number of faces of {name}, got {got}.")
        count = int(lines[at + 1][1])
        end = at + 2
        while end < len(lines) and not _is_name(lines[end][1]):
            end += 1
        yield Entry(name, path, number, count, tuple(lines[at + 2 : end]))
        at = end


def _is_name(line: str) -> bool:
    return "/" in line or line.endswith((".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG"))


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "...")


def _in_range(table: np.ndarray) -> np.ndarray:
    """bool [N] of rows [N, 10]: coordinates that a picture can have, attributes that are defined."""
    attributes = table[:, 4:]
    known = (attributes >= 0) & (attributes <= _MOST_ATTRIBUTES) & (attributes == np.floor(attributes))
    return (np.abs(table[:, :4]) <= MOST_PX).all(1) & known.all(1)


def _regular_table(rows) -> np.ndarray | None:
    """The rows of nearly every picture, all at once: [N, 10]; None where any of them wants a closer look."""
    if any(row.count(" ") != _COLUMNS - 1 for _, row in rows):
        return None
    try:
        table = np.array(list(map(float, " ".join([row for _, row in rows]).split(" ")))).reshape(-1, _COLUMNS)
    except ValueError:
        return None
    return table if _in_range(table).all() else None


def _table_row_by_row(entry: Entry) -> tuple[np.ndarray, list[Problem]]:
    """The rows that can be read, [N, 10], and what is wrong with the others."""
    name, path, count, rows = entry.name, entry.path, entry.count, entry.rows
    values, problems = [], []
    for number, row in rows:
        try:
            numbers = [float(part) for part in row.split()]
        except ValueError:
            problems.append(Problem(f"{path}:{number}", "row_malformed", f"not numbers: {_quoted(row)} ({name})", 1))
            continue
        if not any(numbers) and count <= 1:  # the row of zeros that stands for a picture without a face
            if count == 1:
                problems.append(Problem(f"{path}:{number}", ROW_OF_ZEROS, f"stands for a picture without a face ({name})", 1))
        elif len(numbers) < _COLUMNS:
            message = f"{len(numbers)} numbers where a face has {_COLUMNS}: {_quoted(row)} ({name})"
            problems.append(Problem(f"{path}:{number}", "row_malformed", message, 1))
        elif not np.isfinite(numbers).all():
            problems.append(Problem(f"{path}:{number}", "row_malformed", f"not finite: {_quoted(row)} ({name})", 1))
        elif not _in_range(np.asarray([numbers[:_COLUMNS]])).all():
            message = f"coordinates beyond {MOST_PX:,} px or attributes other than {ATTRIBUTES} up to {_MOST_ATTRIBUTES}: "
            problems.append(Problem(f"{path}:{number}", "row_out_of_range", f"{message}{_quoted(row)} ({name})", 1))
        else:
            values.append(numbers[:_COLUMNS])
    missing = count - len(values) - sum(problem.faces for problem in problems)
    if missing:
        text = f"{count} faces stated, {count - missing} rows found ({name})"
        problems.append(Problem(entry.where, "row_malformed", text, max(missing, 0)))
    return np.asarray(values, np.float64).reshape(-1, _COLUMNS), problems


def load_landmarks(path: str | os.PathLike) -> dict[str, dict[tuple, np.ndarray]]:
    """parse_landmarks() of a file. Raises WiderFaceError where it is none."""
    return parse_landmarks(text(read_file(pathlib.Path(path), MOST_LANDMARK_BYTES), str(path)), str(path))


def parse_landmarks(text: str, path: str) -> dict[str, dict[tuple, np.ndarray]]:
    """Reads a RetinaFace label file: '# name', then rows of x y w h, five times x y flag, and a score.

    Returns {name: {(x, y, w, h): float32 [5, 2]}}, NaN where the points are absent (written as -1).
    """
    landmarks: dict[str, dict[tuple, np.ndarray]] = {}
    faces = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            faces = landmarks.setdefault(line[1:].strip(), {})
            continue
        parts = line.split()
        if not parts:
            continue
        try:
            values = np.asarray(parts[: 4 + 3 * NUM_LANDMARKS], np.float64)
        except ValueError:
            values = np.zeros(0)
        if faces is None or len(values) < 4 + 3 * NUM_LANDMARKS or not (np.abs(values) <= MOST_PX).all():
            wanted = f"'# name' or {4 + 3 * NUM_LANDMARKS} numbers up to {MOST_PX:,}"
            raise WiderFaceError(f"{path}:{number}: expected {wanted}, got {_quoted(line)}. Is this a RetinaFace label.txt?")
        points = values[4:].reshape(NUM_LANDMARKS, 3)[:, :2].astype(np.float32)
        if (points == -1).all():
            points = np.full_like(points, np.nan)
        faces[tuple(values[:4])] = points
    return landmarks


def with_landmarks(image: FaceImage, landmarks: dict[str, dict[tuple, np.ndarray]]) -> FaceImage:
    """The same picture with the points of those faces whose box stands in the landmark file to the digit."""
    points = np.full((len(image.boxes_xywh_px), NUM_LANDMARKS, 2), np.nan, np.float32)
    known = landmarks.get(image.name, {})
    for i, box in enumerate(image.boxes_xywh_px):
        if tuple(box) in known:
            points[i] = known[tuple(box)]
    return dataclasses.replace(image, landmarks_xy_px=points)
