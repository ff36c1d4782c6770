"""False faces: boxes on pictures that show no face, which no other figure counts as users meet them."""

import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

from facedet.data.formats.annotated import SUFFIXES
from facedet.data.records import Labels
from facedet.data.widerface import SUBSETS, WiderFaceError
from facedet.evaluation.protocol import GroundTruth
from facedet.evaluation.scoring import Picture, Scores, score
from facedet.runtime.pictures import read_picture

SCORE = 0.5  # from which on a box counts: FaceDetector's own


def of_folder(folder: str | pathlib.Path) -> tuple[Iterator[Picture], int]:
    """The pictures below a folder, none of which shows a face, and their number. Raises WiderFaceError where there is none.

    DetectorError names a picture that cannot be read.
    """
    folder = pathlib.Path(folder)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise WiderFaceError(f"{folder} holds no picture ({', '.join(SUFFIXES)}): name a folder of pictures without faces.")
    return (without_face(str(path.relative_to(folder)), read_picture(path)) for path in paths), len(paths)


def of_photographs() -> tuple[Iterator[Picture], int]:
    """The photographs without a face that scikit-image's wheel holds, and their number."""
    from facedet.data import sample

    return (without_face(name, image) for name, image in sample.photographs()), len(sample.FACE_FREE)


def without_face(name: str, image: np.ndarray) -> Picture:
    """image: RGB uint8 [H, W, 3]."""
    return Picture(name, image, GroundTruth(np.zeros((0, 4)), np.zeros((0, len(SUBSETS)), bool)))


def measure(detectors: dict, folder: str | pathlib.Path | None = None) -> dict[str, dict[str, dict]]:
    """{pictures, in words: {detector: count()}} on scikit-image's photographs and, where one is named, on a folder of pictures.

    detectors: {name: detector} as scoring.score() takes them.  Raises as of_folder().
    """
    sets = {"scikit-image's photographs": of_photographs()}
    if folder:
        sets[f"folder `{pathlib.Path(folder).resolve().name}`"] = of_folder(folder)
    told = {}
    for name, (pictures, number) in sets.items():
        scores = score(detectors, pictures, number, "false faces")
        told[name] = {detector: count(scores, detector) for detector in detectors}
    return told


def among(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Those of pictures of records that show no face; one whose faces are all ignored shows some."""
    return (picture for picture in pictures if not _shows_face(picture.truth, picture.labels))


def count(scores: Scores, detector: str) -> dict | None:
    """{pictures, false_faces}: the pictures of `scores` without a face, and a detector's boxes from SCORE on in them; None without any."""
    names = [name for name, truth in scores.truth.items() if not _shows_face(truth, scores.labels.get(name))]
    if not names:
        return None
    found = sum(int((scores.detections[detector][name].scores >= SCORE).sum()) for name in names)
    return {"pictures": len(names), "false_faces": found}


def _shows_face(truth: GroundTruth, labels: Labels | None) -> bool:
    """The official lists hold a box of zeros where there is no face; a record holds faces, too, that the lists leave out."""
    return bool((truth.boxes_xywh_px[:, 2:] > 0).all(1).any()) or (labels is not None and len(labels.boxes_yxyx_norm) > 0)


def in_words(told: dict) -> str:
    """count() as 'false faces: n in m pictures'."""
    return f"false faces: {told['false_faces']:,} in {told['pictures']:,} picture{'s' * (told['pictures'] != 1)}"


def markdown(sets: dict[str, dict[str, dict]] | None) -> list[str]:
    """{pictures, in words: {file: count()}} as lines of a model card; files with the same number stand together."""
    if not sets:
        return []
    lines = [f"Boxes from score {SCORE} on in pictures without a face:", ""]
    for pictures, by_file in sets.items():
        files = {}
        for file, told in by_file.items():
            files.setdefault(in_words(told), []).append(file)
        lines += [f"- {pictures}: " + "; ".join(f"{said} ({', '.join(names)})" for said, names in files.items())]
    return [*lines, ""]
