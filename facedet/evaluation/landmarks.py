"""How far landmarks lie from the annotated ones: normalized mean error, by face height.

The error of a face is the mean distance of its points, five, or of MediaPipe's six the four that five annotated ones tell, over the square root of its annotated box's area. It is counted on
faces that have points and are not ignored, each matched to a detection as the protocol matches them (IoU 0.5, best score first);
faces that no detection finds are counted apart, and are in no mean.
"""

import dataclasses
import itertools

import numpy as np
from tabulate import tabulate

from facedet.evaluation import protocol
from facedet.evaluation.report import height_range, or_dash
from facedet.evaluation.scoring import Scores
from facedet.runtime.input_spec import InputSpec
from facedet.runtime.landmarks import expected as expected_points

SMALL_ERRORS = (0.05, 0.10)
EDGES = (0, 8, 16, 32, 64, 128, 256, np.inf)  # of heights, px


@dataclasses.dataclass(frozen=True)
class Errors:
    """Of F faces with points. values: normalized error, NaN where the face was not found.

    heights: px of the picture.  heights_at_input: px of the network's input, or None where that is not known.
    """

    values: np.ndarray
    heights: np.ndarray
    heights_at_input: np.ndarray | None

    def row(self, at_least: float = 0, below: float = np.inf, at_input: bool = False) -> dict:
        """The faces of such heights: {from, to (None: no end), faces, found, nme, under_0.05, under_0.10}.

        The last three are of the faces found: the mean error and the shares with less; None where none is found.
        """
        heights = self.heights_at_input if at_input else self.heights
        errors = self.values[(heights >= at_least) & (heights < below)]
        found = errors[np.isfinite(errors)]
        shares = {f"under_{limit:.2f}": float((found < limit).mean()) if len(found) else None for limit in SMALL_ERRORS}
        nme = float(found.mean()) if len(found) else None
        end = below if np.isfinite(below) else None
        return {"from": at_least, "to": end, "faces": len(errors), "found": len(found), "nme": nme, **shares}

    def rows(self, at_input: bool = False) -> list[dict]:
        """A row() a range of EDGES."""
        return [self.row(low, high, at_input) for low, high in itertools.pairwise(EDGES)]

    def as_dict(self) -> dict:
        """All of it, for JSON: {all, by_height[, by_height_at_input, from_32_at_input]}."""
        told = {"all": self.row(), "by_height": self.rows()}
        if self.heights_at_input is not None:
            told |= {"by_height_at_input": self.rows(at_input=True), "from_32_at_input": self.row(32, at_input=True)}
        return told


def errors(scores: Scores, detector: str, spec: InputSpec | None = None) -> Errors | None:
    """The errors of one of the detectors of `scores`; None where no picture has points or the detector gives none.

    spec: of the detector's input, for the heights at it.
    """
    found = scores.detections[detector]
    if not any(faces.landmarks_xy_px is not None for faces in found.values()):
        return None
    values, heights, ratios = [], [], []
    for name, truth in scores.truth.items():
        if truth.landmarks_xy_px is None:
            continue
        counts = np.flatnonzero(truth.member[:, -1] & np.isfinite(truth.landmarks_xy_px).all((1, 2)))
        values.append(_of_picture(found[name], truth)[counts])
        heights.append(truth.boxes_xywh_px[counts, 3])
        height, width = scores.sizes[name]
        ratios.append(np.full(len(counts), spec.fit(height, width)[0][0] / height if spec else np.nan))
    if not sum(map(len, values)):
        return None
    values, heights = np.concatenate(values), np.concatenate(heights)
    return Errors(values, heights, heights * np.concatenate(ratios) if spec else None)


def markdown(measured: dict | None) -> list[str]:
    """{records, pictures, errors: {file: Errors.as_dict()}} as lines of a model card."""
    if not measured:
        return []
    errors = measured["errors"]
    keys = [key for key in next(iter(errors.values()))["all"] if key not in ("from", "to", "faces", "found")]
    overall = [
        [
            kind,
            e["all"]["faces"],
            e["all"]["found"],
            *(or_dash(e["all"][key], 3) for key in keys),
            or_dash(e["from_32_at_input"]["nme"], 3),
        ]
        for kind, e in errors.items()
    ]
    heights = [
        [height_range(rows[0]), rows[0]["faces"], *(or_dash(row["nme"], 3) for row in rows)]
        for rows in zip(*(e["by_height_at_input"] for e in errors.values()), strict=True)
        if rows[0]["faces"]
    ]
    shown = [key.upper() if key == "nme" else key.replace("_", " ") for key in keys]
    return [
        f"Landmarks on {measured['pictures']:,} pictures of `{measured['records']}`: mean distance of the five points over the square root of "
        "the annotated box's area (NME) and the shares of faces with less, of faces with points that are found:",
        "",
        tabulate(overall, ["file", "with points", "found", *shown, "NME from 32 px at the input"], "github", disable_numparse=True),
        "",
        "NME by face height at the input:",
        "",
        tabulate(heights, ["height, px", "with points", *errors], "github", disable_numparse=True),
        "",
    ]


def distances(points: np.ndarray, expected: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """[F]: the mean distance of points [F, P, 2] from those expected, px, over the square root of areas [F], px²."""
    return np.linalg.norm(points - expected, axis=2).mean(1) / np.sqrt(areas)


def _of_picture(found: protocol.Detections, truth: protocol.GroundTruth) -> np.ndarray:
    """float [M], NaN where a face has no points or is not found."""
    errors = np.full(len(truth.boxes_xywh_px), np.nan)
    match = protocol.matches(found, truth)
    hit = match >= 0
    if hit.any():
        areas = truth.boxes_xywh_px[hit, 2:].astype(np.float64).prod(1)
        points = found.landmarks_xy_px[match[hit]]
        wanted = expected_points(truth.landmarks_xy_px[hit], points.shape[1])
        errors[hit] = distances(points[:, : wanted.shape[1]], wanted, areas)
    return errors
