"""A detector scored on the pictures of records: WIDER FACE's protocol, the OD API's COCO metrics, landmarks."""

import glob
import io
import itertools
from collections.abc import Iterator

import numpy as np
from PIL import Image

from facedet.data import records
from facedet.evaluation import landmarks, protocol, scoring
from facedet.evaluation.scoring import Picture, Scores
from facedet.evaluation.truth import ground_truth
from facedet.od_api import coco_metrics
from facedet.runtime import boxes, drawing

PROTOCOL = "WIDER FACE's own, IoU 0.5, single scale, no flip"
SURE = 0.5  # least score of what contact_sheet() draws


def pictures(paths: list[str], one_of: int = 1) -> Iterator[Picture]:
    """Every one_of-th picture of record files, the first included. RecordsError names the one that cannot be decoded."""
    for name, encoded, labels in itertools.islice(records.read_examples(paths), 0, None, one_of):
        try:
            image = decode(encoded)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises for damaged files
            raise records.RecordsError(f"{name} cannot be decoded for the evaluation ({error}). Convert the data set again.") from error
        yield Picture(name, image, ground_truth(labels, *image.shape[:2]), labels)


def sample(paths: list[str], limit: int) -> tuple[Iterator[Picture], int]:
    """An even sample of at most `limit` pictures of a split's record files, all where that is 0, and their number.

    RecordsError where a file is damaged or missing.
    """
    total = sum(shard["examples"] for shard in records.check_shards(paths)["shards"])
    one_of = max(1, total // limit) if limit else 1
    count = -(-total // one_of)
    return itertools.islice(pictures(paths, one_of), limit or None), min(limit, count) if limit else count


def find(pattern: str) -> list[str]:
    """The record files that a pattern names. RecordsError where there are none."""
    if not (paths := sorted(glob.glob(pattern))):
        raise records.RecordsError(f"No file matches {pattern}: name the record files of one split.")
    return paths


def validate(detector, paths: list[str], sample_1_of_n: int = 1, keep_pictures: int = 8):
    """detector: its score_threshold is low.  paths: record files.

    Returns (metrics {name: value}, pictures [(Picture, Detections)]). Where the records know no Easy/Medium/Hard, all faces that
    are not ignored form one set, 'WiderFace/all'. 'Boxes/...' is of the faces that are found, and there where any is; 'Landmarks/...'
    where records and detector have points. RecordsError names a picture that cannot be decoded.
    """
    name = "detector"
    scores = scoring.score({name: detector}, pictures(paths, sample_1_of_n), keep=keep_pictures)
    metrics = {f"WiderFace/{subset}": value for subset, value in scores.average_precision(name).items()}
    metrics |= coco(scores, name) | box_errors(scores, name)
    if errors := landmarks.errors(scores, name):
        row = errors.row()
        metrics |= {f"Landmarks/{key}": value for key, value in row.items() if key.startswith(("nme", "under")) and value is not None}
    return metrics, [(picture, scores.detections[name][picture.name]) for picture in scores.kept]


def coco(scores: Scores, detector: str) -> dict[str, float]:
    """The OD API's COCO metrics of a detector on pictures of records."""
    metrics = coco_metrics.CocoMetrics()
    for name, labels in scores.labels.items():
        height, width = scores.sizes[name]
        truth = labels.boxes_yxyx_norm * np.asarray((height, width, height, width), np.float32)
        found = scores.detections[detector][name]
        metrics.add(name, truth, labels.weights == 0, found.boxes_xyxy_px[:, [1, 0, 3, 2]], found.scores)
    return metrics.result()


def box_errors(scores: Scores, detector: str) -> dict[str, float]:
    """How well boxes lie on the faces that the protocol says they find: their mean IoU, 'Boxes/iou', and the mean squared error of
    their corners' coordinates as fractions of the picture, 'Boxes/mse'. Faces in no subset do not count; {} where none is found."""
    overlaps, squares = [], []
    for name, truth in scores.truth.items():
        match = protocol.matches(scores.detections[detector][name], truth)
        counted = (match >= 0) & truth.member.any(1)
        found = scores.detections[detector][name].boxes_xyxy_px[match[counted]]
        wanted = boxes.xywh_to_xyxy(truth.boxes_xywh_px[counted])
        overlaps.append(boxes.iou(found, wanted).diagonal())
        squares.append(((found - wanted) / np.asarray(scores.sizes[name][::-1] * 2)) ** 2)
    if not sum(map(len, overlaps)):
        return {}
    return {"Boxes/iou": float(np.concatenate(overlaps).mean()), "Boxes/mse": float(np.concatenate(squares).mean())}


def contact_sheet(shown: list[tuple[Picture, protocol.Detections]]) -> np.ndarray:
    """What validate() returns as pictures, with their faces and what was found, as one RGB uint8 [H, W, 3]."""
    drawn = []
    for picture, found in shown:
        labels, sheet = picture.labels, picture.image
        truth = boxes.yxyx_norm_to_xyxy_px(labels.boxes_yxyx_norm, *sheet.shape[:2])
        sheet = drawing.draw_boxes(sheet, truth[labels.weights == 0], drawing.IGNORED)
        sheet = drawing.draw_boxes(sheet, truth[labels.weights > 0], drawing.TRUTH)
        keep = found.scores >= SURE
        points = None if found.landmarks_xy_px is None else found.landmarks_xy_px[keep]
        drawn.append(drawing.draw_boxes(sheet, found.boxes_xyxy_px[keep], scores=found.scores[keep], landmarks=points))
    return drawing.contact_sheet(drawn)


def decode(encoded: bytes) -> np.ndarray:
    """JPEG bytes -> RGB uint8 [H, W, 3], as stored."""
    with Image.open(io.BytesIO(encoded)) as picture:
        return np.asarray(picture.convert("RGB"))
