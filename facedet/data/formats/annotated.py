"""What each format of annotation is read into: pictures with faces as they are annotated, and what could not be read."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterable

from facedet.data.official_files import WiderFaceError
from facedet.data.source import MOST_PX, NUM_LANDMARKS, Problem

FACE = "face"  # the class that is taken, where it is not said which
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MOST_BYTES = 512 * 2**20  # of one file of annotation
_SLACK = 0.001  # fractions are rounded: so much past 0 or 1 is no fault
_MOST_FRACTION = 4  # of a landmark, which may lie outside of the picture; past it, it is in pixels


class BadFaceError(Exception):
    """A face that cannot be used: reason is the manifest's word for it."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Face:
    """where: 'file:line' or 'file: key'.  box_xywh: left, top, width, height.  label: the class, in the annotation's word.
    points_xy: x, y of NUM_LANDMARKS points, flat, or None."""

    where: str
    box_xywh: tuple[float, ...]
    label: str
    ignored: bool = False
    points_xy: tuple[float, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Picture:
    """name: as Folder.find() knows it, else as it is annotated.  size: (width, height) in px as annotated, or None.
    fractions: the faces are in fractions of the picture, else in px."""

    name: str
    where: str
    faces: tuple[Face, ...]
    problems: tuple[Problem, ...] = ()
    size: tuple[int, int] | None = None
    fractions: bool = False


def numbers(values: Iterable, what: str) -> list[float]:
    """Finite floats. BadFaceError for anything else; `what` names them."""
    values = list(values)
    try:
        found = [float(value) for value in values if not isinstance(value, bool)]
    except (TypeError, ValueError, OverflowError):
        found = []
    if len(found) != len(values) or not all(map(math.isfinite, found)):
        raise BadFaceError("row_malformed", f"{what}: numbers are wanted, got {shown(values)}")
    return found


def box_px(left: float, top: float, width: float, height: float) -> tuple[float, ...]:
    """A box in pixels. BadFaceError for coordinates that no picture has, and for fractions."""
    box = (left, top, width, height)
    if max(map(abs, box)) > MOST_PX:
        raise BadFaceError("row_out_of_range", f"the box {shown(box)} lies beyond {MOST_PX:,} px")
    if 0 < width <= 1 and 0 < height <= 1 and max(abs(left), abs(top)) <= 1:
        raise BadFaceError("row_out_of_range", f"the box {shown(box)} looks like fractions of the picture: pixels are wanted here")
    return box


def box_of_fractions(x_center: float, y_center: float, width: float, height: float) -> tuple[float, ...]:
    """A box in fractions, from its centre to left, top, width, height. BadFaceError for pixels."""
    box = (x_center, y_center, width, height)
    if not all(-_SLACK <= value <= 1 + _SLACK for value in box):
        wanted = "x and y of its centre, width and height in fractions of the picture, 0 to 1, are wanted"
        raise BadFaceError("row_out_of_range", f"the box {shown(box)}: {wanted}; pixels are taken by --format csv")
    return (x_center - width / 2, y_center - height / 2, width, height)


def landmarks(values: list[float], seen: Iterable[bool], fractions: bool = False) -> tuple[float, ...] | None:
    """Five points, x and y in turns; None where any of them is not `seen`. BadFaceError for coordinates that no picture has."""
    if len(values) != 2 * NUM_LANDMARKS or not all(seen):
        return None
    if max(map(abs, values)) > (_MOST_FRACTION if fractions else MOST_PX):
        unit = "fractions of the picture" if fractions else f"pixels up to {MOST_PX:,}"
        raise BadFaceError("row_out_of_range", f"the landmarks {shown(values)}: {unit} are wanted")
    return tuple(values)


def shown(value) -> str:
    """A value for a message: short, one line, printable. A list of numbers goes without brackets."""
    if isinstance(value, list | tuple) and value and all(type(item) in (int, float) for item in value):
        said = ", ".join(f"{item:g}" if isinstance(item, float) else str(item)[:30] for item in value)
    else:
        said = ascii(value) if not isinstance(value, str) or not value.isprintable() else repr(value)
    return said if len(said) <= 90 else said[:90] + "..."


def files(annotations: pathlib.Path, suffix: str) -> list[pathlib.Path]:
    """The files of that suffix below a folder, or the one file that is named. WiderFaceError where there are none."""
    if annotations.is_file():
        return [annotations]
    if not annotations.is_dir():
        raise WiderFaceError(f"{annotations} does not exist: --annotations names a folder of {suffix} files, or one of them.")
    found = sorted(path for path in annotations.rglob(f"*{suffix}") if path.is_file())
    if not found:
        raise WiderFaceError(f"{annotations} holds no {suffix} file: name the folder of annotations, or another --format.")
    return found


def one_file(annotations: pathlib.Path, suffix: str) -> pathlib.Path:
    """The file itself, or the only one of that suffix in a folder. WiderFaceError otherwise."""
    found = files(annotations, suffix)
    if len(found) > 1:
        raise WiderFaceError(f"{annotations} holds {len(found)} {suffix} files ({found[0].name}, {found[1].name}): name one of them.")
    return found[0]


class Folder:
    """The pictures below a folder.

    sizes: {name: bytes}; a name is the path below the folder, with slashes. Raises WiderFaceError where there is no picture.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = pathlib.Path(directory)
        if not self.directory.is_dir():
            raise WiderFaceError(f"{directory} is no folder: --images has to hold the pictures.")
        self.sizes = {}
        for path in sorted(self.directory.rglob("*")):
            name = path.relative_to(self.directory).as_posix()
            if path.suffix.lower() in SUFFIXES and path.is_file() and name.isprintable():
                self.sizes[name] = path.stat().st_size
        if not self.sizes:
            raise WiderFaceError(f"{directory} holds no picture ({', '.join(SUFFIXES)}).")
        self._by_file, self._by_stem = {}, {}
        for name in self.sizes:
            path = pathlib.PurePosixPath(name)
            self._by_file.setdefault(path.name, []).append(name)
            for stem in {path.stem, path.with_suffix("").as_posix()}:
                self._by_stem.setdefault(stem, []).append(name)

    def find(self, name: str, where: str) -> str:
        """The picture of an annotated name: of that path, else the only one of that file name. The name itself where it is absent.

        WiderFaceError where several have the file name.
        """
        path = name.replace("\\", "/").removeprefix("./")
        if path in self.sizes:
            return path
        return self._only(self._by_file.get(path.rsplit("/", 1)[-1], []), where) or printable(name)

    def find_by_stem(self, stem: str, where: str) -> str | None:
        """The picture of that path or file name but for its ending; None where there is none. Raises as find()."""
        return self._only(self._by_stem.get(stem) or self._by_stem.get(stem.rsplit("/", 1)[-1], []), where)

    def _only(self, names: list[str], where: str) -> str | None:
        if len(names) > 1:
            raise WiderFaceError(f"{where}: {names[0]} and {names[1]} could both be meant: give the pictures different names.")
        return names[0] if names else None


def printable(text: str) -> str:
    """The same without what a terminal or a record cannot hold."""
    return text if text.isprintable() else ascii(text)[1:-1]
