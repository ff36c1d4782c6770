"""The page in headless Chromium, with a film of a face for a camera: it finds what Python finds.

FACEDET_PICTURES=1 has it write the README's web/page.png, too.
"""

import json

import numpy as np
import pytest
import web_page
from conftest import ROOT, SHIPPED
from PIL import Image
from web_page import CHROMIUM, drive, needs_browser, overlap

from facedet import FaceDetector
from facedet.runtime.input_spec import resize

face, server = web_page.face, web_page.server  # fixtures


def up_to_the_last_integer(path, output):
    """Writes the int8 file without the float operators at its end, so that its outputs are the quantized network's."""
    from facedet.export.formats import flatbuffer

    model = flatbuffer.unpack(path.read_bytes())
    (graph,) = model.subgraphs
    dequantize = flatbuffer.schema.BuiltinOperator.DEQUANTIZE
    ends = [op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == dequantize]
    graph.operators = graph.operators[: graph.operators.index(ends[-1]) + 1]
    graph.outputs = [op.outputs[0] for op in ends]
    model.signatureDefs, model.metadata = [], []
    output.write_bytes(flatbuffer.pack(model))
    return output


@pytest.fixture(scope="module")
def integer_files(tmp_path_factory):
    work = tmp_path_factory.mktemp("integers")
    return [up_to_the_last_integer(path, work / path.name) for path in sorted(ROOT.glob("exported_models/*/*_int8.tflite"))]


def outputs_in_python(path, rgb):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], rgb[None])
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def input_of(path, face):
    side = 320 if "320x320" in path.name else 224
    return resize(face, side, side)


@pytest.fixture(scope="module")
def seen(server, face, integer_files, tmp_path_factory):
    work = tmp_path_factory.mktemp("web")
    film, picture, runs = work / "camera.y4m", work / "face.png", work / "runs.json"
    Image.fromarray(face).save(picture)
    web_page.write_film(face, film)
    files = [*SHIPPED.glob("*_int8.tflite"), *integer_files]
    runs.write_text(json.dumps([{"file": str(path), "rgb": input_of(path, face).reshape(-1).tolist()} for path in files]))
    return drive("page.mjs", server, CHROMIUM, film, picture, runs)


@needs_browser
def test_the_box_is_on_the_face_in_every_detector(seen, face):
    assert len(seen["detectors"]) == len(list(ROOT.glob("exported_models/*/*.tflite"))) and seen["detectors"][:3] == [
        "224",
        "320",
        "224 fast",
    ]
    for label, found in seen["pictures"].items():
        path = ROOT / "exported_models" / seen["urls"][label].removeprefix("models/")
        expected = FaceDetector(path).detect(face)
        assert len(found) == len(expected) == 1, label
        # the browser scales the picture otherwise than Pillow
        assert overlap(found[0]["box"], expected.boxes[0]) > 0.9 and abs(found[0]["score"] - expected.scores[0]) < 0.1, label


@needs_browser
def test_the_int8_network_gives_pythons_outputs_bit_by_bit(seen, face, integer_files):
    assert integer_files
    for path in integer_files:
        expected = outputs_in_python(path, input_of(path, face))
        in_page = [np.asarray(values, np.float32) for values in seen["outputs"][str(path)]]
        assert len(in_page) == len(expected) > 0
        for ours, pythons in zip(in_page, expected, strict=True):
            assert len(np.unique(pythons)) > 5  # something was computed
            np.testing.assert_array_equal(ours.reshape(pythons.shape), pythons)


@needs_browser
def test_boxes_and_scores_of_int8_are_pythons(seen, face):
    """The sigmoid and the decoding after the integers are float: each processor's own, the last bit may differ."""
    (path,) = SHIPPED.glob("*_int8.tflite")
    boxes, scores, points = FaceDetector(path, score_threshold=0.0).detect_resized(resize(face, 224, 224))
    in_page = [np.asarray(values, np.float32) for values in seen["outputs"][str(path)]]
    # Of two boxes with one score NON_MAX_SUPPRESSION_V4 takes first what its platform's heap does, and 8 bits give low scores to many: the page
    # keeps Python's box or another that the network gave that score.
    count = int((scores >= 0.15).sum())
    assert int(in_page[3][0]) >= count == int((in_page[1][: int(in_page[3][0])] >= 0.15).sum()) >= 2
    assert len(np.unique(scores[:count])) == count
    np.testing.assert_allclose(in_page[1][:count], scores[:count], rtol=3e-7)
    (raw_path,) = SHIPPED.glob("*_int8_raw.tflite")
    raw = {name: values[0] for name, values in FaceDetector(raw_path)._backend.run(resize(face, 224, 224)).items()}
    centers, sides = np.split(raw["raw_boxes"], 2, axis=1)
    given = np.concatenate([centers - sides / 2, centers + sides / 2, raw["raw_landmarks"]], 1)
    found = np.concatenate([in_page[0].reshape(-1, 4), in_page[2].reshape(-1, 10)], 1)[:count]
    pythons = np.concatenate([boxes, points.reshape(-1, 10)], 1)[:count]
    np.testing.assert_allclose(found[0], pythons[0], atol=3e-7)
    for mine, score in zip(found, scores[:count], strict=True):
        of_that_score = given[np.isclose(raw["raw_scores"][:, 0], score, rtol=3e-7, atol=0)]
        assert np.isclose(of_that_score, mine, rtol=0, atol=3e-7).all(1).any()


@needs_browser
def test_the_camera_by_keyboard(seen, face):
    (path,) = SHIPPED.glob("*_int8.tflite")
    (expected,) = FaceDetector(path).detect(face).boxes
    camera = seen["camera"]
    assert len(camera["faces"]) == 1 and overlap(camera["faces"][0]["box"], expected) > 0.85
    assert camera["green"] and camera["status"] == "1 face" and (camera["pressed"], camera["stopped"]) == ("true", "false")


@needs_browser
def test_of_two_choices_the_last_is_in_use(seen):
    told = seen["twoChoices"]
    assert told["label"] == told["wanted"] and told["faces"] == 1 and told["misused"] == [] and told["status"] == "1 face"
    assert told["caption"].startswith(f"{told['wanted']} · 1 face · ")


@needs_browser
def test_failures_are_sentences(seen):
    assert "cannot be used" in seen["broken"] and seen["broken"].endswith("Choose another detector.")
    assert seen["refused"].startswith("No camera: ") and seen["refused"].endswith("You can open a picture instead.")
    assert seen["noPicture"] == "text.png is no picture that this browser can read."


@needs_browser
def test_nothing_leaves_the_page_and_it_fits_a_phone(seen):
    assert seen["outside"] == [] and seen["overflow"] <= 0


@needs_browser
def test_nothing_is_logged_as_an_error_that_is_none(seen):
    assert seen["errorsBefore"] == []


@needs_browser
def test_mediapipes_object_detector_finds_the_same(server, face, tmp_path):
    """tasks-vision in the browser scales pictures by its own means: a pixel or two of the input."""
    Image.fromarray(face).save(tmp_path / "face.png")
    models = sorted(ROOT.glob("exported_models/*224x224*/*_boxes.tflite"))
    told = drive("mediapipe.mjs", server, CHROMIUM, tmp_path / "face.png", *models)
    assert told["outside"] == [] and len(told["found"]) == len(models)
    for model, found in told["found"].items():
        expected = FaceDetector(model).detect(face)
        assert len(found) == len(expected) == 1 and found[0]["label"] == "face", model
        limit = 2 * max(face.shape[:2]) / 224
        assert np.abs(np.subtract(found[0]["box"], expected.boxes[0])).max() <= limit and abs(found[0]["score"] - expected.scores[0]) < 0.05
