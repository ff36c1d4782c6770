"""A published file's network computes here what it does there; a file of another network is refused, and says why."""

import importlib.util

import numpy as np
import pytest
from conftest import ROOT, SHARED
from onnx_twin import X_FIRST, Twin
from onnx_twin import run as run_onnx
from PIL import Image

from facedet.detectors import registry
from facedet.evaluation.checkpoint_detector import CheckpointDetector
from facedet.recipe import pipeline_config
from facedet.weights import published, statistics

import tensorflow as tf  # isort: skip

FILES = {"blazeface": "blaze_320", "slim": "slim", "rfb": "rfb", "retinaface_mobilenet025": "retina_mnet025"}


def config_of(name: str, size=(96, 128)):
    config = pipeline_config.message(str(ROOT / "configs" / f"{name}_320x240_widerface.config"))
    resizer = config.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height, resizer.width = size
    return config


def detector_of(name: str, change=lambda config: None):
    config = config_of(name)
    change(config)
    return registry.build(pipeline_config.from_message(config))


def randomized(network, seed: int = 0):
    generator = np.random.default_rng(seed)
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights(
                [
                    generator.uniform(0.5, 1.5, size),
                    generator.normal(0, 0.3, size),
                    generator.normal(0, 0.3, size),
                    generator.uniform(0.5, 2, size),
                ]
            )
        elif layer.weights:
            kernel, *bias = layer.get_weights()
            inputs = np.prod(kernel.shape[:2]) * (1 if isinstance(layer, tf.keras.layers.DepthwiseConv2D) else kernel.shape[2])
            layer.set_weights(
                [generator.normal(0, (1.5 / inputs) ** 0.5, kernel.shape), *(generator.normal(0, 0.3, b.shape) for b in bias)]
            )
    return network


@pytest.fixture(scope="module")
def pictures():
    from skimage import data

    photo = data.astronaut()
    return np.stack([photo[:384, :512], photo[100:484, :512][:, ::-1]])[:, ::4, ::4].copy()


@pytest.fixture(scope="module", params=FILES)
def built(request):
    return request.param, detector_of(request.param)


def require_same(path: str, detector, pictures) -> None:
    """AssertionError where the file's heads and the detector's differ by more than 1e-4 of values around 1."""
    inputs = detector.input.normalize(pictures.astype(np.float32))
    ours = detector.network(inputs, training=False)
    theirs = run_onnx(path, inputs)
    assert len(theirs) == len(ours)
    by_shape = {end.shape: end for end in theirs}
    for head, values in ours.items():
        expected, kind = by_shape[tuple(values.shape)], head.partition("_head_")[0]
        columns = X_FIRST.get(kind, [0, 1])  # x and y change places: the same list leads back
        expected = expected.reshape(*expected.shape[:3], -1, len(columns))[..., columns].reshape(expected.shape)
        assert np.abs(expected).max() > 0.3 and expected.std() > 0.05  # it says something
        np.testing.assert_allclose(values, expected, atol=1e-4 * max(1, np.abs(expected).max()), err_msg=head)


@pytest.mark.parametrize("form", ["folded", "with batch norms", "real"])
def test_a_files_network_computes_the_same_here(built, form, pictures, tmp_path):
    name, detector = built
    path = SHARED / "peers" / "weights" / "zineos" / f"{FILES[name]}.onnx"
    if form != "real" or not path.is_file():  # a user has no such file: the made one stands for it
        twin = Twin(randomized(detector.network), folded=form != "with batch norms")
        path = twin.write(tmp_path / "twin.onnx")
    randomized(detector.network, seed=1)  # nothing of the twin's is left
    count = published.load(str(path), detector.network)
    assert count == sum(bool(layer.weights) for layer in detector.network.layers)
    require_same(str(path), detector, pictures)


def depth(multiplier):
    def change(config):
        config.model.ssd.feature_extractor.depth_multiplier = multiplier

    return change


@pytest.fixture(scope="module")
def slim():
    return detector_of("slim")


@pytest.fixture(scope="module")
def retina():
    return detector_of("retinaface_mobilenet025")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "rfb",
            lambda config: None,
            r"other layers than .* alone: .*\(convolution 1x1 64>8\).* In the network alone: .*\(depthwise 3x3 64\) \(1 in all",
        ),
        ("slim", depth(0.5), r"other layers than .* In the network alone: stem \(convolution 3x3 3>16 stride 2\)"),
        ("blazeface", lambda config: None, "other layers than"),
    ],
)
def test_a_file_of_another_network_is_refused(slim, name, change, said, tmp_path):
    before = [weight.numpy() for weight in slim.network.weights]
    path = Twin(detector_of(name, change).network, folded=True).write(tmp_path / "other.onnx")
    with pytest.raises(published.WeightsError, match=said) as error:
        published.load(path, slim.network)
    assert str(error.value).startswith(path)
    for weight, value in zip(slim.network.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)  # whole or not at all


def _first(graph, kind: str, place: int = 0):
    return [node for node in graph.node if node.op_type == kind][place]


def _swap_joined(graph):
    joined = _first(graph, "Concat")  # SSH's, whose last two parts have one shape
    joined.input[:] = [joined.input[0], joined.input[2], joined.input[1]]


def _feed_a_head_from_another_level(graph):
    heads = [node for node in graph.node if node.op_type == "Conv"][-9:]
    fed = {node.input[0] for node in heads}
    heads[0].input[0] = next(name for name in fed if name != heads[0].input[0])


def _other_stride(graph):
    next(a for a in _first(graph, "Conv").attribute if a.name == "strides").ints[:] = [1, 1]


def _leave_activation_out(graph):
    activation = _first(graph, "Relu", 3)
    activation.op_type = "Identity"


def _unknown_operator(graph):
    _first(graph, "Relu").op_type = "PRelu"


def _scale(graph):
    after = _first(graph, "Relu", 2)
    scale = graph.initializer.add(name="scale", dims=[1], data_type=1, raw_data=np.float32(0.5).tobytes())
    after.op_type = "Mul"
    after.input.append(scale.name)


def _cut_weights(graph):
    graph.initializer[0].raw_data = graph.initializer[0].raw_data[:-4]


def _take_weights_out(graph):
    graph.initializer[2].name = "elsewhere"


def _integers(graph):
    graph.initializer[0].data_type = 3


def _groups(graph):
    convolution = _first(graph, "Conv", 2)
    next(a for a in convolution.attribute if a.name == "group").i = 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_swap_joined, "connects its layers otherwise than the config's network. In the file alone"),
        (_feed_a_head_from_another_level, "connects its layers otherwise than"),
        (_other_stride, r"other layers than .* In the network alone: stem \(convolution 3x3 3>8 stride 2\) \(1 in all\)"),
        (_leave_activation_out, "In the file alone: none .* In the network alone: .*_relu"),
        (_unknown_operator, "operator PRelu .* is one that no network here has"),
        (_scale, "operator Mul "),
        (_cut_weights, "w0 has 215 numbers where .8, 3, 3, 3. are wanted"),
        (_take_weights_out, "w2, the weights of an operator, are not in the file"),
        (_integers, "w0: weights are wanted as floats"),
        (_groups, "2 groups of several channels"),
    ],
)
def test_a_file_that_is_changed_is_refused(retina, change, said, tmp_path):
    twin = Twin(retina.network, folded=True)
    change(twin.graph)
    with pytest.raises(published.WeightsError, match=said):
        published.load(twin.write(tmp_path / "changed.onnx"), retina.network)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.onnx", None, "cannot be read as an ONNX file"),
        ("text.onnx", b"no such thing", "cannot be read as an ONNX file"),
        ("empty.onnx", b"", "there is no graph in it"),
        ("weights.pth", b"", "weights.pth: a file that ends in .onnx or .tflite is wanted"),
        (None, None, "missing.onnx cannot be read as an ONNX file"),
    ],
)
def test_what_is_no_onnx_file_is_refused(slim, name, content, said, tmp_path):
    path = tmp_path / (name or "missing.onnx")
    if name:
        whole = Twin(slim.network, folded=True).model.SerializeToString()
        path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(published.WeightsError, match=said):
        published.load(str(path), slim.network)


def test_training_begins_where_a_folded_file_ended(retina, pictures, tmp_path):
    """In training a batch norm goes by its batch's statistics: with those that a folded file leaves, the network would be another."""
    network = retina.network
    published.load(Twin(randomized(network), folded=True).write(tmp_path / "twin.onnx"), network)
    inputs = retina.input.normalize(pictures.astype(np.float32))
    before = network(inputs, training=False)

    def change_by_training():
        weights = network.get_weights()
        outputs = network(inputs, training=True)
        network.set_weights(weights)  # without the step of the moving statistics
        return max(np.abs(outputs[head] - before[head]).max() / np.abs(before[head]).max() for head in before)

    assert change_by_training() > 0.1
    assert statistics.measure(network, [inputs[:1], inputs[1:]]) == sum("_BN" in layer.name for layer in network.layers)
    for head, values in network(inputs, training=False).items():
        np.testing.assert_allclose(values, before[head], atol=1e-4 * max(1, np.abs(before[head]).max()))
    assert change_by_training() < 1e-3


def import_weights(*arguments) -> int:
    """scripts/import_weights.py in this process: its return code."""
    spec = importlib.util.spec_from_file_location("import_weights", ROOT / "scripts" / "import_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(list(map(str, arguments)))


def test_the_command_makes_a_checkpoint_that_detects_the_same(slim, pictures, tmp_path, capsys):
    config = tmp_path / "slim.config"
    text = (ROOT / "configs" / "slim_320x240_widerface.config").read_text()
    config.write_text(text.replace("height: 240 width: 320", "height: 96 width: 128"))
    path = Twin(randomized(slim.network), folded=True).write(tmp_path / "slim.onnx")
    command = ["--pipeline_config_path", config, "--output", tmp_path / "out", "--weights"]
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    assert import_weights(*command, path, "--images", tmp_path) == 0
    said = capsys.readouterr().out
    assert "all 74 layers of the network" in said and "of 2 pictures" in said
    loaded = CheckpointDetector.from_checkpoint(pipeline_config.read(str(config)), str(tmp_path / "out"))
    assert loaded.step == 0 and not loaded.quantize
    inputs = slim.input.normalize(pictures.astype(np.float32))
    for head, values in slim.network(inputs, training=False).items():
        np.testing.assert_allclose(loaded.detector.network(inputs, training=False)[head], values, atol=1e-4)
    assert not np.allclose(loaded.detector.network.get_layer("stem_BN").moving_mean, 0)  # it was measured
    for arguments, named in (((tmp_path / "other.onnx",), "other.onnx"), ((path, "--images", tmp_path / "none"), "--images")):
        assert import_weights(*command, *arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ") and named in said
