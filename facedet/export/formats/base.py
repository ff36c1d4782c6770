"""What a format of exported files is to the export: the kinds of file that it has, how one is written, and how it is opened."""

import dataclasses
import pathlib
from typing import Protocol

from facedet.detectors.base import Detector
from facedet.quantization.network import QuantizableNetwork
from facedet.runtime.detector import FaceDetector

# What a file gives: its own suppression ('', with landmarks where the detector has some), boxes and points for a client that
# suppresses ('raw'), boxes alone by the operator that MediaPipe's ObjectDetector wants ('boxes', of landmark detectors), or codes and
# logits as MediaPipe's FaceDetector wants them ('mediapipe', of detectors that are is_mediapipes).
SUPPRESSED, RAW, BOXES, MEDIAPIPE = "", "raw", "boxes", "mediapipe"
PRECISIONS = ("float32", "float16", "int8")


class NotConvertibleError(ValueError):
    """A network that a format cannot hold: the message names the layer or the operator."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One file of an export. variant: SUPPRESSED, RAW, BOXES or MEDIAPIPE."""

    precision: str
    variant: str

    def __str__(self) -> str:
        return f"{self.precision}_{self.variant}" if self.variant else self.precision


def chosen(kinds: list[Kind], files: str) -> list[Kind]:
    """Of a format's kinds those of `files`: "all", "int8", or "shipped": int8, and what GPUs take."""
    gpu = Kind("float16", RAW)
    return [kind for kind in kinds if files == "all" or kind.precision == "int8" or (files == "shipped" and kind == gpu)]


class Format(Protocol):
    """suffixes: of the files that one kind is, the one that is opened first: ('.tflite',), or ('.param', '.bin')."""

    suffixes: tuple[str, ...]

    def kinds(self, detector: Detector) -> list[Kind]:
        """The files of a detector."""

    def hardware(self, kind: Kind) -> str:
        """What a file of the kind is for, in the model card."""

    def write(self, detector: Detector, quantizable: QuantizableNetwork, kind: Kind) -> dict[str, bytes]:
        """{suffix: a whole file}. int8 needs the ranges of `quantizable`: NotQuantizableError where one was never collected."""

    def open(self, path: pathlib.Path, score_threshold: float) -> FaceDetector:
        """path: of the first suffix, the others beside it. For parity."""


def details(detector: Detector, kind: Kind) -> dict:
    """What FaceDetector must know of a file, packed into it as DETAILS_FILE."""
    limits = detector.suppression
    told = {
        "precision": kind.precision,
        "with_nms": kind.variant in (SUPPRESSED, BOXES),
        "max_detections": limits.max_detections,
        "score_threshold": limits.score_threshold,
        "iou_threshold": limits.iou_threshold,
    }
    if detector.input.resize == "pad":
        told["padding"] = {"place": detector.input.pad_place, "fill": list(detector.input.fill)}
    if detector.num_points and kind.variant != BOXES:
        told["landmarks"] = detector.num_points
    return told
