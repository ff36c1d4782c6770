"""ONNX files: what onnxruntime computes from each is what LiteRT computes from the .tflite; their suppression, metadata, batches, refusals."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import BOXES_CONFIG, CONFIGS
from onnx import numpy_helper
from test_every_config import Small

from facedet import FaceDetector
from facedet.export.formats import flatbuffer, onnx_network, tflite
from facedet.export.formats.base import PRECISIONS, RAW, SUPPRESSED, Kind, NotConvertibleError
from facedet.export.formats.onnx import ONNX
from facedet.layers.channel_padding import ChannelPadding
from facedet.quantization.network import NotQuantizableError, QuantizableNetwork
from facedet.runtime.backends.onnx_runtime import session_options
from facedet.runtime.input_spec import InputSpec

import tensorflow as tf  # isort: skip

layers = tf.keras.layers
(SLIM,) = [path for path in CONFIGS if path.stem == "slim_320x240_widerface"]  # 4:3, padded, BGR with means, landmarks
# Mean differences of scores, and of boxes and points in fractions of the picture. Wrong programs give .05 and more in the scores.
LIMITS = {"float32": (1e-5, 1e-5), "float16": (2e-3, 2e-3), "int8": (0.015, 0.005)}


@pytest.fixture(scope="module", params=[BOXES_CONFIG, SLIM], ids=["stretched", "padded with landmarks"])
def small(request):
    return Small(request.param)


@pytest.fixture(scope="module")
def files(small, tmp_path_factory):
    """{kind: .onnx}"""
    folder, written = tmp_path_factory.mktemp("files"), {}
    for kind in ONNX().kinds(small.detector):
        written[str(kind)] = folder / f"{kind}.onnx"
        written[str(kind)].write_bytes(ONNX().write(small.detector, small.quantizable, kind)[".onnx"])
    return written


@pytest.fixture(scope="module")
def litert(small):
    """{precision: outputs of the raw .tflite for three pictures}; float16 is to compute what float32 does."""
    in_float = tflite.TFLite().write(small.detector, small.quantizable, Kind("float32", RAW))[".tflite"]
    found = {"float32": by_litert(in_float, small.images[:3]), "int8": by_litert(small.data, small.images[:3])}
    return {**found, "float16": found["float32"]}


def test_the_kinds_are_each_precision_raw_and_with_suppression(small):
    assert set(ONNX().kinds(small.detector)) == {Kind(precision, variant) for precision in PRECISIONS for variant in (SUPPRESSED, RAW)}
    assert all("onnxruntime" in ONNX().hardware(kind) for kind in ONNX().kinds(small.detector))


def by_onnxruntime(data: bytes, images) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(data, session_options(1), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    given = session.run(None, {taken.name: images.astype(np.uint8 if taken.type == "tensor(uint8)" else np.float32)})
    return {output.name: values for output, values in zip(session.get_outputs(), given, strict=True)}


def by_litert(data: bytes, images) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    rows = []
    for image in images:
        interpreter.set_tensor(taken["index"], image[None].astype(taken["dtype"]))
        interpreter.invoke()
        rows.append({output["name"]: interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()})
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def require_same(found: dict, expected: dict, precision: str) -> None:
    assert list(found) == list(expected)
    assert expected["raw_scores"].std() > 0.1  # it says something
    for name, values in expected.items():
        assert found[name].shape == values.shape and found[name].dtype == values.dtype
        limit = LIMITS[precision][0 if name == "raw_scores" else 1]
        assert np.abs(found[name] - values).mean() < limit, name


@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnxruntime_computes_what_litert_does(small, files, litert, precision):
    require_same(by_onnxruntime(files[f"{precision}_raw"].read_bytes(), small.images[:3]), litert[precision], precision)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_batch_is_its_pictures_one_by_one(small, files, precision):
    data = files[f"{precision}_raw"].read_bytes()
    together = by_onnxruntime(data, small.images[:3])
    for i in range(3):
        alone = by_onnxruntime(data, small.images[i : i + 1])
        for name, values in together.items():
            np.testing.assert_allclose(values[i : i + 1], alone[name], atol=1e-5, err_msg=name)


def _shuffled(values, generator):
    return generator.permutation(values.ravel()).reshape(values.shape) if values.ndim == 4 else values


def _transposed(values, generator):
    return np.ascontiguousarray(values.swapaxes(2, 3)) if values.ndim == 4 else values


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("change", [_shuffled, _transposed])
def test_changed_kernels_are_seen(small, files, litert, precision, change):
    model, generator = onnx.load(files[f"{precision}_raw"]), np.random.default_rng(1)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor), generator), tensor.name))
    with pytest.raises(AssertionError):
        require_same(by_onnxruntime(model.SerializeToString(), small.images[:3]), litert[precision], precision)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_dropped_mean_is_seen(small, files, litert, precision):
    model = onnx.load(files[f"{precision}_raw"])
    names = ("normalized/offset", "weights/normalized/bias", "channels_first/zero_point", "normalized/bias/q")
    means = [tensor for tensor in model.graph.initializer if tensor.name in names and numpy_helper.to_array(tensor).any()]
    assert len(means) == 1
    means[0].CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(means[0])), means[0].name))
    with pytest.raises(AssertionError):
        require_same(by_onnxruntime(model.SerializeToString(), small.images[:3]), litert[precision], precision)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_swapped_colours_are_seen(small, files, litert, precision):
    found = by_onnxruntime(files[f"{precision}_raw"].read_bytes(), small.images[:3, ..., ::-1])
    with pytest.raises(AssertionError):
        require_same(found, litert[precision], precision)


def test_int8_files_hold_the_integers_of_the_tflite(small, files):
    model = flatbuffer.unpack(small.data)
    grids, kernels = set(), []
    for tensor in model.subgraphs[0].tensors:
        quantized, data = tensor.quantization, model.buffers[tensor.buffer].data
        if tensor.type != 9 or quantized is None or quantized.scale is None:  # int8
            continue
        if data is None or not len(data):
            grids.add((np.float32(quantized.scale[0]), int(quantized.zeroPoint[0]) + 128))
        else:
            kernels.append(np.asarray(data).view(np.int8).reshape(tensor.shape))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(files["int8_raw"]).graph.initializer}
    scales = {name.removesuffix("/scale") for name, values in constants.items() if name.endswith("/scale") and values.ndim == 0}
    scales = {name for name in scales if f"{name}/zero_point" in constants}
    assert {(constants[f"{name}/scale"][()], int(constants[f"{name}/zero_point"])) for name in scales} == grids
    ours = [values for values in constants.values() if values.dtype == np.int8 and values.ndim == 4]
    assert len(ours) == len(kernels)
    for kernel in ours:  # [out, in / groups, h, w]; theirs [out, h, w, in], depthwise ones [1, h, w, out]
        forms = [kernel.transpose(0, 2, 3, 1), kernel.transpose(1, 2, 3, 0)]
        apart = [np.abs(form.astype(int) - other).max() for form in forms for other in kernels if form.shape == other.shape]
        assert min(apart) <= 1  # a value in the middle between two may fall to either side


def test_onnxruntime_makes_integer_operations_of_the_whole_network(small, files, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimized.onnx"), 4
    onnxruntime.InferenceSession(str(files["int8_raw"]), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    convolutions = sum(node.op_type == "Conv" for node in onnx.load(files["int8_raw"]).graph.node)
    assert kinds.count("QLinearConv") == convolutions > 20
    assert not {"Conv", "FusedConv", "Relu", "Clip"} & set(kinds)
    assert kinds.count("DequantizeLinear") == len(small.detector.network.output)  # one a head, behind it


def test_its_own_suppression_is_that_of_raw_files(small, files):
    picture = np.asarray(small.images[0]).repeat(2, 0).repeat(3, 1)
    own, raw = (FaceDetector(files[kind], 0.3).detect(picture) for kind in ("float32", "float32_raw"))
    assert len(own) == len(raw) > 3
    np.testing.assert_allclose(own.scores, raw.scores, atol=1e-5)
    np.testing.assert_allclose(own.boxes, raw.boxes, atol=1e-2)
    assert (own.landmarks is None) == (raw.landmarks is None) == (small.detector.num_points == 0)
    if own.landmarks is not None:
        np.testing.assert_allclose(own.landmarks, raw.landmarks, atol=1e-2)


def test_a_picture_without_faces_gives_none(small, files, tmp_path):
    model = onnx.load(files["float32"])
    (least,) = [tensor for tensor in model.graph.initializer if tensor.name == "suppression/score"]
    assert numpy_helper.to_array(least) == np.float32(small.detector.suppression.score_threshold)
    least.CopyFrom(numpy_helper.from_array(np.float32([2.0]), least.name))  # more than any score
    onnx.save(model, tmp_path / "none.onnx")
    assert len(FaceDetector(tmp_path / "none.onnx", 0.0).detect(small.images[0])) == 0


def test_what_files_say_of_themselves(small, files, tmp_path):
    height, width = small.detector.input.size
    (tmp_path / "int8_raw.tflite").write_bytes(small.data)
    assert FaceDetector(files["int8_raw"]).details == FaceDetector(tmp_path / "int8_raw.tflite").details
    for kind, path in files.items():
        model, details = onnx.load(path), FaceDetector(path).details
        onnx.checker.check_model(model, full_check=True)
        (opset,), (taken,) = model.opset_import, model.graph.input
        assert (opset.domain, opset.version) == ("", 17) and {node.domain for node in model.graph.node} == {""}
        assert [entry.key for entry in model.metadata_props] == ["facedet.json"] and json.loads(model.metadata_props[0].value) == details
        assert details["precision"] == kind.split("_")[0] and details["with_nms"] == (not kind.endswith("_raw"))
        batch, *shape = [side.dim_param or side.dim_value for side in taken.type.tensor_type.shape.dim]
        assert (taken.name, batch, shape) == ("image", "batch" if kind.endswith("_raw") else 1, [height, width, 3])
        assert taken.type.tensor_type.elem_type == (onnx.TensorProto.UINT8 if kind.startswith("int8") else onnx.TensorProto.FLOAT)
    sizes = {kind: path.stat().st_size for kind, path in files.items()}
    assert sizes["float16"] < 0.65 * sizes["float32"] and sizes["int8"] < 0.5 * sizes["float32"]


def test_an_operator_without_a_form_in_onnx_is_named(small, monkeypatch):
    right = small.detector.decode

    def decode(heads):
        found = right(heads)
        return found._replace(scores=tf.math.igamma(found.scores, found.scores))

    monkeypatch.setattr(small.detector, "decode", decode)
    with pytest.raises(NotConvertibleError, match="Igamma"):
        ONNX().write(small.detector, small.quantizable, Kind("float32", RAW))


def test_int8_without_ranges_is_refused(small):
    quantizable = QuantizableNetwork(small.detector.network, small.detector.input.range)
    with pytest.raises(NotQuantizableError, match="calibrate first"):
        ONNX().write(small.detector, quantizable, Kind("int8", RAW))


def network_of_every_layer():
    """Sides of which some are odd, pads before what takes them in and what does not, and a layer that is used twice."""
    tf.keras.utils.set_random_seed(3)
    image = tf.keras.Input((37, 50, 3))
    x = layers.Conv2D(8, 3, 2, padding="valid", use_bias=False)(layers.ZeroPadding2D(((2, 1), (0, 3)))(image))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.BatchNormalization(beta_initializer="ones", name="alone")(layers.MaxPooling2D(3, 2, "same")(layers.ZeroPadding2D(1)(x)))
    shared = layers.DepthwiseConv2D(3, padding="same", name="shared")
    fine = layers.ReLU()(shared(x))
    coarse = layers.Conv2D(8, 5, 2, padding="same")(shared(fine))
    up = layers.Cropping2D(((1, 0), (0, 1)))(layers.UpSampling2D(2)(coarse))
    smooth = layers.UpSampling2D(2, interpolation="bilinear")(coarse)
    wide = ChannelPadding(12)(layers.MaxPooling2D(2, 2, "same")(fine))
    joined = layers.Dropout(0.5)(layers.Concatenate()([layers.ReLU()(layers.Conv2D(6, 3, padding="same", dilation_rate=2)(coarse)), wide]))
    heads = {
        "a": layers.Conv2D(4, 1, name="a")(up),
        "b": layers.Conv2D(4, 3, padding="same", groups=2, name="b")(joined),
        "c": layers.Conv2D(2, 1, name="c")(layers.Add()([smooth, layers.Conv2D(8, 1)(smooth)])),
    }
    heads["d"] = layers.Reshape((-1, 2), name="d")(heads["c"])
    return tf.keras.Model(image, heads)


@pytest.mark.parametrize("spec", [InputSpec(37, 50), InputSpec(37, 50, "BGR", (104.0, 117.0, 123.0), (0.02, 0.01, 0.03))])
def test_every_layer_is_what_keras_computes(spec):
    quantizable = QuantizableNetwork(network_of_every_layer(), spec.range)
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 12, 3))
    images = tf.image.resize(images, spec.size).numpy().astype(np.uint8)
    inputs = spec.normalize(images.astype(np.float32))
    expected = quantizable.network(inputs, training=False)
    for _ in range(2):
        quantizable.observe(inputs, training=False)
    found = by_onnxruntime(onnx_network.write(quantizable, spec, "float32", "batch").SerializeToString(), images)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-4, err_msg=name)
    model = onnx_network.write(quantizable, spec, "int8", "batch")
    kernels = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    assert len(set(kernels)) == len(kernels)  # onnxruntime opens it without VNNI, too
    found = by_onnxruntime(model.SerializeToString(), images)
    expected = quantizable.simulate(inputs - 1e-4, training=False)  # a byte in the middle between two values takes the lower one
    for name, values in expected.items():
        assert np.abs(found[name] - values).mean() < 0.06 * np.std(values), name
