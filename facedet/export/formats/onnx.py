"""ONNX: float32, float16 and int8 (QDQ), each with its own suppression and raw. For onnxruntime, OpenCV's dnn, and conversion to others.

The network is written step by step (onnx_network); what follows, the detector's decode(), is float32 in every file and is converted from
TensorFlow. Boxes are suppressed by ONNX's NonMaxSuppression. What FaceDetector must know stands in the file's metadata_props.
"""

import contextlib
import json
import logging
import pathlib

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import TensorProto, compose, helper

from facedet.assign import codecs
from facedet.detectors.base import Detector
from facedet.export.formats import onnx_network
from facedet.export.formats.base import PRECISIONS, RAW, SUPPRESSED, Kind, NotConvertibleError, details
from facedet.export.formats.onnx_network import OPSET
from facedet.quantization.network import QuantizableNetwork
from facedet.runtime.backends.base import DETAILS_FILE
from facedet.runtime.detector import OUTPUTS_RAW_LANDMARKS, OUTPUTS_WITH_NMS, OUTPUTS_WITH_NMS_LANDMARKS, FaceDetector

BATCH = "batch"  # the name of the dimension that raw files leave open

_HARDWARE = {
    "int8": "CPU with onnxruntime",
    "float16": "CPU with onnxruntime, half the size, computed in float32",
    "float32": "CPU with onnxruntime; the reference",
}
_RAW = ", any batch, NMS by the client"


class ONNX:
    """A formats.base.Format."""

    suffixes = (".onnx",)

    def kinds(self, detector: Detector) -> list[Kind]:
        return [Kind(precision, variant) for precision in PRECISIONS for variant in (SUPPRESSED, RAW)]

    def hardware(self, kind: Kind) -> str:
        return _HARDWARE[kind.precision] + (_RAW if kind.variant == RAW else "")

    def write(self, detector: Detector, quantizable: QuantizableNetwork, kind: Kind) -> dict[str, bytes]:
        """Input 'image' [B, H, W, 3] RGB 0..255, uint8 for int8 and float32 else; normalization is inside. B: 1, in raw files any number.

        float16 stores the kernels so, and computes in float32. Outputs, float32, in this order, in fractions of the input:
        detection_boxes [1, D, 4] (ymin, xmin, ymax, xmax), detection_classes [1, D], detection_scores [1, D], num_detections [1];
        with landmarks detection_boxes, detection_scores, detection_landmarks [1, D, 2 P] (y, x), num_detections int32 [1];
        raw raw_boxes [B, N, 4] (ycenter, xcenter, height, width), raw_scores [B, N, 1], and raw_landmarks [B, N, 2 P].
        NotConvertibleError names a layer or an operator that has no form in ONNX.
        """
        if kind.precision == "int8":
            quantizable.check_ranges()
        raw = kind.variant == RAW
        model = raw_model(detector, quantizable, BATCH, kind.precision) if raw else _suppressed_model(detector, quantizable, kind.precision)
        model.doc_string = f"facedet face detector, {kind.precision}, {'raw' if raw else 'with NMS'}"
        helper.set_model_props(model, {DETAILS_FILE: json.dumps(details(detector, kind))})
        return {".onnx": model.SerializeToString(deterministic=True)}

    def open(self, path: pathlib.Path, score_threshold: float) -> FaceDetector:
        return FaceDetector(path, score_threshold, num_threads=2)


def raw_model(detector: Detector, quantizable: QuantizableNetwork, batch: int | str = 1, precision: str = "float32") -> onnx.ModelProto:
    """The raw file's graph: image [batch, H, W, 3] -> raw_boxes, raw_scores, and raw_landmarks where there are some."""

    def tail(heads):
        found = detector.decode(heads)
        outputs = {"raw_boxes": found.boxes_yxhw, "raw_scores": tf.expand_dims(found.scores, 2)}
        if detector.num_points:
            outputs["raw_landmarks"] = tf.reshape(found.points_yx, [-1, found.points_yx.shape[1], 2 * detector.num_points])
        return outputs

    model = _joined(detector, quantizable, precision, batch, tail)
    outputs = {output.name: output for output in model.graph.output}  # by the alphabet
    del model.graph.output[:]
    model.graph.output.extend(outputs[name] for name in OUTPUTS_RAW_LANDMARKS if name in outputs)
    return model


def _suppressed_model(detector: Detector, quantizable: QuantizableNetwork, precision: str) -> onnx.ModelProto:
    def tail(heads):
        found = detector.decode(heads)
        outputs = {"boxes": codecs.corners(found.boxes_yxhw), "scores": tf.expand_dims(found.scores, 1)}
        if detector.num_points:
            outputs["landmarks"] = tf.reshape(found.points_yx, [1, found.points_yx.shape[1], 2 * detector.num_points])
        return outputs

    model = _joined(detector, quantizable, precision, 1, tail)
    _add_suppression(model.graph, detector)
    return model


def _add_suppression(graph: onnx.GraphProto, detector: Detector) -> None:
    """boxes [1, N, 4], scores [1, 1, N] and landmarks [1, N, 2 P] -> the outputs of a file that suppresses.

    NonMaxSuppression gives as many as there are; the rows are filled up to their greatest number by the first box's.
    """
    limits, most, columns = detector.suppression, detector.suppression.max_detections, 2 * detector.num_points
    writer = onnx_network.GraphWriter()
    node, constant = writer.node, writer.constant
    bounds = {"most": np.int64([most]), "iou": np.float32([limits.iou_threshold]), "score": np.float32([limits.score_threshold])}
    bounds = [constant(f"suppression/{name}", values) for name, values in bounds.items()]
    found = node("NonMaxSuppression", ["boxes", "scores", *bounds], "suppression/found")  # [K, 3]: picture, class, box
    rows = node("Gather", [found, constant("suppression/column", np.int64(2))], "suppression/rows", axis=1)
    count = node("Shape", [rows], "suppression/count")
    missing = node("Sub", [constant("suppression/all", np.int64([most])), count], "suppression/missing")
    pads = node("Concat", [constant("suppression/none", np.int64([0])), missing], "suppression/pads", axis=0)
    filled = node("Pad", [rows, pads], "suppression/filled")
    rows = node("Reshape", [filled, constant("suppression/shape", np.int64([most]))], "suppression/fixed")
    node("Gather", ["boxes", rows], "detection_boxes", axis=1)
    flat = node("Reshape", ["scores", constant("suppression/flat", np.int64([1, -1]))], "suppression/scores")
    node("Gather", [flat, rows], "detection_scores", axis=1)
    kind = TensorProto.INT32 if detector.num_points else TensorProto.FLOAT  # as in .tflite
    node("Cast", [count], "num_detections", to=kind)
    shapes = {name: [1, most] for name in OUTPUTS_WITH_NMS} | {"detection_boxes": [1, most, 4], "num_detections": [1]}
    if detector.num_points:
        node("Gather", ["landmarks", rows], "detection_landmarks", axis=1)
        shapes["detection_landmarks"] = [1, most, columns]
    else:
        node("Identity", [constant("suppression/classes", np.zeros((1, most), np.float32))], "detection_classes")
    names = OUTPUTS_WITH_NMS_LANDMARKS if detector.num_points else OUTPUTS_WITH_NMS
    graph.node.extend(writer.nodes)
    graph.initializer.extend(writer.initializers)
    del graph.output[:]
    types = {name: TensorProto.FLOAT for name in names} | {"num_detections": kind}
    graph.output.extend(helper.make_tensor_value_info(name, types[name], shapes[name]) for name in names)


def _joined(detector: Detector, quantizable: QuantizableNetwork, precision: str, batch: int | str, tail) -> onnx.ModelProto:
    """The network and what follows it. tail: {head: map [batch, h, w, c]} -> {output: tensor}."""
    model = onnx_network.write(quantizable, detector.input, precision, batch)
    decoding = _converted(detector, batch, tail).graph
    taken = [(given.name, given.name) for given in decoding.input]
    graph = compose.merge_graphs(model.graph, decoding, taken, outputs=[output.name for output in decoding.output])
    graph.name = model.graph.name
    for output in graph.output:
        if isinstance(batch, str):
            output.type.tensor_type.shape.dim[0].dim_param = batch
    model.graph.CopyFrom(graph)
    onnx.checker.check_model(model, full_check=True)
    return model


def _converted(detector: Detector, batch: int | str, tail) -> onnx.ModelProto:
    """A function of the heads' maps, in plain TensorFlow, as a graph of inputs and outputs of their names."""
    rows = batch if isinstance(batch, int) else None
    specs = [tf.TensorSpec([rows, *tensor.shape[1:]], tf.float32, name) for name, tensor in detector.network.output.items()]
    function = tf.function(
        lambda *heads: tail(dict(zip(detector.network.output, heads, strict=True))), input_signature=specs, autograph=False
    )
    with _quiet():
        model, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=OPSET)
    for node in model.graph.node:
        if node.domain or not onnx.defs.has(node.op_type):
            raise NotConvertibleError(f"TensorFlow's operator {node.op_type} ({node.name}) in the detector's decode() has no form in ONNX.")
    return model


@contextlib.contextmanager
def _quiet():
    """tf2onnx logs each pass of its optimizers."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
