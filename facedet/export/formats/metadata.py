"""TFLite metadata: what MediaPipe Tasks and FaceDetector read from an exported file.

Schemas: mediapipe/tasks/metadata/{metadata_schema,object_detector_metadata_schema}.fbs. The generated classes come with
mediapipe only, so the tables are written by their field numbers, which the schemas promise never to change.
"""

import dataclasses
import io
import json
import zipfile

import flatbuffers

from facedet.runtime.detector import DETAILS_FILE
from facedet.runtime.input_spec import InputSpec

NAME = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
_MIN_PARSER_VERSION = "1.5.0"
_RGB, _BOUNDARIES, _AXIS_LABELS, _VALUE_LABELS = 1, 1, 2, 3
_FEATURE, _IMAGE, _BOX = 1, 2, 3  # union ContentProperties


@dataclasses.dataclass(frozen=True)
class _Scalar:
    """A number of a table; kind is the builder's name of its type."""

    kind: str
    value: float


@dataclasses.dataclass(frozen=True)
class _Vector:
    kind: str
    values: tuple


@dataclasses.dataclass(frozen=True)
class _Bytes:
    data: bytes


def model_metadata(spec: InputSpec, outputs, num_boxes: int, description: str) -> bytes:
    """The ModelMetadata flatbuffer of a face detector. Pictures are RGB 0..255: nothing is left to normalize.

    outputs: their names, in order.  num_boxes: rows of them.
    """
    normalization = {0: 1, 1: {0: _Vector("Float32", (0.0,)), 1: _Vector("Float32", (1.0,))}}
    size = {0: _Scalar("Uint32", spec.width), 1: _Scalar("Uint32", spec.height)}
    image = {
        0: "image",
        1: "RGB, 0..255, stretched to the input" if spec.resize == "stretch" else f"RGB, 0..255, aspect kept, padded ({spec.pad_place})",
        3: {0: _Scalar("Uint8", _IMAGE), 1: {0: _Scalar("Uint8", _RGB), 1: size}},
        4: [{0: _Scalar("Uint8", normalization[0]), 1: normalization[1]}],
        5: {0: _Vector("Float32", (255.0,)), 1: _Vector("Float32", (0.0,))},
    }
    raw, for_mediapipe = outputs[0].startswith("raw"), "detection_classes" in outputs
    kind = _AXIS_LABELS if raw else _VALUE_LABELS  # of a tensor's columns, or of what it holds
    labels = [{0: LABELS_FILE, 1: "Name of the class.", 2: _Scalar("Uint8", kind)}]
    pair = {2: {0: _Scalar("Int32", 2), 1: _Scalar("Int32", 2)}} if not raw else {}
    told = {
        "detection_boxes": {0: "location", 1: "ymin, xmin, ymax, xmax, 0..1", 3: _box_content((1, 0, 3, 2), _BOUNDARIES) | pair},
        "detection_classes": {0: "category", 1: "Always 0, face.", 3: _feature_content() | pair, 6: labels},
        "detection_scores": {0: "score", 1: "0..1, best first.", 3: _feature_content() | pair},
        "detection_landmarks": {0: "landmarks", 1: "y, x of each point, 0..1", 3: _feature_content() | pair},
        "num_detections": {0: "number of detections", 1: "How many of the rows hold a detection.", 3: _feature_content()},
        "raw_boxes": {0: "location", 1: "ycenter, xcenter, height, width, 0..1", 3: _box_content((1, 0, 3, 2), _BOUNDARIES)},
        "raw_scores": {0: "score", 1: "0..1", 3: _feature_content(), 6: labels},
        "regressors": {0: "regressors", 1: "x, y, width, height and six points x, y, px", 3: _feature_content()},
        "classificators": {0: "classificators", 1: "Logits.", 3: _feature_content()},
        "raw_landmarks": {0: "landmarks", 1: "y, x of each point, 0..1", 3: _feature_content()},
    }
    graph = {2: [image], 3: [told[name] for name in outputs]}
    if for_mediapipe:
        graph[8] = [{0: "detection_result", 1: [output[0] for output in graph[3][:3]]}]
    elif raw:
        graph[9] = [{0: "DETECTOR_METADATA", 1: _Bytes(_decoding(num_boxes))}]
    root = {0: "facedet", 1: description, 3: [graph], 5: "Weights: research only (WIDER FACE).", 7: _MIN_PARSER_VERSION}
    return _finish(root, b"M001")


def _decoding(num_boxes: int) -> bytes:
    """ObjectDetectorOptions that leave boxes as they are: MediaPipe decodes raw boxes by anchors, ours are decoded already."""
    anchor = {slot: _Scalar("Float32", value) for slot, value in enumerate((0.0, 0.0, 1.0, 1.0))}
    integers = {slot: _Scalar("Int32", value) for slot, value in enumerate((1, num_boxes, 4, 0, 0, 2))}
    scales = {slot: _Scalar("Float32", 1.0) for slot in range(6, 10)}
    flags = {10: _Scalar("Bool", False), 11: _Scalar("Bool", False)}
    return _finish({0: _MIN_PARSER_VERSION, 1: {0: {0: [anchor] * num_boxes}}, 2: integers | scales | flags}, b"V001")


def append_files(model: bytes, details: dict) -> bytes:
    """The model with its labels and facedet's own details as files of a zip behind it, the last step of an export."""
    stream = io.BytesIO(model)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, text in ((LABELS_FILE, "face\n"), (DETAILS_FILE, json.dumps(details, indent=1) + "\n")):
            archive.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()


def _box_content(index, kind) -> dict:
    return {0: _Scalar("Uint8", _BOX), 1: {0: _Vector("Uint32", index), 1: _Scalar("Uint8", kind), 2: _Scalar("Uint8", 0)}}


def _feature_content() -> dict:
    return {0: _Scalar("Uint8", _FEATURE), 1: {}}


def _finish(root: dict, identifier: bytes) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, root), file_identifier=identifier)
    return bytes(builder.Output())


def _write(builder: flatbuffers.Builder, node) -> int:
    """Writes a string, a list, or a table given as {field number: value}; returns its offset."""
    if isinstance(node, str):
        return builder.CreateString(node)
    if isinstance(node, _Bytes):
        builder.StartVector(1, len(node.data), 16)
        builder.head -= len(node.data)
        builder.Bytes[builder.Head() : builder.Head() + len(node.data)] = node.data
        return builder.EndVector()
    if isinstance(node, _Vector):
        builder.StartVector(4, len(node.values), 4)
        for value in reversed(node.values):
            getattr(builder, f"Prepend{node.kind}")(value)
        return builder.EndVector()
    if isinstance(node, list):
        offset_of = {id(item): _write(builder, item) for item in {id(item): item for item in node}.values()}
        offsets = [offset_of[id(item)] for item in node]  # what stands in a list many times is written once
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()
    children = {slot: _write(builder, value) for slot, value in node.items() if not isinstance(value, _Scalar)}
    builder.StartObject(max(node, default=-1) + 1)
    for slot, value in node.items():
        if slot in children:
            builder.PrependUOffsetTRelativeSlot(slot, children[slot], 0)
        else:
            getattr(builder, f"Prepend{value.kind}Slot")(slot, value.value, None)
    return builder.EndObject()
