"""A detector scored on the pictures of records: WIDER FACE's protocol and the OD API's COCO metrics."""

import io
import itertools

import numpy as np
from PIL import Image
from tqdm import tqdm

from facedet.data import records
from facedet.data.widerface import SUBSETS
from facedet.evaluation import protocol
from facedet.od_api import coco_metrics
from facedet.runtime import boxes, drawing

PROTOCOL = "WIDER FACE's own, IoU 0.5, single scale, pictures stretched to the input"


def validate(detector, paths: list[str], sample_1_of_n: int = 1, batch_size: int = 16, keep_pictures: int = 8):
    """detector: a CheckpointDetector whose score_threshold is low.  paths: record files.

    RecordsError names the picture that cannot be decoded. Returns (metrics {name: value}, pictures [(RGB, found Faces, labels)]). Where the records know no Easy/Medium/Hard,
    all faces that are not ignored form one set, 'WiderFace/all'.
    """
    examples = itertools.islice(records.read_examples(paths), 0, None, sample_1_of_n)
    coco, found, truth, pictures = coco_metrics.CocoMetrics(), {}, {}, []
    known = False
    progress = tqdm(desc="evaluate", unit="img", leave=False)
    while batch := list(itertools.islice(examples, batch_size)):
        images = [_decode_named(name, encoded) for name, encoded, _ in batch]
        for (name, _, labels), image, faces in zip(batch, images, detector.detect_batch(images), strict=True):
            height, width = image.shape[:2]
            found[name] = protocol.Detections(faces.boxes, faces.scores)
            truth[name] = ground_truth(labels, height, width)
            known |= labels.eval_subsets is not None
            scale = np.asarray((height, width, height, width), np.float32)
            coco.add(name, labels.boxes_yxyx_norm * scale, labels.weights == 0, faces.boxes[:, [1, 0, 3, 2]], faces.scores)
            if len(pictures) < keep_pictures:
                pictures.append((image, faces, labels))
        progress.update(len(batch))
    progress.close()
    results = protocol.evaluate(found, truth)
    subsets = SUBSETS if known else SUBSETS[-1:]
    metrics = {f"WiderFace/{subset if known else 'all'}": results[subset].average_precision for subset in subsets}
    return {**metrics, **coco.result()}, pictures


def contact_sheet(pictures) -> np.ndarray:
    """What validate() returns as pictures, with their faces and what was found, as one RGB uint8 [H, W, 3]."""
    drawn = []
    for image, faces, labels in pictures:
        truth = boxes.yxyx_norm_to_xyxy_px(labels.boxes_yxyx_norm, *image.shape[:2])
        real = labels.weights > 0
        sheet = drawing.draw_boxes(image, truth[~real], drawing.IGNORED)
        sheet = drawing.draw_boxes(sheet, truth[real], drawing.TRUTH)
        keep = faces.scores >= 0.5
        drawn.append(drawing.draw_boxes(sheet, faces.boxes[keep], scores=faces.scores[keep]))
    return drawing.contact_sheet(drawn)


def ground_truth(labels: records.Labels, height: int, width: int) -> protocol.GroundTruth:
    """What the protocol scores against: the official lists where the records hold them, else the faces not ignored."""
    if labels.eval_subsets is not None:
        member = (labels.eval_subsets[:, None] >> np.arange(len(SUBSETS)) & 1).astype(bool)
        return protocol.GroundTruth(labels.eval_boxes_xywh_px, member)
    corners = boxes.yxyx_norm_to_xyxy_px(labels.boxes_yxyx_norm, height, width)
    member = np.repeat((labels.weights > 0)[:, None], len(SUBSETS), 1)
    return protocol.GroundTruth(boxes.xyxy_to_xywh(corners), member)


def _decode_named(name: str, encoded: bytes) -> np.ndarray:
    try:
        return decode(encoded)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises for damaged files
        raise records.RecordsError(f"{name} cannot be decoded for the evaluation ({error}). Convert the data set again.") from error


def decode(encoded: bytes) -> np.ndarray:
    """JPEG bytes -> RGB uint8 [H, W, 3], as stored."""
    with Image.open(io.BytesIO(encoded)) as picture:
        return np.asarray(picture.convert("RGB"))
