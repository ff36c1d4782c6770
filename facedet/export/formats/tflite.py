"""TFLite: float32, float16 and int8, each with its own suppression and raw, and for landmark detectors boxes alone.

The network is converted up to its heads: that far it runs in the file's precision. What follows, the detector's decode(), is few
operations in float32 in every file, so that boxes and scores are not rounded to 8 bits. Boxes are suppressed by
TFLite_Detection_PostProcess; it gives neither points nor indices, so that points need the built-in NON_MAX_SUPPRESSION_V4.
"""

import contextlib
import io
import logging
import os
import pathlib
import tempfile
import weakref

import numpy as np
import tensorflow as tf

from facedet.detectors.base import Detector
from facedet.export.formats import flatbuffer, metadata
from facedet.export.formats.base import BOXES, MEDIAPIPE, PRECISIONS, RAW, SUPPRESSED, Kind, details
from facedet.quantization.network import QuantizableNetwork
from facedet.runtime import mediapipe
from facedet.runtime.detector import OUTPUTS_RAW_LANDMARKS, OUTPUTS_WITH_NMS, OUTPUTS_WITH_NMS_LANDMARKS, FaceDetector

INPUT = "image"

_HARDWARE = {
    "int8": "CPU of a phone or board, NPU",
    "int8_raw": "CPU or NPU of a client that does its own NMS",
    "float16": "CPU, where int8 is not wanted",
    "float16_raw": "GPU (it refuses the NMS operator)",
    "float32": "CPU; the reference",
    "float32_raw": "GPU in full precision; conversion to other formats",
    **{f"{precision}_{BOXES}": "MediaPipe's ObjectDetector: boxes without landmarks" for precision in PRECISIONS},
    **{f"{precision}_{MEDIAPIPE}": "MediaPipe's FaceDetector" for precision in PRECISIONS},
}


class TFLite:
    """A formats.base.Format. Bodies are converted once a network and precision."""

    suffixes = (".tflite",)

    def __init__(self):
        self._bodies = weakref.WeakKeyDictionary()  # {quantizable: {precision: bytes}}

    def kinds(self, detector: Detector) -> list[Kind]:
        variants = (SUPPRESSED, RAW, BOXES) if detector.num_points else (SUPPRESSED, RAW)
        variants += (MEDIAPIPE,) if detector.is_mediapipes else ()
        return [Kind(precision, variant) for precision in PRECISIONS for variant in variants]

    def hardware(self, kind: Kind) -> str:
        return _HARDWARE[str(kind)]

    def write(self, detector: Detector, quantizable: QuantizableNetwork, kind: Kind) -> dict[str, bytes]:
        """Input 'image' [1, H, W, 3] RGB 0..255, uint8 for int8 and float32 else; normalization is inside.

        Outputs, in this order, in fractions of the input:
        detection_boxes [1, D, 4] (ymin, xmin, ymax, xmax), detection_classes [1, D], detection_scores [1, D], num_detections [1];
        with landmarks detection_boxes, detection_scores, detection_landmarks [1, D, 2 P] (y, x), num_detections int32 [1];
        raw raw_boxes [1, N, 4] (ycenter, xcenter, height, width), raw_scores [1, N, 1], and raw_landmarks [1, N, 2 P];
        mediapipe regressors [1, 896, 16], classificators [1, 896, 1]: runtime.mediapipe says which.
        """
        bodies = self._bodies.setdefault(quantizable, {})
        if kind.precision not in bodies:
            bodies[kind.precision] = _body(detector, quantizable, kind.precision)
        joined = flatbuffer.unpack(bodies[kind.precision])
        with_points = detector.num_points and kind.variant != BOXES
        if kind.variant == RAW:
            outputs = flatbuffer.join(joined, _tail(detector, lambda heads: _raw(detector, heads)))
            names = [name for name in OUTPUTS_RAW_LANDMARKS if name in outputs]
        elif kind.variant == MEDIAPIPE:
            outputs, names = flatbuffer.join(joined, _tail(detector, detector.mediapipe_outputs)), tuple(mediapipe.OUTPUTS)
        elif with_points:
            outputs = flatbuffer.join(joined, _tail(detector, lambda heads: _suppressed(detector, heads)))
            names = OUTPUTS_WITH_NMS_LANDMARKS
        else:
            outputs, names = _post_processed(joined, detector), OUTPUTS_WITH_NMS
        with_nms, limits = kind.variant in (SUPPRESSED, BOXES), detector.suppression
        description = f"facedet face detector, {kind.precision}, {'with NMS' if with_nms else 'raw'}"
        about = metadata.model_metadata(
            detector.input, names, limits.max_detections if with_nms else _boxes(joined, outputs[names[0]]), description
        )
        packed = flatbuffer.finish(joined, INPUT, {name: outputs[name] for name in names}, description, (metadata.NAME, about))
        return {".tflite": metadata.append_files(packed, details(detector, kind))}

    def open(self, path: pathlib.Path, score_threshold: float) -> FaceDetector:
        return FaceDetector(path, score_threshold, num_threads=2)


def _body(detector: Detector, quantizable: QuantizableNetwork, precision: str) -> bytes:
    """Image -> the heads' outputs by their names, as the converter writes it."""
    quantize, spec = precision == "int8", detector.input
    if quantize:
        quantizable.check_ranges()

    def body(image):
        if not spec.is_uniform:
            return quantizable.inference_graph(image, quantize, normalization=spec)
        # An int8 graph takes the picture as its quantized form, of whose grid 0..255 are the very values.
        return quantizable.inference_graph(image if quantize else spec.normalize(image), quantize)

    def settings(converter):
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize:
            converter.inference_input_type = tf.uint8

    return _convert(body, [tf.TensorSpec([1, *spec.size, 3], tf.float32, INPUT)], settings)


def _tail(detector: Detector, function):
    """function: of {head name: map}, to {output: tensor}; unpacked."""
    specs = {name: tf.TensorSpec([1, *tensor.shape[1:]], tf.float32, name) for name, tensor in detector.network.output.items()}
    return flatbuffer.unpack(_convert(lambda **heads: function(heads), specs, lambda converter: None))


def _raw(detector: Detector, heads: dict) -> dict:
    found = detector.decode(heads)
    outputs = {"raw_boxes": found.boxes_yxhw, "raw_scores": tf.expand_dims(found.scores, 2)}
    if detector.num_points:
        outputs["raw_landmarks"] = tf.reshape(found.points_yx, [1, found.points_yx.shape[1], -1])
    return outputs


def _suppressed(detector: Detector, heads: dict) -> dict:
    encoded, limits = detector.encode(heads), detector.suppression
    corners, scores = _corners(encoded), encoded.scores[0]
    kept, count = tf.raw_ops.NonMaxSuppressionV4(
        boxes=corners, scores=scores, max_output_size=limits.max_detections, iou_threshold=limits.iou_threshold,
        score_threshold=limits.score_threshold, pad_to_max_output_size=True,
    )  # fmt: skip
    return {
        "detection_boxes": tf.gather(corners, kept)[None],
        "detection_scores": tf.gather(scores, kept)[None],
        "detection_landmarks": tf.reshape(detector.decode_points(heads, kept), [1, limits.max_detections, 2 * detector.num_points]),
        "num_detections": tf.reshape(count, [1]),
    }


def _corners(encoded):
    """EncodedBoxes of one picture -> ymin, xmin, ymax, xmax [N, 4], as TFLite_Detection_PostProcess decodes them.

    Column by column: TFLite's operators run along the last axis, and along four numbers at a time they take four times as long.
    """
    codes, anchors = tf.transpose(encoded.encodings, [0, 2, 1]), np.ascontiguousarray(encoded.anchors_yxhw.T)[None]
    center_scales, side_scales = np.split(np.float32(encoded.scales)[:, None], 2)
    centers = codes[:, :2] * (anchors[:, 2:] / center_scales) + anchors[:, :2]
    half = tf.exp(codes[:, 2:] * (1 / side_scales)) * (anchors[:, 2:] / 2)
    return tf.transpose(tf.concat([centers - half, centers + half], 1), [0, 2, 1])[0]


def _post_processed(joined, detector: Detector) -> dict[str, int]:
    """Appends tail and TFLite_Detection_PostProcess to an unpacked body."""
    encoded = []

    def tail(heads):
        encoded[:] = [detector.encode(heads)]
        return {"encodings": encoded[0].encodings, "scores": tf.expand_dims(encoded[0].scores, 2)}

    outputs, limits = flatbuffer.join(joined, _tail(detector, tail)), detector.suppression
    options = {
        "max_detections": limits.max_detections,
        "max_classes_per_detection": 1,
        "detections_per_class": limits.max_detections,
        "use_regular_nms": False,
        "nms_score_threshold": float(limits.score_threshold),
        "nms_iou_threshold": float(limits.iou_threshold),
        "num_classes": 1,
        **{f"{side}_scale": float(scale) for side, scale in zip("yxhw", encoded[0].scales, strict=True)},
    }
    return flatbuffer.add_nms(joined, outputs["encodings"], outputs["scores"], encoded[0].anchors_yxhw, options)


def _boxes(joined, output: int) -> int:
    """Rows of an output that is not suppressed."""
    return int(joined.subgraphs[0].tensors[output].shape[1])


def _convert(function, specs, settings) -> bytes:
    function = tf.function(function, autograph=False)
    concrete = function.get_concrete_function(**specs) if isinstance(specs, dict) else function.get_concrete_function(*specs)
    module = tf.Module()
    module.serve = function
    with tempfile.TemporaryDirectory() as directory, _quiet():
        tf.saved_model.save(module, directory, signatures=concrete)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory)
        settings(converter)
        return converter.convert()


@contextlib.contextmanager
def _quiet():
    """The converter writes pages to standard error and to the log; its errors are exceptions."""
    level = logging.getLogger("tensorflow").level
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
        logging.getLogger("tensorflow").setLevel(level)
