""".onnx files from anywhere: a detector or one sentence, never a crash, and what is said where onnxruntime is missing."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from conftest import ROOT
from onnx import TensorProto, helper, numpy_helper

from facedet import DetectorError, FaceDetector

DETAILS = {"precision": "float32", "with_nms": False, "max_detections": 5, "score_threshold": 0.1, "iou_threshold": 0.5}


def model(details=DETAILS, shape=("batch", 8, 6, 3), kind=TensorProto.FLOAT, told_rows=4, extra=()) -> onnx.ModelProto:
    """Four boxes in a row, of the mean of the reds: every value of a picture counts."""
    constants = {
        "axes": np.int64([1, 2]), "column": np.int64([0, 1]), "red": np.int64([0]), "scale": np.float32(1 / 255),
        "boxes": np.float32([[[0.5, 0.1 + 0.2 * i, 0.5, 0.15] for i in range(4)]]), "shape": np.int64([-1, 1, 1]), "ones": np.ones((1, 4, 1), np.float32),
        "none": np.zeros((1, 1, 4), np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Gather", ["mean", "red"], ["reds"], axis=1),
        helper.make_node("Mul", ["reds", "scale"], ["share"]),
        helper.make_node("Reshape", ["share", "shape"], ["each"]),
        helper.make_node("Mul", ["each", "ones"], ["raw_scores"]),
        helper.make_node("Mul", ["each", "none"], ["nothing"]),
        helper.make_node("Add", ["boxes", "nothing"], ["raw_boxes"]),
        *extra,
    ]
    outputs = [("raw_boxes", 4), ("raw_scores", 1)]
    graph = helper.make_graph(
        nodes, "face", [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], told_rows, columns]) for name, columns in outputs],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if details is not None:
        helper.set_model_props(made, {"other": "x", "facedet.json": details if isinstance(details, str) else json.dumps(details)})
    return made


@pytest.fixture
def write(tmp_path):
    def write(data):
        path = tmp_path / "face.onnx"
        path.write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
        return path

    return write


RED = np.full((30, 40, 3), (204, 0, 0), np.uint8)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.UINT8])
@pytest.mark.parametrize("batch", [1, "batch"])
def test_a_file_detects(write, kind, batch):
    path = write(model(kind=kind, shape=(batch, 8, 6, 3)))
    detector = FaceDetector(path.rename(path.with_suffix(".ONNX")))
    faces = detector.detect(RED)
    assert detector.details == DETAILS and (detector.input_height, detector.input_width) == (8, 6)
    np.testing.assert_allclose(faces.scores, [0.8] * 4, atol=1e-6)
    np.testing.assert_allclose(sorted(faces.boxes[:, 0]), [1, 9, 17, 25], atol=1e-4)
    assert len(detector.detect(RED[:, :, ::-1])) == 0  # no red


def test_a_missing_package_is_a_sentence(write, monkeypatch):
    monkeypatch.delitem(sys.modules, "facedet.runtime.backends.onnx_runtime", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DetectorError, match=r"\.onnx needs a package .*pip install onnxruntime"):
        FaceDetector(write(model()))


WRONG = {
    "another's": (model(None), "holds no facedet.json: it was not made by scripts/export_onnx.py"),
    "empty": (b"", "holds no facedet.json"),
    "no protocol buffer": (b"\xff" * 40, "no ONNX file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" * 9, "no ONNX file"),
    "damaged details": (model("{"), "facedet.json is damaged"),
    "a detail that is missing": (model({**DETAILS, "precision": 7}), "precision in its facedet.json is 7"),
    "two images": (model(shape=(2, 8, 6, 3)), r"one image \[1, height, width, 3\]"),
    "an open side": (model(shape=(1, "height", 6, 3)), r"one image \[1, height, width, 3\]"),
    "grey": (model(shape=(1, 8, 6, 1)), r"one image \[1, height, width, 3\]"),
    "doubles": (model(kind=TensorProto.DOUBLE), r"one image \[1, height, width, 3\]"),
    "an unknown operator": (model(extra=[helper.make_node("Teleport", ["image"], ["elsewhere"])]), "cannot be opened: .*Teleport"),
    "points that it says it has": (model({**DETAILS, "landmarks": 5}), "raw_landmarks .* are expected"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_detector_is_a_sentence(write, name, capfd):
    data, said = WRONG[name]
    with pytest.raises(DetectorError, match=said) as caught:
        FaceDetector(write(data))
    assert "\n" not in str(caught.value)
    told = capfd.readouterr()
    assert not told.out and not told.err  # onnxruntime says it through the error alone


def test_damaged_files_are_refused_or_run_but_never_end_the_process(write, tmp_path):
    """120 of them, cut or with some bytes changed; in a process of its own, which a crash would end."""
    code = """
import random, sys
import numpy as np
from facedet import DetectorError, FaceDetector
path, data, kept = sys.argv[1], open(sys.argv[1], "rb").read(), 0
for seed in range(120):
    generator, damaged = random.Random(seed), bytearray(data)
    if seed % 4 == 0:
        del damaged[len(data) * seed // 120 :]
    for _ in range(generator.choice([1, 2, 8]) if seed % 4 else 0):
        damaged[generator.randrange(len(damaged))] = generator.randrange(256)
    open(path, "wb").write(damaged)
    try:
        FaceDetector(path).detect(np.zeros((9, 9, 3), np.uint8))
        kept += 1
    except DetectorError:
        pass
print("alive", kept)
"""
    path = write(model())
    result = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, text=True, capture_output=True)
    assert result.returncode == 0, result.stderr[-2000:]
    alive, kept = result.stdout.split()
    assert alive == "alive" and 3 < int(kept) < 90
