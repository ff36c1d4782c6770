"""Pascal VOC: one XML file a picture, as LabelImg and CVAT write it.

Corners count from 1 and belong to the box: a box from (1, 1) to (10, 20) is 10 px wide and 20 high. An object that is `difficult` is
ignored. The picture is <filename>, or, where there is none of that name, the one that is called as the XML file.
"""

import pathlib
import xml.etree.ElementTree as ElementTree

from facedet.data.formats import annotated
from facedet.data.formats.annotated import BadFaceError, Face, Folder, Picture
from facedet.data.official_files import WiderFaceError, read_file
from facedet.data.source import Problem

WITHOUT_A_FACE = "an .xml file without <object>"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read(annotations: pathlib.Path, folder: Folder) -> list[Picture]:
    """Every picture of the XML files below a folder. WiderFaceError for a file that is none of VOC's."""
    return [_picture(path, annotations, folder) for path in annotated.files(annotations, ".xml")]


def _picture(path: pathlib.Path, annotations: pathlib.Path, folder: Folder) -> Picture:
    root, where = _root(path), str(path)
    name = (root.findtext("filename") or "").strip()
    found = folder.find(name, where) if name else None
    if found not in folder.sizes:
        below = path.relative_to(annotations) if annotations.is_dir() else pathlib.Path(path.name)
        found = folder.find_by_stem(below.with_suffix("").as_posix(), where) or found or annotated.printable(path.stem)
    faces, problems = [], []
    for number, element in enumerate(root.iter("object"), 1):
        place = f"{where}: object {number}"
        try:
            faces.append(_face(element, place))
        except BadFaceError as error:
            problems.append(Problem(place, error.reason, f"{error} ({found})", 1))
    return Picture(found, where, tuple(faces), tuple(problems), _size(root))


def _root(path: pathlib.Path) -> ElementTree.Element:
    data = read_file(path)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # entities can be made to grow without a bound
        raise WiderFaceError(f"{path}: a <!DOCTYPE> or <!ENTITY> is no part of VOC's annotation. Take it out.")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise WiderFaceError(f"{path} is no whole XML ({error}). Save it again, or take it away.") from error
    if root.tag != "annotation":
        raise WiderFaceError(f"{path}: <annotation> is wanted, got <{annotated.shown(root.tag)}>. Is it VOC's? Name another --format.")
    return root


def _face(element: ElementTree.Element, where: str) -> Face:
    box = element.find("bndbox")
    values = [None if box is None else box.findtext(key) for key in _CORNERS]
    if None in values:
        raise BadFaceError("row_malformed", f"<bndbox> lacks <{_CORNERS[values.index(None)]}>")
    left, top, right, bottom = annotated.numbers(values, f"<{'>, <'.join(_CORNERS)}>")
    if max(abs(left), abs(top), abs(right), abs(bottom)) <= 1:
        raise BadFaceError(
            "row_out_of_range", f"the corners {annotated.shown(values)} look like fractions of the picture: VOC's are pixels"
        )
    if right < left or bottom < top:
        raise BadFaceError(
            "no_area", f"<xmin>, <ymin>, <xmax>, <ymax> are {annotated.shown([left, top, right, bottom])}: the box has no area"
        )
    label = (element.findtext("name") or "").strip()
    ignored = (element.findtext("difficult") or "").strip() == "1"
    return Face(where, annotated.box_px(left - 1, top - 1, right - left + 1, bottom - top + 1), annotated.printable(label), ignored)


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    """<size>, where it says one: some tools write zeros."""
    try:
        width, height = (int(root.findtext(f"size/{key}") or 0) for key in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None
