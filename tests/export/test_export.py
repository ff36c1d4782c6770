"""The exported files: names, order, static shapes, metadata, the parity gate, and the GPU accelerator."""

import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
from conftest import MAIN_CONFIG, SHIPPED, config_text, run

from facedet.export.formats import flatbuffer, metadata

GPU_DRIVER = pathlib.Path("/usr/lib/chromium/vk_swiftshader_icd.json")  # of Debian's chromium-common, a GPU in software
FILES = [f"{precision}{variant}" for precision in ("float32", "float16", "int8") for variant in ("", "_raw", "_boxes")]
WITH_LANDMARKS = (
    ["detection_boxes", "detection_scores", "detection_landmarks", "num_detections"],
    [[1, 300, 4], [1, 300], [1, 300, 10], [1]],
)
BOXES_ALONE = (["detection_boxes", "detection_classes", "detection_scores", "num_detections"], [[1, 300, 4], [1, 300], [1, 300], [1]])
RAW = (["raw_boxes", "raw_scores", "raw_landmarks"], [[1, 11564, 4], [1, 11564, 1], [1, 11564, 10]])


@pytest.fixture(scope="module", params=FILES)
def file(request, exported):
    (path,) = exported.glob(f"*_{request.param}.tflite")
    return request.param, path


def test_names_order_and_static_shapes(file):
    kind, path = file
    model = flatbuffer.unpack(path.read_bytes())
    graph = model.subgraphs[0]
    (given,) = [graph.tensors[i] for i in graph.inputs]
    assert given.name.decode() == "image" and given.shape.tolist() == [1, 224, 224, 3]
    names = [graph.tensors[i].name.decode() for i in graph.outputs]
    shapes = [graph.tensors[i].shape.tolist() for i in graph.outputs]
    assert (names, shapes) == {"raw": RAW, "boxes": BOXES_ALONE}.get(kind.split("_")[-1], WITH_LANDMARKS)  # the cap is the config's
    assert list(graph.outputs) == sorted(graph.outputs)  # some clients take them by ascending index
    inputs, outputs = flatbuffer.signature(model)
    assert list(inputs.values()) == list(graph.inputs) and sorted(outputs.values()) == list(graph.outputs)


def test_operators(file):
    kind, path = file
    operators = flatbuffer.operators(path.read_bytes())
    custom = [name for name in operators if name == flatbuffer.NMS_OPERATOR]
    assert len(custom) == kind.endswith("_boxes") and operators.count("NON_MAX_SUPPRESSION_V4") == ("_" not in kind)
    if kind.startswith("int8"):
        assert operators[0] == "QUANTIZE" and operators.count("QUANTIZE") == 1  # the network runs in int8 from end to end
        assert operators.count("DEQUANTIZE") == (8 if kind.endswith("_boxes") else 12)  # one a head, behind it


def test_metadata_and_packed_files(file):
    kind, path = file
    model = flatbuffer.unpack(path.read_bytes())
    (entry,) = model.metadata
    assert entry.name.decode() == metadata.NAME
    content = bytes(model.buffers[entry.buffer].data)
    assert content[4:8] == b"M001" and (b"labels.txt" in content) == ("_" in kind)  # MediaPipe takes no points beside suppressed boxes
    assert (b"DETECTOR_METADATA" in content) == kind.endswith("_raw")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt") == b"face\n"
        details = json.loads(archive.read("facedet.json"))
    assert details["max_detections"] == 300 and details["with_nms"] == (not kind.endswith("_raw"))


def test_card_tells_what_the_files_are(exported):
    card = json.loads((exported / "model_card.json").read_text())
    import hashlib

    for entry in card["files"]:
        data = (exported / entry["file"]).read_bytes()
        assert entry["bytes"] == len(data) and entry["sha256"] == hashlib.sha256(data).hexdigest()
    assert {row["name"] for row in card["parity"]["rows"]} == {"checkpoint", "checkpoint in float", *FILES}
    text = (exported / "model_card.md").read_text()
    assert "research" in text and all(entry["file"] in text for entry in card["files"]) and "11,564" in text
    assert all(len(entry["file"]) and entry["bytes"] < 5e6 for entry in card["files"] if entry["kind"].startswith("int8"))


def test_shuffled_weights_fail_the_parity_gate(exported):
    """The gate lets no file through whose weights are another network's."""
    from PIL import Image

    from facedet import FaceDetector
    from facedet.evaluation import protocol, scoring
    from facedet.evaluation.checkpoint_detector import CheckpointDetector
    from facedet.export import parity
    from facedet.export.formats import tflite
    from facedet.export.formats.base import SUPPRESSED, Kind
    from facedet.recipe import pipeline_config

    config = pipeline_config.parse(MAIN_CONFIG.read_text())
    reference = CheckpointDetector.from_checkpoint(config, str(SHIPPED / "checkpoint"), protocol.LEAST_SCORE)
    from skimage import data

    image = np.asarray(Image.fromarray(data.astronaut()).resize((400, 400)))
    truth = protocol.GroundTruth(np.asarray([[141.0, 53, 70, 88]]), np.ones((1, 3), bool))
    expected = reference.detect(image)

    class Fixed:
        def detect(self, image):
            return expected

    generator = np.random.default_rng(0)
    for layer in reference.detector.network.layers:
        if layer.name.startswith(("smooth", "box_head", "class_head")) and layer.weights:
            layer.set_weights([generator.permutation(weight.ravel()).reshape(weight.shape) for weight in layer.get_weights()])
    shuffled = exported.parent / "shuffled.tflite"
    shuffled.write_bytes(tflite.TFLite().write(reference.detector, reference.quantizable, Kind("int8", SUPPRESSED))[".tflite"])
    (right,) = exported.glob("*_int8.tflite")

    def rows(file):
        detectors = {"checkpoint": Fixed(), "int8": FaceDetector(file, protocol.LEAST_SCORE)}
        return parity.compare(scoring.score(detectors, [scoring.Picture("e/a.jpg", image, truth)]), {"int8": "checkpoint"})

    parity.check(rows(right), {"int8": "int8"})
    with pytest.raises(parity.ParityError, match="int8"):
        parity.check(rows(shuffled), {"int8": "int8"})


def test_a_failed_gate_leaves_nothing_behind(records_dir, tmp_path, monkeypatch):
    from facedet.export import exporter, parity

    monkeypatch.setitem(parity.LIMITS, "float32", parity.Limits(-1.0, 0.9, 0.1, 0.1))  # no file can gain so much
    config = tmp_path / "some.config"
    config.write_text(config_text(records_dir, MAIN_CONFIG))
    with pytest.raises(parity.ParityError, match="float32: easy AP"):
        exporter.export(str(config), str(SHIPPED / "checkpoint"), str(tmp_path / "out"), parity_images=3, say=lambda text: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.config"]


def test_an_export_without_a_checkpoint_says_so(records_dir, tmp_path):
    config = tmp_path / "some.config"
    config.write_text(config_text(records_dir, MAIN_CONFIG))
    said = run(
        "scripts/export_tflite.py", "--pipeline_config_path", config, "--checkpoint_dir", tmp_path, "--output_dir", tmp_path / "out", code=1
    )
    assert "holds no checkpoint" in said


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_raw_files_run_whole_on_the_gpu_accelerator(exported, precision):
    """LiteRT's GPU accelerator on a software Vulkan driver takes every operator and gives the CPU's results."""
    (path,) = exported.glob(f"*_{precision}_raw.tflite")
    if not GPU_DRIVER.is_file():
        # Without the driver the accelerator cannot start: what it refuses is then told by the operators alone.
        assert "CI" not in os.environ, f"{GPU_DRIVER} is missing: apt-get install chromium-common libvulkan1"
        assert not {"NON_MAX_SUPPRESSION_V4", "WHERE", "PACK"} & set(flatbuffer.operators(path.read_bytes()))
        return
    code = """
import sys, numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter
path, kind = sys.argv[1], np.uint8 if "int8" in sys.argv[1] else np.float32
image = np.random.default_rng(0).integers(0, 255, (1, 224, 224, 3)).astype(kind)
model = CompiledModel.from_file(path, HardwareAccelerator.GPU)
assert model.is_fully_accelerated()
inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
inputs[0].write(image)
model.run_by_index(0, inputs, outputs)
found = outputs[0].read(11564 * 4, np.float32).reshape(-1, 4), outputs[1].read(11564, np.float32)
cpu = Interpreter(path); cpu.allocate_tensors()
cpu.set_tensor(cpu.get_input_details()[0]["index"], image); cpu.invoke()
expected = [cpu.get_tensor(o["index"])[0] for o in cpu.get_output_details()]
print("boxes", np.abs(found[0] - expected[0]).max(), "scores", np.abs(found[1] - expected[1][:, 0]).max())
"""
    environment = {**os.environ, "VK_ICD_FILENAMES": str(GPU_DRIVER)}
    result = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, text=True, capture_output=True)
    assert result.returncode == 0, result.stderr[-2000:]
    words = result.stdout.split()
    boxes, scores = float(words[words.index("boxes") + 1]), float(words[words.index("scores") + 1])
    limit = {"float32": (1e-4, 1e-4), "float16": (5e-3, 5e-3), "int8": (0.05, 0.05)}[precision]
    assert boxes <= limit[0] and scores <= limit[1], (boxes, scores)


def _export_to(records_dir, tmp_path, out, **options):
    from facedet.export import exporter

    config = tmp_path / MAIN_CONFIG.name
    config.write_text(config_text(records_dir, MAIN_CONFIG))
    return exporter.export(str(config), str(SHIPPED / "checkpoint"), str(out), parity_images=3, say=lambda text: None, **options)


def test_the_shipped_files_take_the_place_of_all(records_dir, exported, tmp_path):
    """None of the others is left beside them, nor in the card. The bytes are of an earlier conversion, which takes long."""
    from facedet.export.formats.tflite import TFLite

    class Converted(TFLite):
        def write(self, detector, quantizable, kind):
            return {".tflite": (exported / f"{SHIPPED.name}_{kind}.tflite").read_bytes()}

    out = shutil.copytree(exported, tmp_path / "out")
    told = _export_to(records_dir, tmp_path, out, files="shipped", export_format=Converted())
    kinds = ["float16_raw", "int8", "int8_raw", "int8_boxes"]
    assert [entry["kind"] for entry in told["files"]] == kinds
    assert {path.name for path in out.glob("*.tflite")} == {f"{SHIPPED.name}_{kind}.tflite" for kind in kinds}
    assert [row["name"] for row in told["parity"]["rows"]] == ["checkpoint", "checkpoint in float", *kinds]


@pytest.mark.parametrize("points, mediapipes, kinds", [
    (0, False, ["float16_raw", "int8", "int8_raw"]),
    (5, False, ["float16_raw", "int8", "int8_raw", "int8_boxes"]),
    (6, True, ["float16_raw", "int8", "int8_raw", "int8_boxes", "int8_mediapipe"]),
])  # fmt: skip
def test_what_ships_of_a_detector(points, mediapipes, kinds):
    from facedet.export.formats.base import chosen
    from facedet.export.formats.tflite import TFLite

    every = TFLite().kinds(types.SimpleNamespace(num_points=points, is_mediapipes=mediapipes))
    assert [str(kind) for kind in chosen(every, "shipped")] == kinds and chosen(every, "all") == every
    assert [str(kind) for kind in chosen(every, "int8")] == kinds[1:]


def test_a_folder_with_other_files_is_refused_before_anything_long(records_dir, tmp_path):
    """It would be replaced whole."""
    from facedet.export import exporter

    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years")
    with pytest.raises(exporter.ExportError, match=r"home holds thesis\.txt, which no export"):
        _export_to(records_dir, tmp_path, tmp_path / "home")
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years"


def test_a_full_disk_is_one_sentence_and_the_older_export_stays(records_dir, tmp_path, monkeypatch):
    from facedet.export import exporter
    from facedet.export.formats import tflite

    shutil.copytree(SHIPPED, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tflite.TFLite, "write", full)
    with pytest.raises(exporter.ExportError, match=r"The disk is full: an export takes about \d+ MB in .*out is as it was\. Make room"):
        _export_to(records_dir, tmp_path, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", MAIN_CONFIG.name]


def test_what_is_no_fault_of_the_disk_shows_as_it_is(tmp_path):
    from facedet.export import exporter

    for error in (ValueError("a bug"), OSError("cannot identify image file")):
        with pytest.raises(type(error)), exporter._full_disk_named(tmp_path, None):
            raise error
