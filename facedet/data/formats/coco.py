"""COCO: one JSON file with images, annotations and categories.

A bbox is left, top, width, height in pixels, from 0. A crowd (iscrowd 1) is ignored. Keypoints are taken where there are five of them,
each x, y, v with v 0 where it is absent.
"""

import json
import pathlib

from facedet.data.formats import annotated
from facedet.data.formats.annotated import BadFaceError, Face, Folder, Picture
from facedet.data.official_files import WiderFaceError, read_file, text
from facedet.data.source import NUM_LANDMARKS, Problem

WITHOUT_A_FACE = "an entry in images and none in annotations"
_LISTS = ("images", "annotations", "categories")


def read(annotations: pathlib.Path, folder: Folder) -> list[Picture]:
    """Every one of the file's images. WiderFaceError names the key of what cannot be followed."""
    path = annotated.one_file(annotations, ".json")
    content = _load(path)
    labels = {}
    for where, category in _entries(content, "categories", path):
        labels[_id(category, "id", where)] = annotated.printable(str(category.get("name")))
    images = {}
    for where, image in _entries(content, "images", path):
        name = image.get("file_name")
        if not isinstance(name, str) or not name:
            raise WiderFaceError(f"{where}.file_name: the name of a picture is wanted, got {annotated.shown(name)}.")
        images.setdefault(_id(image, "id", where), (where, folder.find(name, where), _size(image)))
    faces, problems = ({number: [] for number in images} for _ in range(2))
    for where, annotation in _entries(content, "annotations", path):
        number = _id(annotation, "image_id", where)
        if number not in images:
            raise WiderFaceError(f"{where}.image_id: {annotated.shown(number)} is the id of none of images. Export the set again.")
        try:
            faces[number].append(_face(annotation, where, labels))
        except BadFaceError as error:
            problems[number].append(Problem(where, error.reason, f"{error} ({images[number][1]})", 1))
    return [Picture(name, where, tuple(faces[n]), tuple(problems[n]), size) for n, (where, name, size) in images.items()]


def _load(path: pathlib.Path) -> dict:
    try:
        content = json.loads(text(read_file(path, annotated.MOST_BYTES), str(path)))
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise WiderFaceError(f"{path} is no whole JSON ({error}). Export the set again.") from error
    for key in _LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise WiderFaceError(f"{path}: {key}: a list is wanted. Is it COCO's, of object detection? Name another --format.")
    return content


def _entries(content: dict, key: str, path: pathlib.Path):
    """('file: key[i]', entry) of each."""
    for i, entry in enumerate(content[key]):
        where = f"{path}: {key}[{i}]"
        if not isinstance(entry, dict):
            raise WiderFaceError(f"{where}: an object is wanted, got {annotated.shown(entry)}.")
        yield where, entry


def _id(entry: dict, key: str, where: str):
    if not isinstance(entry.get(key), int | str):
        raise WiderFaceError(f"{where}.{key}: a number is wanted, got {annotated.shown(entry.get(key))}.")
    return entry[key]


def _size(image: dict) -> tuple[int, int] | None:
    size = image.get("width"), image.get("height")
    return size if all(type(side) is int and side > 0 for side in size) else None


def _face(annotation: dict, where: str, labels: dict) -> Face:
    category, box, points = annotation.get("category_id"), annotation.get("bbox"), annotation.get("keypoints")
    if not isinstance(category, int | str) or category not in labels:
        raise BadFaceError("class_unknown", f"category_id {annotated.shown(category)} is the id of none of categories")
    if not isinstance(box, list) or len(box) != 4:
        raise BadFaceError("row_malformed", f"bbox: left, top, width and height are wanted, got {annotated.shown(box)}")
    box, five = annotated.box_px(*annotated.numbers(box, "bbox")), None
    if isinstance(points, list) and len(points) == 3 * NUM_LANDMARKS:
        points = annotated.numbers(points, "keypoints")
        flat = [value for i, value in enumerate(points) if i % 3 < 2]
        five = annotated.landmarks(flat, [visible > 0 for visible in points[2::3]])
    return Face(where, box, labels[category], annotation.get("iscrowd") == 1, five)
