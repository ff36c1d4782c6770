"""The OD API's COCO detection metrics over one set of pictures."""

import contextlib
import io

import numpy as np
from object_detection.core import standard_fields
from object_detection.metrics import coco_evaluation

_GROUNDTRUTH, _DETECTED = standard_fields.InputDataFields, standard_fields.DetectionResultFields


class CocoMetrics:
    """Adds pictures one by one; result() gives the metrics by the OD API's names. Ignored faces count as crowd."""

    def __init__(self):
        self._evaluator = coco_evaluation.CocoDetectionEvaluator([{"id": 1, "name": "face"}])

    def add(self, name: str, truth_yxyx_px: np.ndarray, ignored: np.ndarray, found_yxyx_px: np.ndarray, scores: np.ndarray) -> None:
        """truth [M, 4] and found [N, 4]: ymin, xmin, ymax, xmax in pixels; ignored bool [M]; scores [N]."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._evaluator.add_single_ground_truth_image_info(
                name,
                {
                    _GROUNDTRUTH.groundtruth_boxes: truth_yxyx_px.astype(np.float32),
                    _GROUNDTRUTH.groundtruth_classes: np.ones(len(truth_yxyx_px), np.int64),
                    _GROUNDTRUTH.groundtruth_is_crowd: ignored.astype(np.int64),
                },
            )
            self._evaluator.add_single_detected_image_info(
                name,
                {
                    _DETECTED.detection_boxes: found_yxyx_px.astype(np.float32),
                    _DETECTED.detection_scores: scores.astype(np.float32),
                    _DETECTED.detection_classes: np.ones(len(scores), np.int64),
                },
            )

    def result(self) -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):
            return {name: float(value) for name, value in self._evaluator.evaluate().items()}
