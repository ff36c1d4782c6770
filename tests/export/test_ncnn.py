"""ncnn files: they compute what the network does, refuse what is damaged, and an export fails where pnnx passes over a layer."""

import json
import random

import numpy as np
import pytest
from conftest import BOXES_CONFIG, CONFIGS
from test_every_config import Small

from facedet import DetectorError, FaceDetector
from facedet.detectors.base import Predictions
from facedet.export.formats import ncnn as ncnn_format
from facedet.export.formats.base import RAW, Kind, NotConvertibleError
from facedet.export.formats.ncnn import NCNN
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe.recipe import Suppression
from facedet.runtime import ncnn_file
from facedet.runtime.input_spec import InputSpec

import tensorflow as tf  # isort: skip

import ncnn  # isort: skip

layers = tf.keras.layers
(SLIM,) = [path for path in CONFIGS if path.stem == "slim_320x240_widerface"]  # 4:3, padded, BGR with means, landmarks
# Greatest differences of boxes and points in fractions of the picture, and of scores. Wrong programs give .1 and more.
LIMITS = {"float32": 1e-4, "float16": 0.03}
FLOAT32, FLOAT16 = Kind("float32", RAW), Kind("float16", RAW)


@pytest.fixture(scope="module", params=[BOXES_CONFIG, SLIM], ids=["stretched", "padded with landmarks"])
def small(request):
    return Small(request.param)


@pytest.fixture(scope="module")
def files(small, tmp_path_factory):
    """{kind: path of a .param}, the .bin beside it."""
    folder = tmp_path_factory.mktemp("files")
    return {kind: save(NCNN().write(small.detector, small.quantizable, kind), folder / str(kind)) for kind in NCNN().kinds(small.detector)}


def save(written: dict[str, bytes], stem):
    for suffix, data in written.items():
        stem.with_suffix(suffix).write_bytes(data)
    return stem.with_suffix(".param")


def of_network(detector, quantizable, image) -> dict[str, np.ndarray]:
    """What a raw file should give for a picture."""
    heads = quantizable.inference_graph(detector.input.normalize(tf.constant(image[None], tf.float32)), quantize=False)
    found = detector.decode(heads)
    outputs = {"raw_boxes": found.boxes_yxhw, "raw_scores": found.scores[..., None]}
    if found.points_yx is not None:
        outputs["raw_landmarks"] = tf.reshape(found.points_yx, [1, len(found.points_yx[0]), -1])
    return {name: values.numpy()[0] for name, values in outputs.items()}


def test_files_compute_what_the_network_does(small, files):
    assert set(files) == {FLOAT32, FLOAT16}
    for kind, path in files.items():
        opened = FaceDetector(path, 0.0)
        assert (opened.details["precision"], opened.has_nms, opened.has_landmarks) == (kind.precision, False, small.points is not None)
        assert opened.input == FaceDetector(path).input and opened.input.size == small.detector.input.size
        assert opened.input.resize == small.detector.input.resize and "ncnn" in NCNN().hardware(kind)
        for image in small.images[:2]:
            expected = of_network(small.detector, small.quantizable, image)
            found = opened._backend.run(image)
            assert list(found) == list(expected) and expected["raw_scores"].std() > 0.1
            for name, values in expected.items():
                np.testing.assert_allclose(found[name][0], values, atol=LIMITS[kind.precision], err_msg=f"{kind} {name}")
        assert len(opened.detect(small.images[0]))
    sizes = [path.with_suffix(".bin").stat().st_size for path in (files[FLOAT32], files[FLOAT16])]
    assert sizes[1] < 0.65 * sizes[0]


def test_the_benchmark_has_them_beside_other_formats(files, capsys, tmp_path):
    """A file of ncnn's is two."""
    from facedet.commands import benchmark

    asked = ["224-fast", *map(str, files.values()), "--rounds", "1", "--output", str(tmp_path / "told.json")]
    assert benchmark.main(asked) == 0
    said = capsys.readouterr().out
    first, *rows = json.loads((tmp_path / "told.json").read_text())["rows"]
    assert first["cpu_ratio"] == 1 and first["file"].endswith("_int8.tflite")
    for row, path in zip(rows, files.values(), strict=True):
        assert row["file"] == str(path) and row["bytes"] == path.stat().st_size + path.with_suffix(".bin").stat().st_size
        assert row["name"] == f"{path.name}, 1 thread" and row["name"] in said and row["cpu_ms_p50"] > 0


def test_ncnn_alone_reads_past_the_details(small, files):
    """As another client does, examples/ncnn for one: from files, by names. On ARM it would else compute in 16 bits."""
    expected = of_network(small.detector, small.quantizable, small.images[0])
    net = ncnn.Net()
    net.opt.use_fp16_arithmetic = net.opt.use_fp16_storage = False
    assert net.load_param(str(files[FLOAT32])) == 0 and net.load_model(str(files[FLOAT32].with_suffix(".bin"))) == 0
    assert list(net.input_names()) == ["image"] and set(net.output_names()) == set(expected)
    planes = np.ascontiguousarray(small.images[0].transpose(2, 0, 1), np.float32)  # a Mat keeps no array alive
    with net.create_extractor() as extractor:
        extractor.input("image", ncnn.Mat(planes).clone())
        np.testing.assert_allclose(np.array(extractor.extract("raw_boxes")[1]), expected["raw_boxes"], atol=LIMITS["float32"])


def pads_of_every_kind() -> tf.keras.Model:
    """Before a convolution, a pooling, and of channels; of one side alone."""
    from facedet.layers.channel_padding import ChannelPadding

    image = layers.Input([24, 32, 3])
    x = layers.ZeroPadding2D(((0, 1), (1, 2)))(image)
    x = layers.Conv2D(8, 3, strides=2, padding="valid", name="first")(x)
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(((1, 0), (2, 1)))(layers.ReLU()(x)))
    x = ChannelPadding(12)(x)
    return tf.keras.Model(image, {"map": layers.Conv2D(6, 1, name="map")(x)})


class Maps:
    """A detector of no boxes: its outputs are the map's columns."""

    num_points, suppression, input = 0, Suppression(0.02, 0.5, 300), InputSpec(24, 32)

    def __init__(self):
        self.network = pads_of_every_kind()

    def decode(self, heads):
        columns = tf.reshape(heads["map"], [1, -1, 6])
        return Predictions(columns[..., :4], tf.reshape(tf.sigmoid(columns[..., 4:5]), [1, -1]))


@pytest.fixture(scope="module")
def maps():
    return Maps()


def test_pads_stay_where_pnnx_forgets_them(maps, tmp_path):
    quantizable = QuantizableNetwork(maps.network, maps.input.range)
    path = save(NCNN().write(maps, quantizable, FLOAT32), tmp_path / "maps")
    kinds = [layer.kind for layer in ncnn_file.parse(path.read_text())]
    assert kinds.count("Padding") == 2  # the convolution took its own
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    found = FaceDetector(path)._backend.run(image)
    for name, values in of_network(maps, quantizable, image).items():
        assert values.std() > 0.01
        np.testing.assert_allclose(found[name][0], values, atol=1e-5)


def test_a_layer_that_pnnx_passes_over_fails_the_export(maps, monkeypatch):
    """What was silent: it leaves by 0, with a file that ncnn does not load, or that computes something else."""
    quantizable, forgets = QuantizableNetwork(maps.network, maps.input.range), ncnn_format._converted
    write = lambda: NCNN().write(maps, quantizable, FLOAT32)  # noqa: E731

    def saying(change):
        def converted(*arguments):
            said, text, weights = forgets(*arguments)
            return change(said), text, weights

        monkeypatch.setattr(ncnn_format, "_converted", converted)

    saying(lambda said: said.replace("param pads=(", "param pads=(x"))
    with pytest.raises(NotConvertibleError, match=r"no form of layer Pad_\d+, a Pad of"):
        write()
    saying(lambda said: said + "\nignore Conv conv_7 param dilations=(2,2)\n")
    with pytest.raises(NotConvertibleError, match=r"no form of layer conv_7, Conv: pnnx would leave out dilations"):
        write()
    monkeypatch.setattr(ncnn_format, "_converted", forgets)
    monkeypatch.setattr(ncnn_format, "raw_model", with_an_unknown_operator(ncnn_format.raw_model))
    with pytest.raises(NotConvertibleError, match="is of a kind, Det, that no detector"):
        write()


def with_an_unknown_operator(raw_model):
    import onnx

    def made(*arguments):
        model = raw_model(*arguments)
        (last,) = [node for node in model.graph.node if "raw_scores" in node.output]
        last.output[0] = "before"
        square = onnx.helper.make_node("Det", ["cornered"], ["of_each"], "the_unknown")
        shape = onnx.numpy_helper.from_array(np.asarray([1, -1, 1, 1], np.int64), "cornered/shape")
        flat = onnx.numpy_helper.from_array(np.asarray([1, -1, 1], np.int64), "flat/shape")
        model.graph.initializer.extend([shape, flat])
        model.graph.node.append(onnx.helper.make_node("Reshape", ["before", "cornered/shape"], ["cornered"]))
        model.graph.node.append(square)
        model.graph.node.append(onnx.helper.make_node("Reshape", ["of_each", "flat/shape"], ["raw_scores"]))
        return model

    return made


def test_without_pnnx_it_is_named(maps, monkeypatch):
    monkeypatch.setattr(ncnn_format.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotConvertibleError, match="pip install --no-deps pnnx"):
        NCNN().write(maps, QuantizableNetwork(maps.network, maps.input.range), FLOAT32)


def test_a_missing_package_or_bin_is_a_sentence(files, tmp_path, monkeypatch):
    import sys

    alone = tmp_path / "alone.param"
    alone.write_bytes(files[FLOAT32].read_bytes())
    with pytest.raises(DetectorError, match=r"alone\.bin is missing: alone\.param needs it beside it"):
        FaceDetector(alone)
    monkeypatch.delitem(sys.modules, "facedet.runtime.backends.ncnn", raising=False)
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(DetectorError, match="pip install ncnn"):
        FaceDetector(files[FLOAT32])


def test_files_of_two_exports_are_told_apart(files, tmp_path):
    mixed = tmp_path / "mixed.param"
    mixed.write_bytes(files[FLOAT32].read_bytes().replace(b"2=3\n", b"2=3 \n", 1))
    mixed.with_suffix(".bin").write_bytes(files[FLOAT32].with_suffix(".bin").read_bytes())
    with pytest.raises(DetectorError, match="damaged or changed since scripts/export_ncnn.py"):
        FaceDetector(mixed)


def test_damaged_files_are_refused(files, tmp_path):
    """Cut, or with bytes turned, wherever: an error each time, and this process lives on."""
    generator, path = random.Random(0), tmp_path / "damaged.param"
    whole = {suffix: files[FLOAT16].with_suffix(suffix).read_bytes() for suffix in (".param", ".bin")}
    for number in range(200):
        suffix, changed = (".param", ".bin")[number % 2], dict(whole)
        data = bytearray(whole[suffix])
        at = generator.randrange(len(data))
        if number % 4 < 2:
            data = data[:at]
        else:
            data[at] ^= 1 << generator.randrange(8)
        changed[suffix] = bytes(data)
        save(changed, path.with_suffix(""))
        if suffix == ".bin" and len(data) == len(whole[suffix]) and at > len(data) - 1200:
            continue  # within the zip: a comment or a date may change
        with pytest.raises(DetectorError):
            FaceDetector(path)


def test_a_param_that_is_none_is_named_whatever_its_digest(files):
    text = files[FLOAT16].read_text()
    data = files[FLOAT16].with_suffix(".bin").read_bytes()
    made = ncnn_file.parse(text)
    conv = next(layer for layer in made if layer.kind == "Convolution")
    for change, said in (
        (lambda layer: layer._replace(kind="Pad"), "is of a kind, Pad"),
        (lambda layer: layer._replace(inputs=("nowhere",)), "a blob that another one should"),
        (lambda layer: layer._replace(options=layer.options | {"6": "999999999"}), "within the weights of layer"),
        (lambda layer: layer._replace(options=layer.options | {"6": "-4"}), "has 6=-4"),
        (lambda layer: layer._replace(options=layer.options | {"6": "1"}), "do not stand where they should"),
    ):
        with pytest.raises(ncnn_file.NcnnFileError, match=said):
            ncnn_file.check([change(layer) if layer is conv else layer for layer in made], data)
    for cut in (text[: len(text) // 2], text.replace("7767517", "776"), ""):
        with pytest.raises(ncnn_file.NcnnFileError):
            ncnn_file.parse(cut)
    assert ncnn_file.parse(ncnn_file.write(made)) == made
