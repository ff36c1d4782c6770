"""WIDER FACE as it is downloaded: annotation text and pictures, from folders or from the official zips read in place.

Pure Python and numpy. The layout, below one directory:
    WIDER_train/images/<event>/<picture>.jpg     or  WIDER_train.zip
    WIDER_val/images/<event>/<picture>.jpg       or  WIDER_val.zip
    wider_face_split/wider_face_<split>_bbx_gt.txt  or  wider_face_split.zip
"""

import dataclasses
import os
import pathlib
import re
import zipfile
from collections.abc import Iterator

import numpy as np

from facedet.data import mat_file
from facedet.data.official_files import (
    MOST_IMAGE_BYTES,
    MOST_LANDMARK_BYTES,
    WiderFaceError,
    check_size,
    open_zip,
    read_file,
    read_member,
    read_picture,
    text,
)

ATTRIBUTES = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")  # the order of the annotation's columns
NUM_LANDMARKS = 5  # eyes, nose, mouth corners; the first of each pair is at image-left
ROW_OF_ZEROS = "row_of_zeros"  # the reason of the one Problem that is no fault but a way to write "no face"
_COLUMNS = 4 + len(ATTRIBUTES)
_MOST_PX = 65535  # the greatest side of a JPEG: beyond it, to either side, no coordinate means anything
_MOST_ATTRIBUTES = (2, 1, 1, 1, 2, 1)  # each counts from 0
_COUNT = re.compile("[0-9]{1,6}")


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
    """One picture's annotation.

    name: '<event>/<picture>.jpg'.  where: 'file:line' of the annotation.
    boxes_xywh_px: float64 [N, 4] as annotated.  attributes: int64 [N, 6] in the order of ATTRIBUTES.
    landmarks_xy_px: float32 [N, 5, 2], NaN where absent; None where no landmark file was read.
    problems: rows of this picture that could not be read.
    """

    name: str
    where: str
    boxes_xywh_px: np.ndarray
    attributes: np.ndarray
    landmarks_xy_px: np.ndarray | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def event(self) -> str:
        return self.name.split("/")[0]


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
        return FaceImage(self.name, self.where, table[:, :4], table[:, 4:].astype(np.int64), None, tuple(problems))


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
    return (np.abs(table[:, :4]) <= _MOST_PX).all(1) & known.all(1)


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
            message = f"coordinates beyond {_MOST_PX:,} px or attributes other than {ATTRIBUTES} up to {_MOST_ATTRIBUTES}: "
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
        if faces is None or len(values) < 4 + 3 * NUM_LANDMARKS or not (np.abs(values) <= _MOST_PX).all():
            wanted = f"'# name' or {4 + 3 * NUM_LANDMARKS} numbers up to {_MOST_PX:,}"
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


class WiderFace:
    """One split of WIDER FACE below `data_dir`, in folders or zips. Safe to pickle: zips are opened where they are read.

    attributes: names of those that its records keep.
    """

    attributes = ATTRIBUTES

    def __init__(self, data_dir: str | os.PathLike, split: str):
        self.data_dir, self.split = pathlib.Path(data_dir), split
        self.images_dir = self.data_dir / f"WIDER_{split}" / "images"
        self._zip_path = None if self.images_dir.is_dir() else self.data_dir / f"WIDER_{split}.zip"
        self._zip: zipfile.ZipFile | None = None
        if self._zip_path is not None and not self._zip_path.is_file():
            raise WiderFaceError(
                f"Neither {self.images_dir} nor {self._zip_path} exists: --data_dir has to hold WIDER FACE's official folders or zips."
            )

    def __getstate__(self):
        return {**self.__dict__, "_zip": None}

    @property
    def images_source(self) -> str:
        """Where the pictures come from, for messages."""
        return str(self._zip_path or self.images_dir)

    def annotation(self) -> list[Entry]:
        """Every picture of the official list, in its order."""
        name = f"wider_face_split/wider_face_{self.split}_bbx_gt.txt"
        path, zip_path = self.data_dir / name, self.data_dir / "wider_face_split.zip"
        if path.is_file():
            content, where = text(read_file(path), str(path)), str(path)
        elif zip_path.is_file():
            with open_zip(zip_path) as archive:
                if name not in archive.namelist():
                    raise WiderFaceError(f"{zip_path} holds no {name}: is it the official wider_face_split.zip?")
                where = f"{zip_path}/{name}"
                content = text(read_member(archive, name), where)
        else:
            raise WiderFaceError(f"Neither {path} nor {zip_path} exists: download 'Face annotations' from the WIDER FACE page.")
        return list(split_annotation(content, where))

    def sizes(self) -> dict[str, int]:
        """{name: bytes} of the pictures that are there."""
        if self._zip_path is not None:
            prefix = f"WIDER_{self.split}/images/"
            infos = self._archive().infolist()
            return {i.filename.removeprefix(prefix): i.file_size for i in infos if i.filename.startswith(prefix) and not i.is_dir()}
        found = {}
        with os.scandir(self.images_dir) as events:
            for event in events:
                if event.is_dir():
                    with os.scandir(event.path) as files:
                        found.update({f"{event.name}/{file.name}": file.stat().st_size for file in files if os.path.isfile(file.path)})
        return found

    def read(self, name: str) -> bytes:
        """The bytes of a picture.

        Raises FileNotFoundError where it is absent, another OSError where it is no file of a picture's size, and
        WiderFaceError where the zip is damaged.
        """
        if self._zip_path is None:
            return read_picture(f"{self.images_dir}/{name}")
        member = f"WIDER_{self.split}/images/{name}"
        try:
            check_size(self._archive().getinfo(member).file_size)
            return read_member(self._archive(), member, MOST_IMAGE_BYTES)
        except KeyError as error:
            raise FileNotFoundError(name) from error

    def _archive(self) -> zipfile.ZipFile:
        if self._zip is None:
            self._zip = open_zip(self._zip_path)
        return self._zip


SUBSETS = ("easy", "medium", "hard")
EVAL_LISTS = ("wider_face_val.mat", *(f"wider_{subset}_val.mat" for subset in SUBSETS))


_EVAL_TOOLS = "The lists are in eval_tools.zip (folder ground_truth) of the WIDER FACE page; name their folder with --eval_gt_dir."


def load_subsets(eval_gt_dir: str | os.PathLike) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The official evaluation lists, wider_face_val.mat and wider_{easy,medium,hard}_val.mat.

    Returns {'<event>/<picture>.jpg': (boxes_xywh_px float64 [M, 4], member bool [M, 3] in the order of SUBSETS)} in the
    order of the files. Raises WiderFaceError where one is missing or holds something else.
    """
    directory = pathlib.Path(eval_gt_dir)
    files = [directory / name for name in EVAL_LISTS]
    absent = [str(path) for path in files if not path.is_file()]
    if absent:
        raise WiderFaceError(f"Missing: {', '.join(absent)}. {_EVAL_TOOLS}")
    try:
        faces, *kept = mat_file.read(files, ("event_list", "file_list", "face_bbx_list", "gt_list"))
    except mat_file.MatFileError as error:
        raise WiderFaceError(f"{error}. {_EVAL_TOOLS}") from error
    subsets = {}
    path = files[0]
    try:
        for i, event in enumerate(faces["event_list"]):
            for j, picture in enumerate(faces["file_list"][i]):
                path, name = files[0], f"{event}/{picture}.jpg"
                boxes = np.asarray(faces["face_bbx_list"][i][j], np.float64).reshape(-1, 4)
                if not (np.abs(boxes) <= _MOST_PX).all():
                    raise ValueError(f"a box beyond {_MOST_PX:,} px in {name}")
                member = np.zeros((len(boxes), len(SUBSETS)), bool)
                for column, subset in enumerate(kept):
                    path = files[1 + column]
                    numbers = np.asarray(subset["gt_list"][i][j], np.float64).ravel()
                    if not np.isin(numbers, np.arange(1, len(boxes) + 1)).all():
                        raise ValueError(f"faces other than 1 to {len(boxes)} in {name}")
                    member[numbers.astype(int) - 1, column] = True
                subsets[name] = (boxes, member)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise WiderFaceError(f"{path} is no official evaluation list ({type(error).__name__}: {error}). {_EVAL_TOOLS}") from error
    return subsets


def find_eval_gt(data_dir: str | os.PathLike) -> pathlib.Path | None:
    """The folder of the official evaluation lists below `data_dir`, or None."""
    for name in ("eval_gt", "eval_tools/ground_truth", "ground_truth", "wider_face_split"):
        if (pathlib.Path(data_dir) / name / "wider_hard_val.mat").is_file():
            return pathlib.Path(data_dir) / name
    return None
