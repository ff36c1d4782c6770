"""FaceDetector: an exported file and a picture -> boxes, scores, landmarks. numpy, Pillow and the file's backend; no TensorFlow."""

import json
import os
import pathlib

import numpy as np

from facedet.errors import DetectorError
from facedet.runtime import boxes, landmarks, mediapipe, shipped
from facedet.runtime.backends.base import DETAILS_FILE, BackendError, Output, backend_of
from facedet.runtime.faces import Faces
from facedet.runtime.input_spec import PAD_PLACES, InputSpec, Placement
from facedet.runtime.pictures import to_rgb
from facedet.runtime.suppression import MAX_DETECTIONS, suppress
from facedet.runtime.tiles import MOST as MOST_TILES
from facedet.runtime.tiles import cut, merge, whole

OUTPUTS_WITH_NMS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
OUTPUTS_WITH_NMS_LANDMARKS = ("detection_boxes", "detection_scores", "detection_landmarks", "num_detections")
OUTPUTS_RAW = ("raw_boxes", "raw_scores")
OUTPUTS_RAW_LANDMARKS = (*OUTPUTS_RAW, "raw_landmarks")
PRECISIONS = ("float32", "float16", "int8")
MAX_BYTES = 256 * 2**20  # of a file
MAX_THREADS = 64


class FaceDetector:
    """An exported face detector, with or without its own suppression and landmarks, float32, float16 or int8.

    path: a file made by scripts/export_tflite.py, or the short name of a shipped one: 224, 224-fast, 320, 320-fast.
    score_threshold: least score of a face, 0..1.  num_threads: of the backend, 1..64.
    iou_threshold and max_detections are the export's own.  Raises DetectorError for a file that is none.

    details: what the export packed beside the network.  input: InputSpec; the file takes RGB 0..255 and normalizes by itself.

    A .tflite is checked before LiteRT opens it (facedet.runtime.model_file), for LiteRT trusts what it reads. A check cannot know every fault
    of LiteRT: detect with a file from someone you do not trust in a child process, with a timeout and a limit of memory
    (subprocess, resource.setrlimit), so that a crash or a hang ends that process alone.
    """

    def __init__(self, path: str | os.PathLike = shipped.DEFAULT, score_threshold: float = 0.5, num_threads: int = 1):
        known = shipped.find(path) if isinstance(path, str) else None
        self.path, self.score_threshold = known or pathlib.Path(path), score_threshold
        if not _is_number(score_threshold, 0, 1):
            raise DetectorError(f"score_threshold: {score_threshold}; a number from 0 to 1 is expected.")
        if not _is_number(num_threads, 1, MAX_THREADS, int):
            raise DetectorError(f"num_threads: {num_threads}; a whole number from 1 to {MAX_THREADS} is expected.")
        if not self.path.is_file():
            raise DetectorError(
                f"{self.path} does not exist, and no shipped detector is called so: {', '.join(shipped.NAMES)}."
                if not self.path.exists()
                else f"{self.path} is no file."
            )
        try:
            backend = backend_of(self.path)
            files = {suffix: _read_bytes(path) for suffix, path in _paths(self.path, backend.suffixes).items()}
            self.details = _checked_details(self.path, backend.read_details(files))
        except BackendError as error:
            raise DetectorError(f"{self.path}: {error}") from error
        try:
            self._backend = backend(files, num_threads)
        except BackendError as error:
            raise DetectorError(f"{self.path} cannot be opened: {error} Export it anew, or take a whole copy.") from error
        self.input_height, self.input_width = self._backend.input_size
        self.input = _input_spec(self.details, *self._backend.input_size)
        found, expected = self._backend.outputs, self._expected_outputs()
        if list(found.items()) != list(expected.items()):
            raise DetectorError(f"{self.path} has outputs of shapes {_shown(found)}; {_shown(expected)} are expected.")

    def _expected_outputs(self) -> dict[str, Output]:
        if set(self._backend.outputs) == set(mediapipe.OUTPUTS):
            return {name: Output(mediapipe.OUTPUTS[name], np.dtype(np.float32)) for name in self._backend.outputs}
        most, columns, float32 = self.details["max_detections"], 2 * self.num_landmarks, np.dtype(np.float32)
        if not self.has_nms:
            count = next((output.shape[1] for output in self._backend.outputs.values() if len(output.shape) == 3), 0)
            shapes = dict(zip(OUTPUTS_RAW_LANDMARKS, ((1, count, 4), (1, count, 1), (1, count, columns)), strict=True))
            names = OUTPUTS_RAW_LANDMARKS if self.has_landmarks else OUTPUTS_RAW
        else:
            shapes = {name: (1, most) for name in OUTPUTS_WITH_NMS}
            shapes |= {"detection_boxes": (1, most, 4), "detection_landmarks": (1, most, columns), "num_detections": (1,)}
            names = OUTPUTS_WITH_NMS_LANDMARKS if self.has_landmarks else OUTPUTS_WITH_NMS
        expected = {name: Output(shapes[name], float32) for name in names}
        if self.has_nms and self.has_landmarks:
            expected["num_detections"] = Output((1,), np.dtype(np.int32))
        return expected

    @property
    def output_names(self) -> list[str]:
        """Of the file, in its order."""
        return list(self._backend.outputs)

    @property
    def has_nms(self) -> bool:
        """Whether the file holds its own non-maximum suppression; it is done in numpy otherwise."""
        return self.details["with_nms"]

    @property
    def has_landmarks(self) -> bool:
        """Whether the file gives points of each face."""
        return bool(self.num_landmarks)

    @property
    def num_landmarks(self) -> int:
        """How many points of each face, named in facedet.runtime.landmarks; 0 where there are none."""
        return self.details.get("landmarks", 0)

    def detect(self, image, channels: str = "RGB", tiles: int = 1) -> Faces | list[Faces]:
        """A picture -> Faces in its pixels; a list of pictures -> a list of Faces.

        image: a path; a PIL picture; an array of uint8 or uint16, RGB [H, W, 3], grey [H, W] or RGBA [H, W, 4]. Files and PIL pictures are
        turned as their EXIF says, 16 bits are scaled.  channels: 'BGR' for arrays of OpenCV.  tiles: n cuts the picture into n x n
        overlapping ones, searched beside the whole, for small faces in large pictures; n * n + 1 times the time.
        Raises DetectorError for anything else, and for a file that cannot be read.
        """
        if not _is_number(tiles, 1, MOST_TILES, int):
            raise DetectorError(f"tiles: {tiles}; a whole number from 1 to {MOST_TILES} is expected.")
        if isinstance(image, list | tuple):
            return [self._detect(to_rgb(one, channels, f"image {i} of the list"), tiles) for i, one in enumerate(image)]
        return self._detect(to_rgb(image, channels), tiles)

    def _detect(self, image: np.ndarray, n: int) -> Faces:
        if n == 1:
            return Faces(*self._found(image), image)
        height, width = image.shape[:2]
        parts = [self._found(image)]
        for tile in cut(height, width, n):
            top, left, bottom, right = tile
            found, scores, points = self._found(np.ascontiguousarray(image[top:bottom, left:right]))
            keep = whole(found, tile, height, width)
            shift = np.asarray((left, top), np.float32)
            parts.append((found[keep] + np.tile(shift, 2), scores[keep], None if points is None else points[keep] + shift))
        return Faces(*merge(parts, self.details["iou_threshold"]), image)

    def _found(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """RGB uint8 [H, W, 3] -> boxes_xyxy_px [N, 4], scores [N], landmarks [N, P, 2] or None."""
        prepared, placement = self.input.prepare(image)
        found, scores, points = _in_picture(placement, *self.detect_resized(prepared), *image.shape[:2])
        if not (np.isfinite(found).all() and (points is None or np.isfinite(points).all())):
            raise DetectorError(
                f"{self.path}: its network gives boxes or points that are no numbers. Export it anew, or take a whole copy."
            )
        return found, scores, points

    def detect_resized(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """image: uint8 [input_height, input_width, 3] -> what is found in fractions of it, best first.

        boxes_yxyx_norm float32 [N, 4], scores float32 [N], points_yx_norm float32 [N, P, 2] or None.
        """
        try:
            outputs = self._backend.run(image)
        except BackendError as error:
            raise DetectorError(f"{self.path}: {error}") from error
        if self.has_nms:
            count = int(outputs["num_detections"][0])  # the rows past it are not initialized
            found, scores = outputs["detection_boxes"][0, :count], outputs["detection_scores"][0, :count]
            keep = np.flatnonzero(scores >= self.score_threshold)
            points = outputs["detection_landmarks"][0, :count][keep].reshape(-1, self.num_landmarks, 2) if self.has_landmarks else None
            return found[keep], scores[keep], points
        limits = self.details
        least = max(self.score_threshold, limits["score_threshold"])
        if "regressors" in outputs:
            found, scores, points = mediapipe.decode(outputs["regressors"][0], outputs["classificators"][0])
        else:
            found, scores = outputs["raw_boxes"][0], outputs["raw_scores"][0, :, 0]
            points = outputs["raw_landmarks"][0].reshape(-1, self.num_landmarks, 2) if self.has_landmarks else None
        return suppress(found, scores, points, least, limits["iou_threshold"], limits["max_detections"])


def _in_picture(placement: Placement, boxes_yxyx_norm, scores, points_yx_norm, height: int, width: int) -> tuple:
    """Fractions of the input -> pixels of the picture that lies in it at `placement`; boxes are cut to the picture."""
    found = boxes.clip_xyxy(placement.to_picture(boxes_yxyx_norm, height, width), height, width).astype(np.float32)
    landmarks = None if points_yx_norm is None else placement.points_to_picture(points_yx_norm, height, width).astype(np.float32)
    return found, scores, landmarks


def _input_spec(details: dict, height: int, width: int) -> InputSpec:
    """The part of it that matters outside of a file: the size, and where a picture is put."""
    if "padding" not in details:
        return InputSpec(height, width)
    padding = details["padding"]
    return InputSpec(height, width, resize="pad", pad_place=padding["place"], pad_value=tuple(padding["fill"]))


def _shown(outputs: dict[str, Output]) -> str:
    return ", ".join(f"{name} {list(output.shape)} {output.dtype}" for name, output in outputs.items())


def _paths(path: pathlib.Path, suffixes: tuple[str, ...]) -> dict[str, pathlib.Path]:
    """{suffix: file}: `path` itself of the first, the others beside it."""
    first, *others = suffixes
    paths = {first: path} | {suffix: path.with_suffix(suffix) for suffix in others}
    for beside in paths.values():
        if not beside.is_file():
            raise DetectorError(f"{beside} is missing: {path.name} needs it beside it.")
    return paths


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DetectorError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise DetectorError(f"{path} has more than {MAX_BYTES // 2**20} MiB: no detector of this project is so large.")
    return data


def _checked_details(path: pathlib.Path, packed: bytes) -> dict:
    """What the export packed beside the network: precision, with_nms, max_detections, score_threshold, iou_threshold.

    Where the detector has them, too: landmarks (their number), padding ({place, fill: RGB}; absent: pictures are stretched).
    """
    try:
        details = json.loads(packed)
    except (ValueError, RecursionError) as error:
        raise DetectorError(f"{path}: its {DETAILS_FILE} is damaged: {error}") from error
    fit = {
        "precision": lambda value: value in PRECISIONS,
        "with_nms": lambda value: isinstance(value, bool),
        "max_detections": lambda value: _is_number(value, 1, MAX_DETECTIONS, int),
        "score_threshold": lambda value: _is_number(value, 0, 1),
        "iou_threshold": lambda value: _is_number(value, 0, 1),
    }
    optional = {"landmarks": lambda value: type(value) is int and value in (0, *landmarks.NAMES), "padding": _is_padding}
    if not isinstance(details, dict):
        raise DetectorError(f"{path}: its {DETAILS_FILE} holds {str(details)[:40]}, no keys. Export the file anew.")
    for key, fits in (fit | optional).items():
        if not (fits(details[key]) if key in details else key in optional):
            raise DetectorError(f"{path}: {key} in its {DETAILS_FILE} is {str(details.get(key, 'absent'))[:40]}. Export the file anew.")
    return details


def _is_padding(value) -> bool:
    if not isinstance(value, dict) or value.keys() != {"place", "fill"} or value["place"] not in PAD_PLACES:
        return False
    fill = value["fill"]
    return isinstance(fill, list) and len(fill) == 3 and all(_is_number(channel, 0, 255, int) for channel in fill)


def _is_number(value, least, most, kind=(int, float)) -> bool:
    """Also of numpy's kinds; not NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return isinstance(value, kind) and not isinstance(value, bool) and least <= value <= most
