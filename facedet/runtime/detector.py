"""FaceDetector: an exported .tflite and a picture -> boxes, scores, landmarks. numpy, Pillow and LiteRT; no TensorFlow."""

import dataclasses
import io
import json
import lzma
import os
import pathlib
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageOps

from facedet.runtime import boxes, model_file

DETAILS_FILE = "facedet.json"  # packed into every exported file beside its labels
OUTPUTS_WITH_NMS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
OUTPUTS_RAW = ("raw_boxes", "raw_scores")
PRECISIONS = ("float32", "float16", "int8")
MAX_BYTES, MAX_DETAILS_BYTES = 256 * 2**20, 64 * 2**10  # of a file, of the details in it
MAX_THREADS = 64


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


def read_picture(path: str | os.PathLike) -> np.ndarray:
    """A picture file -> RGB uint8 [H, W, 3], upright as its EXIF says; 16-bit grey is scaled to 8 bits.

    Raises DetectorError for what is no file, cannot be decoded, or is past Pillow's limit of pixels.
    """
    path = pathlib.Path(path)
    if not path.is_file():  # a pipe would be waited on for ever
        raise DetectorError(f"{path} is no file.")
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode[0] not in "IF":
                return np.asarray(picture.convert("RGB"))
            grey = np.asarray(picture)
    except Exception as error:  # a damaged file leads Pillow to errors of every type: struct, zlib, Value, Syntax, Index, ...
        raise DetectorError(f"{path} cannot be read as a picture: {error or type(error).__name__}") from error
    if grey.dtype.kind == "f" or grey.min() < 0 or grey.max() > 65535:
        raise DetectorError(f"{path}: grey values of {grey.dtype} from {grey.min()} to {grey.max()}; save it with 8 or 16 bits.")
    return np.repeat((grey.astype(np.uint32) // 257).astype(np.uint8)[:, :, None], 3, axis=2)


class FaceDetector:
    """An exported face detector, with or without its NMS operator, float32, float16 or int8.

    path: a .tflite made by scripts/export_tflite.py.  score_threshold: least score of a face, 0..1.  num_threads: of LiteRT, 1..64.
    iou_threshold and max_detections are the export's own.  Raises DetectorError for a file that is none.

    A file is checked before LiteRT opens it (facedet.runtime.model_file), for LiteRT trusts what it reads. A check cannot know every fault of
    LiteRT: detect with a file from someone you do not trust in a child process, with a timeout and a limit of memory
    (subprocess, resource.setrlimit), so that a crash or a hang ends that process alone.
    """

    def __init__(self, path: str | os.PathLike, score_threshold: float = 0.5, num_threads: int = 1):
        from ai_edge_litert.interpreter import Interpreter

        self.path, self.score_threshold = pathlib.Path(path), score_threshold
        if not _is_number(score_threshold, 0, 1):
            raise DetectorError(f"score_threshold: {score_threshold}; a number from 0 to 1 is expected.")
        if not _is_number(num_threads, 1, MAX_THREADS, int):
            raise DetectorError(f"num_threads: {num_threads}; a whole number from 1 to {MAX_THREADS} is expected.")
        if not self.path.is_file():
            raise DetectorError(f"{self.path} does not exist." if not self.path.exists() else f"{self.path} is no file.")
        data = _read_bytes(self.path)
        self.details = _read_details(self.path, data)
        try:
            model_file.check(data)
            self._interpreter = Interpreter(model_content=data, num_threads=num_threads)  # the bytes that were checked
            self._interpreter.allocate_tensors()
        except (model_file.ModelFileError, ValueError, RuntimeError) as error:
            raise DetectorError(f"{self.path} cannot be opened: {error} Export it anew, or take a whole copy.") from error
        (self._input,) = self._interpreter.get_input_details()
        self.input_height, self.input_width = (int(side) for side in self._input["shape"][1:3])
        outputs = self._interpreter.get_output_details()
        names = OUTPUTS_WITH_NMS if self.details["with_nms"] else OUTPUTS_RAW
        shapes = [list(output["shape"]) for output in outputs]
        count, most = shapes[0][1] if shapes and len(shapes[0]) == 3 else 0, self.details["max_detections"]
        expected = [[1, most, 4], [1, most], [1, most], [1]] if self.details["with_nms"] else [[1, count, 4], [1, count, 1]]
        if shapes != expected or any(output["dtype"] != np.float32 for output in outputs):
            raise DetectorError(f"{self.path} has outputs of shapes {shapes}; {names} of {expected}, float32, are expected.")
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
        try:
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise DetectorError(f"{self.path}: the network fails: {error}") from error
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


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DetectorError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise DetectorError(f"{path} has more than {MAX_BYTES // 2**20} MiB: no detector of this project is so large.")
    return data


def _read_details(path: pathlib.Path, data: bytes) -> dict:
    """What the export packed beside the network: precision, with_nms, max_detections, score_threshold, iou_threshold."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(DETAILS_FILE) as file:
            packed = file.read(MAX_DETAILS_BYTES)
        details = json.loads(packed)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DetectorError(f"{path} holds no {DETAILS_FILE}: it was not made by scripts/export_tflite.py.") from error
    except (
        ValueError,
        RuntimeError,
        NotImplementedError,
        EOFError,
        OSError,
        OverflowError,
        struct.error,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        raise DetectorError(f"{path}: its {DETAILS_FILE} is damaged: {error}") from error
    fit = {
        "precision": lambda value: value in PRECISIONS,
        "with_nms": lambda value: isinstance(value, bool),
        "max_detections": lambda value: _is_number(value, 1, model_file.MAX_DETECTIONS, int),
        "score_threshold": lambda value: _is_number(value, 0, 1),
        "iou_threshold": lambda value: _is_number(value, 0, 1),
    }
    for key, fits in fit.items():
        if not isinstance(details, dict) or key not in details or not fits(details[key]):
            value = details.get(key, "absent") if isinstance(details, dict) else "absent"
            raise DetectorError(f"{path}: {key} in its {DETAILS_FILE} is {str(value)[:40]}. Export the file anew.")
    return details


def _is_number(value, least, most, kind=(int, float)) -> bool:
    """Also of numpy's kinds; not NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return isinstance(value, kind) and not isinstance(value, bool) and least <= value <= most
