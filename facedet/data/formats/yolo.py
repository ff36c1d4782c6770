"""YOLO: one text file a picture, one face a line, all in fractions of the picture.

    class xcenter ycenter width height
    class xcenter ycenter width height  x1 y1 ... x5 y5           with landmarks, a point below 0 is absent
    class xcenter ycenter width height  x1 y1 v1 ... x5 y5 v5     the same with visibility, 0 is absent

A text is of the picture that is called the same. The names of the classes stand in classes.txt, obj.names or data.yaml, beside the texts
or in the folder above; without one a class is called by its number.
"""

import pathlib

import yaml

from facedet.data.formats import annotated
from facedet.data.formats.annotated import BadFaceError, Face, Folder, Picture
from facedet.data.official_files import WiderFaceError, read_file, text
from facedet.data.source import NUM_LANDMARKS, Problem

WITHOUT_A_FACE = "an empty .txt file"
_TEXTS, _YAMLS = ("classes.txt", "obj.names"), ("data.yaml", "dataset.yaml")
_BOX = 5  # class and box
_COLUMNS = (_BOX, _BOX + 2 * NUM_LANDMARKS, _BOX + 3 * NUM_LANDMARKS)


def read(annotations: pathlib.Path, folder: Folder) -> list[Picture]:
    """Every picture of the texts below a folder. WiderFaceError for what is no text, and where no text belongs to a picture."""
    paths = [path for path in annotated.files(annotations, ".txt") if path.name not in _TEXTS]
    names = _names(annotations if annotations.is_dir() else annotations.parent)
    pictures = []
    for path in paths:
        below = path.relative_to(annotations) if annotations.is_dir() else pathlib.Path(path.name)
        stem = below.with_suffix("").as_posix()
        pictures.append(_picture(path, folder.find_by_stem(stem, str(path)) or annotated.printable(stem), names))
    if not any(picture.name in folder.sizes for picture in pictures):
        first = f": {pictures[0].where} stands for a picture {pictures[0].name}" if pictures else ""
        raise WiderFaceError(f"No text in {annotations} is called as a picture in {folder.directory}{first}.")
    return pictures


def _picture(path: pathlib.Path, name: str, names: dict[int, str] | None) -> Picture:
    faces, problems = [], []
    for number, line in enumerate(text(read_file(path), str(path)).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            faces.append(_face(line.split(), where, names))
        except BadFaceError as error:
            problems.append(Problem(where, error.reason, f"{error} ({name})", 1))
    return Picture(name, str(path), tuple(faces), tuple(problems), fractions=True)


def _face(words: list[str], where: str, names: dict[int, str] | None) -> Face:
    if len(words) not in _COLUMNS:
        wanted = "'class xcenter ycenter width height', with five landmarks 15 numbers, with their visibility 20"
        raise BadFaceError("row_malformed", f"{len(words)} numbers: {wanted}, are wanted")
    label, *values = annotated.numbers(words, "a line")
    if label != int(label) or label < 0:
        raise BadFaceError("row_malformed", f"class {annotated.shown(words[0])}: a whole number from 0 on is wanted")
    if names is not None and int(label) not in names:
        raise BadFaceError("class_unknown", f"class {int(label)} is none of the {len(names)} that are named")
    box, points = annotated.box_of_fractions(*values[:4]), values[4:]
    if len(words) == _COLUMNS[2]:
        seen = [visible > 0 for visible in points[2::3]]
        points = [value for i, value in enumerate(points) if i % 3 < 2]
    else:
        seen = [min(pair) >= 0 for pair in zip(points[::2], points[1::2], strict=True)]
    called = str(int(label)) if names is None else names[int(label)]
    return Face(where, box, called, points_xy=annotated.landmarks(points, seen, fractions=True))


def _names(directory: pathlib.Path) -> dict[int, str] | None:
    """{number: name} of the classes; None where no file says them. WiderFaceError for a file that is none."""
    for folder in (directory, directory.parent):
        for name in _TEXTS:
            if (folder / name).is_file():
                lines = text(read_file(folder / name), str(folder / name)).splitlines()
                return {i: annotated.printable(line.strip()) for i, line in enumerate(lines) if line.strip()}
        for name in _YAMLS:
            if (folder / name).is_file():
                return _names_of_yaml(folder / name)
    return None


def _names_of_yaml(path: pathlib.Path) -> dict[int, str]:
    try:
        content = yaml.safe_load(text(read_file(path), str(path)))
        names = content["names"]
        items = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): annotated.printable(str(name)) for number, name in items}
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise WiderFaceError(f"{path}: names: a list of the classes is wanted ({type(error).__name__}: {why}).") from error
