"""CSV: one file, separated by commas, one face a row, all in pixels from 0; a header row says which column is which.

    image,xmin,ymin,xmax,ymax                  or  image,x,y,width,height  (x, y: left and top)
    class                                      its word for a face; without the column every row is one
    ignore                                     1: neither to learn nor background
    x1,y1,x2,y2,x3,y3,x4,y4,x5,y5              landmarks, empty where absent

`filename` may stand for `image`. Beside corners, `width` and `height` are the picture's. A row with nothing but the picture stands for one
without a face.
"""

import csv
import io
import pathlib

from facedet.data.formats import annotated
from facedet.data.formats.annotated import BadFaceError, Face, Folder, Picture
from facedet.data.official_files import WiderFaceError, read_file, text
from facedet.data.source import NUM_LANDMARKS, Problem

WITHOUT_A_FACE = "a row with nothing but its name"
_NAMES = ("image", "filename")
_CORNERS, _SIDES = ("xmin", "ymin", "xmax", "ymax"), ("x", "y", "width", "height")
_POINTS = tuple(f"{axis}{i}" for i in range(1, NUM_LANDMARKS + 1) for axis in "xy")
_HEADER = "image,xmin,ymin,xmax,ymax or image,x,y,width,height, and class, ignore, x1,y1 to x5,y5 where there are"


def read(annotations: pathlib.Path, folder: Folder) -> list[Picture]:
    """Every picture of the file, in the order of their first rows. WiderFaceError names the line of what cannot be followed."""
    path = annotated.one_file(annotations, ".csv")
    rows = csv.reader(io.StringIO(text(read_file(path, annotated.MOST_BYTES), str(path)), newline=""), strict=True)
    columns, found = None, {}
    try:
        for cells in rows:
            where = f"{path}:{rows.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = _columns(cells, where)
                continue
            _add(cells, columns, where, folder, found)
    except csv.Error as error:
        raise WiderFaceError(f"{path}:{rows.line_num}: no row of a CSV file ({error}). Save it again, separated by commas.") from error
    if not found:
        raise WiderFaceError(f"{path} has no row below its header. The header: {_HEADER}.")
    return [Picture(name, where, tuple(faces), tuple(problems), size) for name, (where, faces, problems, size) in found.items()]


def _columns(cells: list[str], where: str) -> dict[str, int]:
    """{name: its number} of the header."""
    columns = {cell.strip().lower(): i for i, cell in enumerate(cells)}
    named = any(name in columns for name in _NAMES)
    if not named or not (set(_CORNERS) <= set(columns) or set(_SIDES) <= set(columns)):
        raise WiderFaceError(f"{where}: a header row with {_HEADER}, is wanted first, got {annotated.shown(','.join(cells))}.")
    return columns


def _add(cells: list[str], columns: dict[str, int], where: str, folder: Folder, found: dict) -> None:
    """Puts a row into found: {name: (where, faces, problems, size)}."""

    def cell(name: str) -> str:
        i = columns.get(name, len(cells))
        return cells[i].strip() if i < len(cells) else ""

    stated = cell(_NAMES[0]) or cell(_NAMES[1])
    if not stated:
        raise WiderFaceError(f"{where}: no picture is named. Fill in the column {_NAMES[0]}, or take the row out.")
    name = folder.find(stated, where)
    corners = set(_CORNERS) <= set(columns)
    _, faces, problems, _ = found.setdefault(name, (where, [], [], _size(cell) if corners else None))
    if not any(cell(key) for key in (_CORNERS if corners else _SIDES)):
        return
    try:
        faces.append(_face(cell, corners, where))
    except BadFaceError as error:
        problems.append(Problem(where, error.reason, f"{error} ({name})", 1))


def _face(cell, corners: bool, where: str) -> Face:
    keys = _CORNERS if corners else _SIDES
    box = annotated.numbers(map(cell, keys), ",".join(keys))
    if corners:
        box = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    points = [cell(key) for key in _POINTS]
    five = annotated.landmarks(annotated.numbers(points, "x1,y1 to x5,y5"), ()) if any(points) and all(points) else None
    return Face(where, annotated.box_px(*box), annotated.printable(cell("class")) or annotated.FACE, cell("ignore") == "1", five)


def _size(cell) -> tuple[int, int] | None:
    width, height = cell("width"), cell("height")
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() and len(width + height) < 20 else None
