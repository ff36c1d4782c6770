"""The check of a .tflite before LiteRT opens it. Unchecked, most of these end the process by a signal, hang it, or raise at random."""

import importlib.util
import random

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from conftest import ROOT, SHIPPED
from flatbuffers import Builder, flexbuffers

from facedet.runtime import model_file

NARROW = SHIPPED.parent / "ssd_mobilenet_v2_narrow_quantized_224x224_widerface"
KINDS = ["int8", "int8_raw"]
_spec = importlib.util.spec_from_file_location("tflite_mutations", ROOT / "tests" / "faults" / "tflite_mutations.py")
tflite_mutations = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tflite_mutations)


def content(kind: str) -> bytes:
    (path,) = NARROW.glob(f"*_{kind}.tflite")
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole():
    return content("int8")


def changed(whole: bytes, change) -> bytes:
    """Written anew after change(model, graph): a sound flatbuffer of an unsound model."""
    model = schema.ModelT.InitFromPackedBuf(whole, 0)
    change(model, model.subgraphs[0])
    builder = Builder(2**20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def nms(**changes):
    def change(model, graph):
        operator = graph.operators[-1]
        options = {**flexbuffers.Loads(bytes(operator.customOptions)), **changes}
        builder = flexbuffers.Builder()
        with builder.Map():
            for key, value in options.items():
                builder.Key(key)
                {bool: builder.Bool, int: builder.Int, float: builder.Float}[type(value)](value)
        operator.customOptions = np.frombuffer(bytes(builder.Finish()), np.uint8)

    return change


def attribute(name, value, of=lambda graph: graph.operators[2]):
    return lambda model, graph: setattr(of(graph), name, value)


def options_of(graph):
    return graph.operators[2].builtinOptions


HOSTILE = {
    "an operator's input index": (attribute("inputs", [100_000, 134, 44]), "operator 2: .*100000"),
    "a negative input index": (attribute("inputs", [-1, 134, 44]), "operator 2: .*-1"),
    "an opcode out of range": (attribute("opcodeIndex", 99), "operator 2: code 99 of 11"),
    "an output made before": (attribute("outputs", [136]), "operator 2: .*made already"),
    "a huge input": (attribute("shape", [1, 2**15, 2**15, 3], lambda graph: graph.tensors[0]), "tensor 0: shape .*too large"),
    "a shape below nothing": (attribute("shape", [1, -224, 224, 3], lambda graph: graph.tensors[0]), "tensor 0: shape"),
    "data shorter than its shape": (attribute("shape", [16, 3, 3, 300], lambda graph: graph.tensors[134]), "tensor 134: 432 bytes"),
    "a buffer out of range": (attribute("buffer", 10_000, lambda graph: graph.tensors[134]), "tensor 134: buffer 10000"),
    "a scale of NaN": (lambda model, graph: graph.tensors[135].quantization.__setattr__("scale", [float("nan")]), "tensor 135: scales"),
    "a scale of 0": (lambda model, graph: graph.tensors[135].quantization.__setattr__("scale", [0.0]), "tensor 135: scales"),
    "a scale that LiteRT cannot hold": (
        lambda model, graph: graph.tensors[137].quantization.__setattr__("scale", [1e-9]),
        "operator 2 .CONV_2D.: it multiplies by",
    ),
    "a stride of 0": (attribute("strideW", 0, options_of), "operator 2 .CONV_2D."),
    "two graphs": (lambda model, graph: model.subgraphs.append(graph), "2 graphs"),
    "no input": (lambda model, graph: setattr(graph, "inputs", []), "input"),
    "NMS of many": (nms(max_detections=2**31), "max_detections 2147483648"),
    "NMS of a negative number": (nms(max_detections=-1), "max_detections -1"),
    "NMS of many classes": (nms(num_classes=1000), "num_classes 1000"),
    "NMS scaled by 0": (nms(y_scale=0.0), "y_scale 0.0"),
    "NMS of a threshold that is none": (nms(nms_iou_threshold=float("nan")), "nms_iou_threshold nan"),
    "NMS of other options": (nms(more=1), "options of another form"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_is_refused_by_name(whole, name):
    change, message = HOSTILE[name]
    with pytest.raises(model_file.ModelFileError, match=message):
        model_file.check(changed(whole, change))


def test_the_shipped_files_pass(whole):
    paths = sorted(SHIPPED.parent.glob("*/*.tflite"))
    assert len(paths) > 10
    for path in paths:
        model_file.check(path.read_bytes())
    model_file.check(changed(whole, lambda model, graph: None))  # nor does writing it anew change anything


# found by the long run: before the check, a signal 6 or 11 each
CRASHED = [13, 236, 312, 415, 482, 638, 662, 732]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_work_or_are_refused(kind):
    """Each in a child process; the long run of thousands is the torture suite's."""
    data, wrong, refused = content(kind), {}, 0
    for seed in [*CRASHED, *range(1000, 1060)]:
        said, damaged = tflite_mutations.mutate(data, random.Random(seed))
        outcome = tflite_mutations.run(damaged)
        refused += outcome.startswith("refused")
        if outcome != "works" and not outcome.startswith("refused"):
            wrong[seed, said] = outcome
    assert not wrong
    assert 20 < refused < 68, refused  # neither everything nor nothing
