"""What ships is what its checkpoint gives: exported again, each int8 file is the shipped one.

Its bytes differ by the processor: TensorFlow's reciprocal square root, by which batch norms are folded in, is not rounded alike
on each, so that scales differ in their last bit and a weight in ten thousand by one. All else is the same to the bit, and the card's
SHA-256 is the shipped file's.
"""

import hashlib
import zipfile

import numpy as np
import pytest
from conftest import ROOT

from facedet.evaluation.checkpoint_detector import CheckpointDetector
from facedet.export import card
from facedet.export.formats import flatbuffer, tflite
from facedet.export.formats.base import RAW, SUPPRESSED, Kind
from facedet.recipe import pipeline_config

FOLDERS = sorted(path.parent for path in ROOT.glob("exported_models/*/model_card.json"))
SHIPPED = [f"ssd_mobilenet_v2_{kind}quantized_224x224_widerface" for kind in ("narrow_", "")]
WITHOUT_GPU_FILE = [f"ssd_mobilenet_v2_{kind}quantized_320x320_widerface" for kind in ("narrow_", "")]  # all would be too large
LAST_BITS = 1e-6  # relative, of float32 values
INT32, INT8 = 2, 9  # TensorType of the schema


@pytest.fixture(scope="module", params=SHIPPED)
def again(request):
    """(card, folder, {kind: bytes of the file exported again})"""
    folder = ROOT / "exported_models" / request.param
    told = card.read(folder)
    recipe = pipeline_config.read(str(ROOT / "configs" / told["config"]))
    reference = CheckpointDetector.from_checkpoint(recipe, str(folder / "checkpoint"))
    assert reference.quantize
    written = tflite.TFLite()
    kinds = {str(kind): kind for kind in (Kind("int8", SUPPRESSED), Kind("int8", RAW))}
    return told, folder, {name: written.write(reference.detector, reference.quantizable, kind)[".tflite"] for name, kind in kinds.items()}


@pytest.mark.parametrize("kind", ["int8", "int8_raw"])
def test_the_file_exported_again_is_the_shipped_one(again, kind, tmp_path):
    told, folder, made = again
    (entry,) = [file for file in told["files"] if file["kind"] == kind]
    path = folder / entry["file"]
    shipped = path.read_bytes()
    assert (entry["sha256"], entry["bytes"]) == (hashlib.sha256(shipped).hexdigest(), len(made[kind]))
    _require_same_graph(flatbuffer.unpack(shipped), flatbuffer.unpack(made[kind]))
    (tmp_path / "made.zip").write_bytes(made[kind])
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "made.zip") as new:
        assert old.namelist() == new.namelist() and all(old.read(name) == new.read(name) for name in old.namelist())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_holds_what_its_card_names_and_no_other_file(folder):
    told = card.read(folder)
    kinds = ["int8", "int8_raw", "int8_boxes", *(["float16_raw"] if folder.name not in WITHOUT_GPU_FILE else [])]
    assert sorted(entry["kind"] for entry in told["files"]) == sorted(kinds)
    assert {entry["file"]: entry["sha256"] for entry in told["files"]} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.tflite")
    }
    assert {row["name"] for row in told["parity"]["rows"]} == {"checkpoint", "checkpoint in float", *kinds}
    assert set(told["measured"]["accuracy"]) == {"checkpoint in float", *kinds}
    assert len(list(folder.glob("checkpoint/*.index"))) == 1


def test_all_that_ships_is_small():
    assert sum(path.stat().st_size for path in ROOT.glob("exported_models/**/*") if path.is_file()) <= 45e6


def _require_same_graph(old, new) -> None:
    assert old.description == new.description and [code.builtinCode for code in old.operatorCodes] == [
        c.builtinCode for c in new.operatorCodes
    ]
    assert [(m.name, m.buffer) for m in old.metadata] == [(m.name, m.buffer) for m in new.metadata]
    a, b = old.subgraphs[0], new.subgraphs[0]
    assert list(a.inputs) == list(b.inputs) and list(a.outputs) == list(b.outputs) and len(old.buffers) == len(new.buffers)
    for left, right in zip(a.operators, b.operators, strict=True):
        assert _operator(left) == _operator(right)
    rounded, weights = set(), set()
    for left, right in zip(a.tensors, b.tensors, strict=True):
        assert (left.name, left.type, left.buffer, list(left.shape)) == (right.name, right.type, right.buffer, list(right.shape))
        for quantity in ("scale", "zeroPoint", "quantizedDimension"):
            was, now = (np.atleast_1d(getattr(t.quantization, quantity, None)) for t in (left, right))
            assert (was == now).all() or (quantity == "scale" and np.allclose(was, now, rtol=LAST_BITS, atol=0)), (left.name, quantity)
        if left.type == INT32 and left.quantization is not None and left.quantization.scale is not None:
            rounded.add(left.buffer)  # a bias in units of a scale
        if left.type == INT8:
            weights.add(left.buffer)
    for number, (left, right) in enumerate(zip(old.buffers, new.buffers, strict=True)):
        was, now = (np.asarray([] if buffer.data is None else buffer.data, np.uint8) for buffer in (left, right))
        if number in rounded:
            was, now = was.view(np.int32).astype(np.int64), now.view(np.int32).astype(np.int64)
            assert (np.abs(was - now) <= 1 + LAST_BITS * np.abs(was)).all(), number
        elif number in weights:  # one that lies half way between two integers goes either way
            steps = np.abs(was.view(np.int8).astype(int) - now.view(np.int8))
            assert steps.max(initial=0) <= 1 and steps.sum() <= 1 + 1e-4 * steps.size, number
        else:
            assert np.array_equal(was, now), number


def _operator(operator) -> tuple:
    options = operator.builtinOptions
    settings = {key: np.asarray(value).tolist() for key, value in vars(options).items()} if options else None
    custom = None if operator.customOptions is None else bytes(operator.customOptions)
    return operator.opcodeIndex, list(operator.inputs), list(operator.outputs), operator.builtinOptionsType, settings, custom
