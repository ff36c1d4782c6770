"""Recall of groups of people at equal face size: by perceived gender, age and skin tone, as a CSV file names them.

Groups are photographed at different sizes, and small faces are found less by every detector: recall is taken within bands of face
height, and the bands that all groups of an attribute have are averaged with the same weights for each group. Detectors are compared at
one recall of all labelled faces, the least that any of them has from score .5 on, each from the score on that gives it.
"""

import csv
import dataclasses
import itertools
import pathlib
from collections.abc import Iterable

import numpy as np
from tabulate import tabulate

from facedet.data.widerface import Entry, WiderFaceError
from facedet.evaluation import protocol
from facedet.evaluation.protocol import Detections

ATTRIBUTES = ("perceived_gender", "perceived_age", "perceived_skin")  # columns of the CSV, one at least
KEYS = ("file", "face")  # columns that it must have
UNKNOWN = ("", "Not Sure")  # values of no group
EDGES = (0, 16, 32, 64, 128, 256, np.inf)  # of face height, px of the picture
LEAST_FACES = 5  # of a group in a band that counts
SCORE = 0.5
_PREFIX = "images/"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the CSV. where: 'file:line'.  face: counted from 0, a row of the picture in wider_face_<split>_bbx_gt.txt.

    groups: {attribute: group}, without those that are not known.
    """

    where: str
    picture: str
    face: int
    groups: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Faces:
    """The labelled faces of a picture: boxes_xywh_px float [M, 4] as annotated, groups: {attribute: group} each."""

    boxes_xywh_px: np.ndarray
    groups: list[dict[str, str]]


def read(path: str | pathlib.Path) -> list[Row]:
    """The rows of a CSV with the columns KEYS and some of ATTRIBUTES; others are left alone. `file`: [images/]<event>/<picture>.jpg.

    WiderFaceError names file and line of what cannot be used.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            return _rows(csv.reader(stream), str(path))
    except OSError as error:
        raise WiderFaceError(f"{path} cannot be read ({error.strerror}): name a CSV with the columns {_columns()}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise WiderFaceError(f"{path} is no CSV in UTF-8 ({error}): a table with the columns {_columns()} is expected.") from error


def _columns() -> str:
    return f"{', '.join(KEYS)} and one or more of {', '.join(ATTRIBUTES)}"


def _rows(lines, path: str) -> list[Row]:
    heads = next(lines, [])
    attributes = [name for name in ATTRIBUTES if name in heads]
    if not attributes or any(name not in heads for name in KEYS):
        raise WiderFaceError(f"{path}:1: the columns are {', '.join(heads) or 'absent'}; {_columns()} are expected.")
    rows, seen = [], {}
    for line in lines:
        where = f"{path}:{lines.line_num}"
        if not line:
            continue
        if len(line) != len(heads):
            raise WiderFaceError(
                f"{where}: {len(line)} values in {len(heads)} columns; write one for each column, '' for what is not known."
            )
        values = {name: value.strip() for name, value in zip(heads, line, strict=True)}
        if not (values["face"].isascii() and values["face"].isdecimal()):
            raise WiderFaceError(f"{where}: face is {values['face']!r}; the row of the face in its picture is expected, from 0 on.")
        groups = {name: values[name] for name in attributes if values[name] not in UNKNOWN}
        row = Row(where, values["file"].removeprefix(_PREFIX), int(values["face"]), groups)
        if (first := seen.setdefault((row.picture, row.face), where)) != where:
            raise WiderFaceError(f"{where}: face {row.face} of {row.picture} stands in {first} already; leave one of the two.")
        rows.append(row)
    if not rows:
        raise WiderFaceError(f"{path} has no rows below its columns: one a face is expected.")
    return rows


def faces(rows: list[Row], annotation: Iterable[Entry], names: Iterable[str]) -> dict[str, Faces]:
    """{picture: Faces} of those pictures of `names` that have rows; faces without an area are left out.

    WiderFaceError names a row of a picture or a face that the annotation does not know, and a set without any labelled face.
    """
    entries, names = {entry.name: entry for entry in annotation}, set(names)
    found: dict[str, Faces] = {}
    for row in rows:
        if (entry := entries.get(row.picture)) is None:
            raise WiderFaceError(f"{row.where}: {row.picture} is no picture of the annotation.")
        if row.face >= min(entry.count, len(entry.rows)):
            raise WiderFaceError(f"{row.where}: face {row.face} of {row.picture}, which has {entry.count} (from 0 on) in {entry.where}.")
        if row.picture not in names:
            continue
        line, text = entry.rows[row.face]
        try:
            box = np.asarray(text.split()[:4], float).reshape(1, 4)
        except ValueError as error:
            raise WiderFaceError(f"{entry.path}:{line}: {text[:60]!r} begins with no box ({row.where} asks for it).") from error
        if not (box[0, 2:] > 0).all():
            continue
        before = found.get(row.picture, Faces(np.zeros((0, 4)), []))
        found[row.picture] = Faces(np.concatenate([before.boxes_xywh_px, box]), [*before.groups, row.groups])
    if not found:
        raise WiderFaceError(f"{rows[0].where} and the rows after it label no face of the pictures that are measured.")
    return found


def recall(detections: dict[str, dict[str, Detections]], labelled: dict[str, Faces]) -> dict:
    """detections: {detector: {picture: Detections}}, from a score of SCORE or less on.  labelled: of faces().

    Returns {faces, score, detectors: {name: {recall, score}}, attributes: {attribute: {bands: [{from, to}], groups: {group: {faces,
    detectors: {name: {recall, deviation}}}}}}}: recall at equal face size, deviation its standard deviation where faces are
    independent, `faces` of a group those in the bands. An attribute of which no two groups share a band has none of its groups.
    """
    best = {
        name: np.concatenate([_best_scores(found[picture], told) for picture, told in labelled.items()])
        for name, found in detections.items()
    }
    heights = np.concatenate([told.boxes_xywh_px[:, 3] for told in labelled.values()])
    groups = [face for told in labelled.values() for face in told.groups]
    wanted = min(int((scores >= SCORE).sum()) for scores in best.values())
    limits = {name: float(np.sort(scores)[-wanted]) if wanted else SCORE for name, scores in best.items()}
    hits = {name: scores >= limits[name] for name, scores in best.items()}
    attributes = {}
    for attribute in ATTRIBUTES:
        of_face = np.asarray([face.get(attribute, "") for face in groups])
        if (of_face != "").any():
            attributes[attribute] = _of_attribute(of_face, heights, hits)
    return {
        "faces": len(heights),
        "score": SCORE,
        "detectors": {name: {"recall": float(hit.mean()), "score": limits[name]} for name, hit in hits.items()},
        "attributes": attributes,
    }


def _best_scores(found: Detections, told: Faces) -> np.ndarray:
    """float [M]: the best score of a box that finds the face, IoU 0.5; -1 where none does."""
    if not len(found.scores):
        return np.full(len(told.groups), -1.0)
    overlap = protocol.overlaps(np.asarray(found.boxes_xyxy_px, float), told.boxes_xywh_px)
    return np.where(overlap >= protocol.IOU_THRESHOLD, np.asarray(found.scores, float)[:, None], -1.0).max(0)


def _of_attribute(of_face: np.ndarray, heights: np.ndarray, hits: dict[str, np.ndarray]) -> dict:
    names = sorted(set(of_face) - {""})
    bands = [(low, high) for low, high in itertools.pairwise(EDGES)]
    inside = {band: (heights >= band[0]) & (heights < band[1]) & (of_face != "") for band in bands}
    shared = [band for band in bands if all((inside[band] & (of_face == name)).sum() >= LEAST_FACES for name in names)]
    told = {"bands": [{"from": low, "to": high if np.isfinite(high) else None} for low, high in shared], "groups": {}}
    if not shared or len(names) < 2:
        return told | {"bands": []}
    weights = np.asarray([inside[band].sum() for band in shared], float)
    weights /= weights.sum()
    for name in names:
        members = [inside[band] & (of_face == name) for band in shared]
        counts = np.asarray([member.sum() for member in members])
        shares = {detector: np.asarray([hit[member].mean() for member in members]) for detector, hit in hits.items()}
        told["groups"][name] = {
            "faces": int(counts.sum()),
            "detectors": {
                detector: {
                    "recall": float(weights @ share),
                    "deviation": float(np.sqrt(weights**2 @ (share * (1 - share) / counts))),
                }
                for detector, share in shares.items()
            },
        }
    return told


def markdown(told: dict | None) -> list[str]:
    """recall() as lines for people: a table an attribute, the detectors side by side."""
    if not told:
        return []
    at = ", ".join(f"{name} {of['recall']:.3f} from score {of['score']:.3f} on" for name, of in told["detectors"].items())
    lines = [
        f"Recall of groups as annotators perceived them, at equal face size, on {told['faces']:,} labelled faces (all of them: {at}):",
        "",
    ]
    for attribute, of in told["attributes"].items():
        title = attribute.removeprefix("perceived_")
        if not of["groups"]:
            lines += [f"By {title}: no heights of which each of two groups or more has {LEAST_FACES} faces.", ""]
            continue
        gaps = {}
        for name in told["detectors"]:
            values = [group["detectors"][name]["recall"] for group in of["groups"].values()]
            gaps[name] = max(values) - min(values)
        rows = [[group, f"{row['faces']:,}", *(f"{row['detectors'][name]['recall']:.3f} ± {row['detectors'][name]['deviation']:.3f}" for name in gaps)]
                for group, row in of["groups"].items()]  # fmt: skip
        rows.append(["best less worst", "", *(f"{gap:.3f}" for gap in gaps.values())])
        lines += [tabulate(rows, [f"{title}, {_heights(of['bands'])}", "faces", *gaps], "github", disable_numparse=True), ""]
    return lines


def _heights(bands: list[dict]) -> str:
    """'16 - 128 px', or each run of bands that touch."""
    runs: list[list] = []
    for band in bands:
        if runs and runs[-1][1] == band["from"]:
            runs[-1][1] = band["to"]
        else:
            runs.append([band["from"], band["to"]])
    return " and ".join(f"{low:g} px and more" if high is None else f"{low:g} - {high:g} px" for low, high in runs)
