"""Every shipped detector as ONNX and ncnn: onnxruntime, OpenCV and ncnn find in a photograph what LiteRT finds with its .tflite files."""

import cv2
import numpy as np
import pytest
from conftest import ROOT
from skimage import data

from facedet import FaceDetector
from facedet.evaluation.checkpoint_detector import CheckpointDetector
from facedet.export.formats.base import RAW, Kind
from facedet.export.formats.ncnn import NCNN
from facedet.export.formats.onnx import ONNX
from facedet.export.formats.tflite import TFLite
from facedet.recipe import pipeline_config
from facedet.runtime import boxes

FOLDERS = sorted(path.parent for path in (ROOT / "exported_models").glob("*/model_card.json"))
SCORE = {"float32": 0.01, "int8": 0.03}  # against float16 kernels, and against int8 of another runtime


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def detectors(request, tmp_path_factory):
    """(the path of LiteRT's raw file by precision, {'onnx float32', 'onnx int8', 'ncnn float32': FaceDetector of the raw file})"""
    recipe = pipeline_config.read(str(ROOT / "configs" / f"{request.param.name}.config"))
    reference = CheckpointDetector.from_checkpoint(recipe, str(request.param / "checkpoint"))
    made, found = tmp_path_factory.mktemp("elsewhere"), {}
    for name, form in (("onnx float32", ONNX()), ("onnx int8", ONNX()), ("ncnn float32", NCNN())):
        files = form.write(reference.detector, reference.quantizable, Kind(name.split()[1], RAW))
        for suffix, content in files.items():
            (made / f"{name.replace(' ', '_')}{suffix}").write_bytes(content)
        found[name] = FaceDetector(made / f"{name.replace(' ', '_')}{form.suffixes[0]}", score_threshold=0.3)
    of_litert = {
        name: request.param / f"{request.param.name}_{kind}_raw.tflite" for name, kind in (("int8", "int8"), ("float32", "float16"))
    }
    if not of_litert["float32"].exists():  # the 320 pair ships without
        of_litert["float32"] = made / "float16_raw.tflite"
        of_litert["float32"].write_bytes(TFLite().write(reference.detector, reference.quantizable, Kind("float16", RAW))[".tflite"])
    return of_litert, found


@pytest.mark.parametrize("name", ["onnx float32", "onnx int8", "ncnn float32"])
def test_the_same_faces_are_found(detectors, name):
    of_litert, found = detectors
    precision = name.split()[1]
    expected = FaceDetector(of_litert[precision], score_threshold=0.3).detect(data.astronaut())
    faces = found[name].detect(data.astronaut())
    assert len(faces) == len(expected) >= 1
    overlaps = boxes.iou(expected.boxes, faces.boxes)
    assert (overlaps.max(1) > 0.95).all()
    np.testing.assert_allclose(faces.scores[overlaps.argmax(1)], expected.scores, atol=SCORE[precision])


def test_opencv_gives_the_same_numbers(detectors):
    _, found = detectors
    detector = found["onnx float32"]
    image = cv2.resize(data.astronaut(), detector.input.size[::-1])
    net = cv2.dnn.readNetFromONNX(str(detector.path))
    net.setInput(image[None].astype(np.float32))
    scores = net.forward("raw_scores")
    np.testing.assert_allclose(scores, detector._backend.run(image)["raw_scores"], atol=1e-4)
