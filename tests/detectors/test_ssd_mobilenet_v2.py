"""The networks against what they stand for: the OD API's own model, and torchvision's ImageNet features."""

import numpy as np
import pytest
from conftest import BOXES_CONFIG, ROOT, SHARED

from facedet.detectors import registry
from facedet.layers import pretrained
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip
from object_detection.builders import model_builder  # isort: skip


def layers_with(model, kinds):
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def test_equals_the_od_apis_own_ssd_mobilenet_v2():
    """The functional twin, given the OD API model's weights, gives its outputs."""
    keras = tf.keras.layers
    config = pipeline_config.message(str(ROOT / "tests" / "stock_ssd_mobilenet_v2.config"))
    theirs = model_builder.build(config.model, is_training=False)
    images = tf.random.stateless_uniform([2, 300, 300, 3], (1, 2), -1, 1)
    shapes = tf.constant([[300, 300, 3]] * 2)
    theirs.predict(images, shapes)
    generator = np.random.default_rng(0)
    variables = [*theirs._feature_extractor.variables, *theirs._box_predictor.variables]
    for variable in variables:
        low = 0.5 if "variance" in variable.name or "gamma" in variable.name else -0.1
        variable.assign(generator.uniform(low, low + (1.0 if low > 0 else 0.2), variable.shape))
    expected = theirs.predict(images, shapes)

    ours = registry.build(pipeline_config.from_message(config))
    unused = list(variables)

    def take(part, shape):
        found = next(v for v in unused if part in v.name.split("/")[-1] and tuple(v.shape) == tuple(shape))
        unused.pop(next(i for i, v in enumerate(unused) if v is found))
        return found.numpy()

    heads = [layer for layer in layers_with(ours.network, keras.Conv2D) if layer.name.startswith(("box_head", "class_head"))]
    for layer in ours.network.layers:
        if isinstance(layer, keras.BatchNormalization):
            layer.set_weights([take(part, layer.gamma.shape) for part in ("gamma", "beta", "moving_mean", "moving_variance")])
        elif isinstance(layer, keras.DepthwiseConv2D):
            layer.set_weights([take("depthwise_kernel", layer.depthwise_kernel.shape)])
        elif isinstance(layer, keras.Conv2D) and layer not in heads:
            layer.set_weights([take("kernel", layer.kernel.shape)])
    for layer in heads:
        layer.set_weights([take("kernel", layer.kernel.shape), take("bias", layer.bias.shape)])
    assert not unused
    outputs = ours.network(images, training=False)
    found = {"box_encodings": ours._joined(outputs, "box"), "class_predictions_with_background": ours._joined(outputs, "class")}
    np.testing.assert_allclose(ours.anchors_yxyx, expected["anchors"], atol=1e-6)
    for key in found:
        scale = np.abs(expected[key]).max()
        assert scale > 0
        np.testing.assert_allclose(found[key], expected[key], atol=1e-4 * scale)


def fake_torchvision(network, path):
    """A file of torchvision's names and shapes with random values."""
    generator, arrays = np.random.default_rng(0), {}
    for convolution, _, torch, torch_norm in pretrained._torchvision_layers():
        if convolution not in {layer.name for layer in network.layers}:
            continue
        kernel = network.get_layer(convolution).weights[0].shape
        depthwise = convolution.endswith("depthwise")
        shape = (kernel[2], 1, *kernel[:2]) if depthwise else (kernel[3], kernel[2], *kernel[:2])
        arrays[torch + ".weight"] = generator.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        for part, low, high in (("weight", 0.5, 1.5), ("bias", -0.2, 0.6), ("running_mean", -0.2, 0.2), ("running_var", 0.5, 1.5)):
            arrays[f"{torch_norm}.{part}"] = generator.uniform(low, high, shape[0]).astype(np.float32)
    np.savez(path, **arrays)
    return path


def torchvision_features(path, pixels, pad_value):
    """Stride-32 features by torchvision's definition, from its own arrays; pixels [H, W, 3] in 0..1."""
    with np.load(path) as file:
        weights = dict(file)

    def conv_bn(x, conv, norm, stride=1, groups=1, activate=True):
        kernel = weights[conv + ".weight"]
        side = kernel.shape[2] // 2
        x = tf.pad(x, [[0, 0], [side, side], [side, side], [0, 0]])
        if groups > 1:
            x = tf.nn.depthwise_conv2d(x, kernel.transpose(2, 3, 0, 1), [1, stride, stride, 1], "VALID")
        else:
            x = tf.nn.conv2d(x, kernel.transpose(2, 3, 1, 0), stride, "VALID")
        gamma, beta, mean, variance = (weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
        return tf.clip_by_value(x, 0, 6) if activate else x

    # the border: torchvision pads its normalized picture with zeros, our network its own -1..1, so it is padded beforehand
    x = (
        tf.pad(((pixels - pretrained._MEAN) / pretrained._STD)[None].astype(np.float32) - pad_value, [[0, 0], [1, 1], [1, 1], [0, 0]])
        + pad_value
    )
    kernel = weights["features.0.0.weight"].transpose(2, 3, 1, 0)
    x = tf.nn.conv2d(x, kernel, 2, "VALID")
    gamma, beta, mean, variance = (weights[f"features.0.1.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
    x = tf.clip_by_value((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0, 6)
    channels = 32
    settings = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2)]
    number = 1
    for expand, out, repeats, first_stride in settings:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            prefix, y = f"features.{number}.conv", x
            if expand > 1:
                y = conv_bn(y, f"{prefix}.0.0", f"{prefix}.0.1")
            depthwise = 1 if expand > 1 else 0
            y = conv_bn(y, f"{prefix}.{depthwise}.0", f"{prefix}.{depthwise}.1", stride, groups=2)
            y = conv_bn(y, f"{prefix}.{depthwise + 1}", f"{prefix}.{depthwise + 2}", activate=False)
            x = x + y if stride == 1 and channels == out else y
            channels, number = out, number + 1
    return x.numpy()


@pytest.mark.parametrize("source", ["made", "real"])
def test_backbone_gives_torchvisions_features(source, tmp_path):
    network = registry.build(pipeline_config.read(str(BOXES_CONFIG))).network
    path = SHARED / "data" / "weights" / "mobilenet_v2_imagenet_torchvision.npz"
    if source == "made" or not path.is_file():  # a user has no such file: the made one stands for it
        path = fake_torchvision(network, tmp_path / "weights.npz")
    pretrained.load_torchvision(network, str(path))
    from skimage import data

    pixels = data.astronaut()[::2, ::2][:224, :224] / 255.0
    middle_grey = (0.5 - pretrained._MEAN) / pretrained._STD  # what our zeros mean to torchvision
    expected = torchvision_features(path, pixels, middle_grey.astype(np.float32))
    features = tf.keras.Model(network.inputs, network.get_layer("block_15_add").output)(pixels[None] * 2 - 1).numpy()
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(features, expected, atol=2e-3 * np.abs(expected).max())


def test_a_wrong_width_is_refused(tmp_path):
    config = pipeline_config.message(str(BOXES_CONFIG))
    full = registry.build(pipeline_config.from_message(config)).network
    path = fake_torchvision(full, tmp_path / "weights.npz")
    config.model.ssd.feature_extractor.depth_multiplier = 0.5
    narrow = registry.build(pipeline_config.from_message(config)).network
    with pytest.raises(pipeline_config.ConfigError, match="fine_tune_checkpoint.*depth_multiplier"):
        pretrained.load_torchvision(narrow, str(path))


def test_backbone_gives_kerass_features():
    """Keras's own MobileNetV2 pads as TensorFlow does: the weights fit a config without use_explicit_padding."""
    config = pipeline_config.message(str(BOXES_CONFIG))
    config.model.ssd.feature_extractor.use_explicit_padding = False
    network = registry.build(pipeline_config.from_message(config)).network
    source = tf.keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3))
    generator = np.random.default_rng(0)
    for layer in source.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    pretrained._copy_keras(source, network)
    images = tf.random.stateless_uniform([1, 224, 224, 3], (3, 4), -1, 1)
    features = [
        tf.keras.Model(model.inputs, model.get_layer("block_15_add").output)(images, training=False).numpy() for model in (source, network)
    ]
    np.testing.assert_allclose(features[1], features[0], atol=1e-3 * np.abs(features[0]).max())


def test_without_network_the_way_out_is_named_as_the_config_s_error(monkeypatch):
    network = registry.build(pipeline_config.read(str(BOXES_CONFIG))).network

    def refused(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(pretrained.keras.applications, "MobileNetV2", refused)
    with pytest.raises(pipeline_config.ConfigError, match=r"fine_tune_checkpoint: imagenet: .*no network.*\.npz.*random weights"):
        pretrained.load_imagenet(network)


def test_imagenet_means_the_same_weights_wherever_it_is_asked_for(monkeypatch, tmp_path):
    """A file that happens to lie near the folder changes nothing: such files are named in the config."""
    network = registry.build(pipeline_config.read(str(BOXES_CONFIG))).network
    source = tf.keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3))
    monkeypatch.setattr(pretrained.keras.applications, "MobileNetV2", lambda *args, **kwargs: source)
    for folder in (tmp_path / "shared", tmp_path / "project"):
        (folder / "data" / "weights").mkdir(parents=True)
        fake_torchvision(network, folder / "data" / "weights" / "mobilenet_v2_other.npz")
    monkeypatch.chdir(tmp_path / "project")
    assert pretrained.load_imagenet(network) > 50
    kernels = [model.get_layer("block_3_expand").get_weights()[0] for model in (network, source)]
    np.testing.assert_array_equal(*kernels)


def test_a_network_without_the_backbone_is_not_said_to_start_from_imagenet(tmp_path):
    network = registry.build(pipeline_config.read(str(BOXES_CONFIG))).network
    path = fake_torchvision(network, tmp_path / "weights.npz")
    image = tf.keras.Input((32, 32, 3))
    foreign = tf.keras.Model(image, tf.keras.layers.Conv2D(4, 3, name="another")(image))
    with pytest.raises(pipeline_config.ConfigError, match="no MobileNetV2 backbone"):
        pretrained.load_torchvision(foreign, str(path))
    with pytest.raises(pipeline_config.ConfigError, match="no MobileNetV2 backbone"):
        pretrained._copy_keras(network, foreign)


@pytest.mark.parametrize("content", [b"no zip at all", b"PK\x03\x04 cut", None])
def test_a_file_that_is_not_torchvisions_is_named(tmp_path, content):
    network = registry.build(pipeline_config.read(str(BOXES_CONFIG))).network
    path = tmp_path / "weights.npz"
    if content is None:
        np.savez(path, other=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(pipeline_config.ConfigError, match=r"fine_tune_checkpoint: .*weights\.npz"):
        pretrained.load_torchvision(network, str(path))
