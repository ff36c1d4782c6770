"""A quantizable network -> .tflite graphs: float32, float16 and int8, each with its NMS operator and raw.

The network is converted up to its heads, level by level: that far it runs in the file's precision. What follows is few
operations in float32 in every file, so that boxes and scores are not rounded to 8 bits, and the levels of a pyramid keep
a range of their own: reshape, concatenate, sigmoid, and decode (raw) or TFLite_Detection_PostProcess.
"""

import contextlib
import io
import logging
import os
import tempfile

import numpy as np
import tensorflow as tf

from facedet.export.formats import flatbuffer, metadata
from facedet.runtime.detector import OUTPUTS_RAW, OUTPUTS_WITH_NMS

PRECISIONS = ("float32", "float16", "int8")
INPUT = "image"


def convert(model, quantizable, precision: str, with_nms: bool, nms: dict) -> bytes:
    """One graph. Input 'image' [1, H, W, 3] RGB 0..255, uint8 for int8 and float32 else; normalization is inside.

    model: detection_model.FunctionalSSD.  nms: {max_detections, score_threshold, iou_threshold}.
    With NMS the outputs are detection_boxes [1, D, 4] (ymin, xmin, ymax, xmax, 0..1), detection_classes [1, D],
    detection_scores [1, D], num_detections [1]; raw they are raw_boxes [1, N, 4] (ycenter, xcenter, height, width, 0..1) and
    raw_scores [1, N, 1].
    """
    body = flatbuffer.unpack(_body(model, quantizable, precision))
    tail = flatbuffer.unpack(_tail(model, with_nms))
    outputs = flatbuffer.join(body, tail)
    if with_nms:
        options = {
            "max_detections": nms["max_detections"],
            "max_classes_per_detection": 1,
            "detections_per_class": nms["max_detections"],
            "use_regular_nms": False,
            "nms_score_threshold": float(nms["score_threshold"]),
            "nms_iou_threshold": float(nms["iou_threshold"]),
            "num_classes": model.num_classes,
            **{f"{side}_scale": float(scale) for side, scale in zip("yxhw", box_scales(model), strict=True)},
        }
        outputs = flatbuffer.add_nms(body, outputs["encodings"], outputs["scores"], anchors_yxhw(model), options)
    names = OUTPUTS_WITH_NMS if with_nms else OUTPUTS_RAW
    kind = "with NMS" if with_nms else "raw"
    description = f"facedet face detector, {precision}, {kind}"
    about = metadata.model_metadata(*model.input_size, with_nms, len(anchors_yxhw(model)), description)
    packed = flatbuffer.finish(body, INPUT, {name: outputs[name] for name in names}, description, (metadata.NAME, about))
    return metadata.append_files(packed, {"precision": precision, "with_nms": with_nms, **nms})


def anchors_yxhw(model) -> np.ndarray:
    """float32 [N, 4]: ycenter, xcenter, height, width in fractions of the input."""
    corners = model.anchors.get().numpy()
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)


def box_scales(model) -> tuple[float, float, float, float]:
    """The box coder's factors of ty, tx, th, tw."""
    return tuple(model._box_coder._scale_factors or (1.0, 1.0, 1.0, 1.0))


def _body(model, quantizable, precision: str) -> bytes:
    """Image -> the heads' outputs, 'box_<level>' and 'class_<level>', as the converter writes it."""
    quantize = precision == "int8"
    if quantize:
        quantizable.check_ranges()
    heads = _heads(model)

    def body(image):
        # An int8 graph takes the picture as its quantized form of -1..1, of which uint8 0..255 is the very grid.
        normalized = image if quantize else image * (2.0 / 255.0) - 1.0
        tensors = quantizable.inference_graph(normalized, quantize, [tensor for _, tensor in heads])
        return {name: tensor for (name, _), tensor in zip(heads, tensors, strict=True)}

    spec = tf.TensorSpec([1, *model.input_size, 3], tf.float32, INPUT)

    def settings(converter):
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize:
            converter.inference_input_type = tf.uint8

    return _convert(body, [spec], settings)


def _tail(model, with_nms: bool) -> bytes:
    """The heads' outputs -> encodings [1, N, 4] and scores [1, N, C], or decoded boxes [1, N, 4] and scores."""
    heads = _heads(model)
    background = int(model._add_background_class)
    anchors, scales = anchors_yxhw(model)[None], np.asarray(box_scales(model), np.float32)
    columns = {"box": 4, "class": model.num_classes + background}

    def tail(**levels):
        joined = {}
        for kind in columns:
            parts = [tf.reshape(levels[name], [1, -1, columns[kind]]) for name, _ in heads if name.startswith(kind)]
            joined[kind] = tf.concat(parts, 1) if len(parts) > 1 else parts[0]
        scores = model._score_conversion_fn(joined["class"])
        scores = scores[:, :, 1:] if background else scores
        if with_nms:
            return {"encodings": joined["box"], "scores": scores}
        centers = joined["box"][:, :, :2] * (anchors[:, :, 2:] / scales[:2]) + anchors[:, :, :2]
        sizes = tf.exp(joined["box"][:, :, 2:] * (1.0 / scales[2:])) * anchors[:, :, 2:]
        return {"raw_boxes": tf.concat([centers, sizes], 2), "raw_scores": scores}

    specs = {name: tf.TensorSpec([1, *tensor.shape[1:]], tf.float32, name) for name, tensor in heads}
    return _convert(tail, specs, lambda converter: None)


def _heads(model) -> list[tuple]:
    """('box_<level>' or 'class_<level>', output of that head), level by level."""
    levels = range(len(model.anchors_per_location))
    return [(f"{kind}_{i}", model.network.get_layer(f"{kind}_head_{i}").output) for i in levels for kind in ("box", "class")]


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
