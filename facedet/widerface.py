"""WIDER FACE as it is downloaded: annotation text and pictures, from folders or from the official zips read in place.

Pure Python and numpy. The layout, below one directory:
    WIDER_train/images/<event>/<picture>.jpg     or  WIDER_train.zip
    WIDER_val/images/<event>/<picture>.jpg       or  WIDER_val.zip
    wider_face_split/wider_face_<split>_bbx_gt.txt  or  wider_face_split.zip
"""

import dataclasses
import io
import os
import pathlib
import zipfile
from collections.abc import Iterator

import numpy as np

from facedet import jpeg

ATTRIBUTES = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")  # the order of the annotation's columns
NUM_LANDMARKS = 5  # eyes, nose, mouth corners; the first of each pair is at image-left
ROW_OF_ZEROS = "row_of_zeros"  # the reason of the one Problem that is no fault but a way to write "no face"
_COLUMNS = 4 + len(ATTRIBUTES)


class WiderFaceError(Exception):
    """Something in the data set cannot be used; the message names file, line, value and the way out."""


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

    @property
    def faces_stated(self) -> int:
        """Faces of the official list: those read and those in rows that could not be."""
        return len(self.boxes_xywh_px) + sum(problem.faces for problem in self.problems)


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


def parse_annotation(text: str, path: str) -> Iterator[FaceImage]:
    """Reads a wider_face_*_bbx_gt.txt: name, count, then one row a face.

    A picture without a face has count 0 followed by one row of zeros, or (older files) count 1 and a row of zeros.
    Blank lines, CRLF and decimals are taken. A row with too few numbers becomes a Problem of its picture. A file whose
    names and counts cannot be followed raises WiderFaceError.
    """
    return (entry.parse() for entry in split_annotation(text, path))


def split_annotation(text: str, path: str) -> Iterator[Entry]:
    """As parse_annotation(), the rows not read yet."""
    stripped = map(str.strip, text.splitlines())
    lines = [(number, line) for number, line in enumerate(stripped, 1) if line]
    at = 0
    while at < len(lines):
        number, name = lines[at]
        if not _is_name(name):
            raise WiderFaceError(f"{path}:{number}: expected '<event>/<picture>.jpg', got {name!r}. Is this the official file?")
        if at + 1 >= len(lines) or not lines[at + 1][1].isdigit():
            got = repr(lines[at + 1][1]) if at + 1 < len(lines) else "the end of the file"
            raise WiderFaceError(f"{path}:{number + 1}: expected the number of faces of {name}, got {got}.")
        count = int(lines[at + 1][1])
        end = at + 2
        while end < len(lines) and not _is_name(lines[end][1]):
            end += 1
        yield Entry(name, path, number, count, tuple(lines[at + 2 : end]))
        at = end


def _is_name(line: str) -> bool:
    return "/" in line or line.endswith((".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG"))


def _regular_table(rows) -> np.ndarray | None:
    """The rows of nearly every picture, all at once: [N, 10]; None where any of them wants a closer look."""
    if any(row.count(" ") != _COLUMNS - 1 for _, row in rows):
        return None
    try:
        table = np.array(list(map(float, " ".join([row for _, row in rows]).split(" ")))).reshape(-1, _COLUMNS)
    except ValueError:
        return None
    return table if np.isfinite(table).all() else None


def _table_row_by_row(entry: Entry) -> tuple[np.ndarray, list[Problem]]:
    """The rows that can be read, [N, 10], and what is wrong with the others."""
    name, path, count, rows = entry.name, entry.path, entry.count, entry.rows
    values, problems = [], []
    for number, row in rows:
        try:
            numbers = [float(part) for part in row.split()]
        except ValueError:
            problems.append(Problem(f"{path}:{number}", "row_malformed", f"not numbers: {row!r} ({name})", 1))
            continue
        if not any(numbers) and count <= 1:  # the row of zeros that stands for a picture without a face
            if count == 1:
                problems.append(Problem(f"{path}:{number}", ROW_OF_ZEROS, f"stands for a picture without a face ({name})", 1))
        elif len(numbers) < _COLUMNS:
            message = f"{len(numbers)} numbers where a face has {_COLUMNS}: {row!r} ({name})"
            problems.append(Problem(f"{path}:{number}", "row_malformed", message, 1))
        elif not np.isfinite(numbers).all():
            problems.append(Problem(f"{path}:{number}", "row_malformed", f"not finite: {row!r} ({name})", 1))
        else:
            values.append(numbers[:_COLUMNS])
    missing = count - len(values) - sum(problem.faces for problem in problems)
    if missing:
        text = f"{count} faces stated, {count - missing} rows found ({name})"
        problems.append(Problem(entry.where, "row_malformed", text, max(missing, 0)))
    return np.asarray(values, np.float64).reshape(-1, _COLUMNS), problems


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
        if faces is None or len(parts) < 4 + 3 * NUM_LANDMARKS:
            raise WiderFaceError(f"{path}:{number}: expected '# name' or {4 + 3 * NUM_LANDMARKS} numbers, got {line!r}.")
        values = np.asarray(parts[: 4 + 3 * NUM_LANDMARKS], np.float64)
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


def open_zip(path: pathlib.Path) -> zipfile.ZipFile:
    """Opens a zip; an HTML page or a broken download of that name raises WiderFaceError that says so."""
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        with open(path, "rb") as file:
            what = jpeg.looks_like(file.read(256))
        if what == "a zip":
            what = f"no whole zip ({error})"
        raise WiderFaceError(f"{path} is {what}: download it again (it is {os.path.getsize(path):,} bytes).") from error


class WiderFace:
    """One split of WIDER FACE below `data_dir`, in folders or zips. Safe to pickle: zips are opened where they are read."""

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
            text, where = path.read_text(encoding="utf-8-sig"), str(path)
        elif zip_path.is_file():
            with open_zip(zip_path) as archive:
                if name not in archive.namelist():
                    raise WiderFaceError(f"{zip_path} holds no {name}: is it the official wider_face_split.zip?")
                text, where = archive.read(name).decode("utf-8-sig"), f"{zip_path}/{name}"
        else:
            raise WiderFaceError(f"Neither {path} nor {zip_path} exists: download 'Face annotations' from the WIDER FACE page.")
        return list(split_annotation(text, where))

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
        """The bytes of a picture. Raises FileNotFoundError where it is absent, WiderFaceError where the zip is damaged."""
        if self._zip_path is None:
            with open(f"{self.images_dir}/{name}", "rb", buffering=0) as file:
                return file.read()
        try:
            return self._archive().read(f"WIDER_{self.split}/images/{name}")
        except KeyError as error:
            raise FileNotFoundError(name) from error
        except (zipfile.BadZipFile, io.UnsupportedOperation) as error:
            raise WiderFaceError(f"{self._zip_path}: {name} is damaged ({error}): download the zip again.") from error

    def _archive(self) -> zipfile.ZipFile:
        if self._zip is None:
            self._zip = open_zip(self._zip_path)
        return self._zip


SUBSETS = ("easy", "medium", "hard")


def load_subsets(eval_gt_dir: str | os.PathLike) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The official evaluation lists, wider_face_val.mat and wider_{easy,medium,hard}_val.mat.

    Returns {'<event>/<picture>.jpg': (boxes_xywh_px float64 [M, 4], member bool [M, 3] in the order of SUBSETS)} in the
    order of the files. Raises WiderFaceError where one is missing.
    """
    from scipy.io import loadmat

    directory = pathlib.Path(eval_gt_dir)
    files = [directory / name for name in ("wider_face_val.mat", *(f"wider_{subset}_val.mat" for subset in SUBSETS))]
    absent = [str(path) for path in files if not path.is_file()]
    if absent:
        raise WiderFaceError(
            f"Missing: {', '.join(absent)}. They are in eval_tools.zip (folder ground_truth) of the WIDER FACE page; "
            "name their folder with --eval_gt_dir."
        )
    faces, *kept = (loadmat(str(path)) for path in files)
    subsets = {}
    for i, event in enumerate(faces["event_list"]):
        for j, picture in enumerate(faces["file_list"][i][0]):
            boxes = faces["face_bbx_list"][i][0][j][0].astype(np.float64).reshape(-1, 4)
            member = np.zeros((len(boxes), len(SUBSETS)), bool)
            for column, subset in enumerate(kept):
                member[subset["gt_list"][i][0][j][0].reshape(-1).astype(int) - 1, column] = True
            subsets[f"{event[0][0]}/{picture[0][0]}.jpg"] = (boxes, member)
    return subsets


def find_eval_gt(data_dir: str | os.PathLike) -> pathlib.Path | None:
    """The folder of the official evaluation lists below `data_dir`, or None."""
    for name in ("eval_gt", "eval_tools/ground_truth", "ground_truth", "wider_face_split"):
        if (pathlib.Path(data_dir) / name / "wider_hard_val.mat").is_file():
            return pathlib.Path(data_dir) / name
    return None
