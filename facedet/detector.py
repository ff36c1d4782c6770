"""FaceDetector: an exported .tflite and a picture -> boxes, scores, landmarks. numpy, Pillow and LiteRT; no TensorFlow."""

import dataclasses
import json
import os
import pathlib
import zipfile

import numpy as np
from PIL import Image

from facedet import boxes

DETAILS_FILE = "facedet.json"  # packed into every exported file beside its labels
OUTPUTS_WITH_NMS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
OUTPUTS_RAW = ("raw_boxes", "raw_scores")


class DetectorError(Exception):
    """A file or a picture that cannot be used: the message says why, and what would do."""


@dataclasses.dataclass(frozen=True)
class Faces:
    """What was found, best first.

    boxes: float32 [N, 4], xmin, ymin, xmax, ymax in pixels of the picture.  scores: float32 [N].
    landmarks: float32 [N, 5, 2], x, y in pixels, eyes, nose, mouth corners; None where the detector has none.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """RGB uint8 [H, W, 3] -> uint8 [height, width, 3]: stretched, each pixel the mean of those that it stands for."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))


class FaceDetector:
    """An exported face detector, with or without its NMS operator, float32, float16 or int8.

    path: a .tflite made by scripts/export_tflite.py.  score_threshold: least score of a face.  num_threads: of LiteRT.
    iou_threshold and max_detections are the export's own.  Raises DetectorError for a file that is none.
    """

    def __init__(self, path: str | os.PathLike, score_threshold: float = 0.5, num_threads: int = 1):
        from ai_edge_litert.interpreter import Interpreter

        self.path, self.score_threshold = pathlib.Path(path), score_threshold
        if not self.path.is_file():
            raise DetectorError(f"{self.path} does not exist.")
        try:
            with zipfile.ZipFile(self.path) as archive:
                self.details = json.loads(archive.read(DETAILS_FILE))
        except (zipfile.BadZipFile, KeyError) as error:
            raise DetectorError(f"{self.path} holds no {DETAILS_FILE}: it was not made by scripts/export_tflite.py.") from error
        try:
            self._interpreter = Interpreter(model_path=str(self.path), num_threads=num_threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise DetectorError(f"{self.path} cannot be opened: {error}") from error
        (self._input,) = self._interpreter.get_input_details()
        self.input_height, self.input_width = (int(side) for side in self._input["shape"][1:3])
        outputs = self._interpreter.get_output_details()
        names = OUTPUTS_WITH_NMS if len(outputs) == len(OUTPUTS_WITH_NMS) else OUTPUTS_RAW
        if len(outputs) != len(names):
            raise DetectorError(f"{self.path} has {len(outputs)} outputs; {OUTPUTS_WITH_NMS} or {OUTPUTS_RAW} are expected.")
        self._outputs = {name: output["index"] for name, output in zip(names, outputs, strict=True)}

    @property
    def has_nms(self) -> bool:
        """Whether the file holds its own non-maximum suppression; it is done in numpy otherwise."""
        return OUTPUTS_WITH_NMS[0] in self._outputs

    def detect(self, image: np.ndarray) -> Faces:
        """image: RGB uint8 [H, W, 3] of any size -> Faces in its pixels."""
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise DetectorError(f"image: {image.dtype} {list(image.shape)}; RGB uint8 [H, W, 3] is expected.")
        found, scores = self.detect_resized(resize(image, self.input_height, self.input_width))
        height, width = image.shape[:2]
        return Faces(boxes.clip_xyxy(boxes.yxyx_norm_to_xyxy_px(found, height, width), height, width).astype(np.float32), scores)

    def detect_resized(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """image: uint8 [input_height, input_width, 3] -> boxes_yxyx_norm float32 [N, 4] and scores float32 [N], best first."""
        interpreter = self._interpreter
        interpreter.set_tensor(self._input["index"], image[None].astype(self._input["dtype"]))
        interpreter.invoke()
        if not self.has_nms:
            raw_boxes, raw_scores = (interpreter.get_tensor(self._outputs[name])[0] for name in OUTPUTS_RAW)
            return self._suppress(raw_boxes, raw_scores[:, 0])
        # rows past num_detections are not initialized
        count = int(interpreter.get_tensor(self._outputs["num_detections"])[0])
        scores = interpreter.get_tensor(self._outputs["detection_scores"])[0, :count]
        found = interpreter.get_tensor(self._outputs["detection_boxes"])[0, :count]
        keep = np.flatnonzero(scores >= self.score_threshold)
        return found[keep], scores[keep]

    def _suppress(self, raw_boxes, scores):
        """raw_boxes [N, 4]: ycenter, xcenter, height, width in fractions."""
        keep = np.flatnonzero(scores >= max(self.score_threshold, self.details["score_threshold"]))
        center, half = raw_boxes[keep, :2], raw_boxes[keep, 2:] / 2
        corners, scores = np.concatenate([center - half, center + half], 1), scores[keep]
        kept = boxes.non_max_suppression(corners, scores, self.details["iou_threshold"], self.details["max_detections"])
        return corners[kept], scores[kept]
