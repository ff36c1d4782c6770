"""AInnoFace: its size by SYSTEMS' figures, the two steps in training and in inference, and torchvision's weights."""

import math

import numpy as np
import pytest
from conftest import ROOT

from facedet.assign import box_losses, codecs
from facedet.detectors import registry
from facedet.detectors.base import Faces
from facedet.export.formats import flatbuffer, tflite
from facedet.od_api import protos
from facedet.od_api.anchors import AnchorGenerator
from facedet.quantization.plan import plan
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip

RESNET18 = ROOT / "configs" / "ainnoface_resnet18_512x512_widerface.config"
RESNET152 = ROOT / "configs" / "ainnoface_resnet152_1024x1024_widerface.config"
FILTERED = math.log(0.01 / 0.99)  # logit of a first step that is .99 sure of the background


def build(path, side, **options):
    config = pipeline_config.message(str(path))
    resizer = config.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = side
    for key, value in options.items():
        setattr(protos.detector(config), key, value)
    return registry.build(pipeline_config.from_message(config))


@pytest.fixture(scope="module")
def detector():
    return build(RESNET18, 128)


def parameters(layers) -> int:
    return sum(int(np.prod(weight.shape)) for layer in layers for weight in layer.trainable_weights)


def in_backbone(layer) -> bool:
    return layer.name in ("conv1", "bn1") or layer.name.startswith("layer")


def multiply_adds(network) -> int:
    return sum(
        int(np.prod(step.layer.kernel.shape) * np.prod(step.target.shape[1:3])) for step in plan(network) if hasattr(step.layer, "kernel")
    )


def of_the_first_steps_idle_heads(detector) -> int:
    """What silentz's network computes in its first step and nothing uses: boxes of the fine levels, classes of the coarse ones."""
    total = 0
    for head, levels in (("box_head", detector._places[:3]), ("class_head", detector._places[3:])):
        weights = sum(
            int(np.prod(layer.kernel.shape)) for layer in detector.network.layers if layer.name.startswith(head) and layer.weights
        )
        total += weights * sum(rows * columns for rows, columns in levels)
    return total


# parameters, those of the ResNet, multiply-adds at 512x512 with the idle heads (shared facts, section 4)
@pytest.mark.parametrize(
    ("path", "options", "side", "counts"),
    [
        (RESNET18, {}, 128, (13_045_002, 11_176_512, 18.2)),
        (RESNET152, {"max_out_background": 1, "max_out_face": 1}, 128, (88_006_474, 58_143_808, 200.1)),
    ],
    ids=("18", "152"),
)
def test_it_is_as_large_as_it_has_to_be(path, options, side, counts):
    made = build(path, side, **options)
    layers = made.network.layers
    assert (parameters(layers), parameters(filter(in_backbone, layers))) == counts[:2]
    giga = (multiply_adds(made.network) + of_the_first_steps_idle_heads(made)) * (512 / side) ** 2 / 1e9
    assert giga == pytest.approx(counts[2], abs=0.06)


@pytest.mark.parametrize(("path", "side", "count"), [(RESNET18, 512, 43_680), (RESNET152, 1024, 174_720)])
def test_anchors_are_the_systems(path, side, count):
    recipe = pipeline_config.read(str(path))
    assert recipe.input.size == (side, side)
    levels = [(side // 4 // 2**level,) * 2 for level in range(6)]
    boxes = AnchorGenerator(recipe.anchors).lay(levels, side, side) * side
    assert len(boxes) == count
    width, height = (boxes[:2, 3] - boxes[:2, 1]), (boxes[:2, 2] - boxes[:2, 0])
    np.testing.assert_allclose(np.stack([width, height], 1), [(7.155, 8.944), (10.119, 12.649)], atol=2e-3)
    np.testing.assert_allclose((boxes[0, :2] + boxes[0, 2:]) / 2, 2, atol=1e-4)  # the middle of the first place
    width, height = boxes[-1, 3] - boxes[-1, 1], boxes[-1, 2] - boxes[-1, 0]
    assert (width, height) == (pytest.approx(323.8, abs=0.1), pytest.approx(404.8, abs=0.1))


def outputs_of(detector, batch=1, first_logit=5.0, **values) -> dict:
    """Every head's map: codes 0, the first step's class `first_logit`, and what `values` says of a head."""
    made = {}
    for name, tensor in detector.network.output.items():
        fill = values.get(name, first_logit if name.startswith("first_class") else 0.0)
        made[name] = np.full((batch, *tensor.shape[1:]), fill, np.float32)
    return made


def face(*box):
    return Faces([tf.constant([box], tf.float32)], [tf.ones([1])], [tf.fill([1, 5, 2], float("nan"))])


def test_what_the_first_step_filters_has_no_score_and_no_loss(detector):
    kept = outputs_of(detector, first_logit=FILTERED + 0.01)
    filtered = outputs_of(detector, first_logit=FILTERED - 0.01)
    fine = detector._fine.stop
    assert fine == 2 * (32 * 32 + 16 * 16 + 8 * 8) and len(detector.anchors_yxyx) == fine + 2 * (16 + 4 + 1)
    np.testing.assert_allclose(detector.decode(kept).scores, 0.5)
    scores = detector.decode(filtered).scores.numpy()
    assert (scores[:, :fine] == 0).all() and (scores[:, fine:] == 0.5).all()
    # background: the same, whatever the second step says of it
    nobody = Faces([tf.zeros([0, 4])], [tf.zeros([0])], [tf.zeros([0, 5, 2])])
    everything, coarse_only = (losses(detector, outputs, nobody)["classification"] for outputs in (kept, filtered))
    assert everything / coarse_only == pytest.approx(len(detector.anchors_yxyx) / 42, rel=1e-3)  # at 0 every anchor's loss is the same
    loud = dict(filtered, class_head_0=filtered["class_head_0"] + 9)
    assert losses(detector, loud, nobody)["classification"] == pytest.approx(coarse_only)
    assert losses(detector, dict(kept, class_head_0=kept["class_head_0"] + 9), nobody)["classification"] > 2 * everything
    # a face of a fine anchor: nothing of it is learned by the second step, all by the first
    on_fine = face(*detector.anchors_yxyx[2 * (32 * 16 + 16)])
    assert losses(detector, filtered, on_fine)["localization"] == 0
    moved = dict(filtered, box_head_0=filtered["box_head_0"] + 0.3)
    assert losses(detector, moved, on_fine)["localization"] == 0
    moved = dict(kept, box_head_0=kept["box_head_0"] + 0.3)
    assert losses(detector, moved, on_fine)["localization"] > 0.2
    assert losses(detector, filtered, on_fine)["first_classification"] > 1


def losses(detector, outputs, faces) -> dict:
    tensors = {name: tf.constant(values) for name, values in outputs.items()}
    return {name.removeprefix("Loss/").removesuffix("_loss"): float(value) for name, value in detector.losses(tensors, faces).items()}


def coarse_box(codes, box):
    """[ty, tx, th, tw] of each -> where a coarse box goes."""
    ymin, xmin, ymax, xmax = box
    height, width = ymax - ymin, xmax - xmin
    y, x = (ymin + ymax) / 2 + codes[0] * height, (xmin + xmax) / 2 + codes[1] * width
    height, width = height * math.exp(codes[2]), width * math.exp(codes[3])
    return y - height / 2, x - width / 2, y + height / 2, x + width / 2


def test_the_second_step_starts_from_the_firsts_boxes_on_coarse_levels_alone(detector):
    first, second = np.array([0.1, -0.2, 0.3, 0.1]), np.array([-0.3, 0.2, -0.2, 0.4])
    values = {f"first_box_head_{level}": np.tile(first, 2) for level in range(3)} | {
        f"box_head_{level}": np.tile(second, 2) for level in range(6)
    }
    found = codecs.corners(detector.decode(outputs_of(detector, **values)).boxes_yxhw)[0].numpy()
    for at in (0, detector._fine.stop - 1):
        np.testing.assert_allclose(found[at], coarse_box(second, detector.anchors_yxyx[at]), rtol=1e-4)
    for at in (detector._fine.stop, len(found) - 1):
        np.testing.assert_allclose(found[at], coarse_box(second, coarse_box(first, detector.anchors_yxyx[at])), rtol=1e-4)


def test_the_second_step_is_matched_with_the_firsts_boxes(detector):
    """A face three times as wide as the anchors are is nobody's, until the first step widens its anchor."""
    anchor = detector.anchors_yxyx[detector._fine.stop + 2 * 5]  # of stride 32
    codes = (0.0, 0.0, 0.0, 1.2)
    wide = face(*coarse_box(codes, anchor))
    still = losses(detector, outputs_of(detector), wide)
    moved = outputs_of(detector, first_box_head_0=np.tile(codes, 2))
    exact = losses(detector, moved, wide)
    assert still["localization"] == 0 < exact["localization"] < 0.7
    assert exact["classification"] != pytest.approx(still["classification"], rel=1e-3)
    nudged = dict(moved, box_head_3=moved["box_head_3"] + np.float32([0, 0, 0.4, 0.4] * 2))
    assert losses(detector, nudged, wide)["localization"] > exact["localization"] + 0.1


def test_each_step_has_its_thresholds(detector):
    """An overlap of .6 is a face to the second step, neither face nor background to the first."""
    at = detector._fine.stop + 2 * 5
    ymin, xmin, ymax, xmax = detector.anchors_yxyx[at]
    first = losses(detector, outputs_of(detector), face(ymin, xmin, ymax, xmax))
    partly = losses(detector, outputs_of(detector), face(ymin, xmin, ymin + 0.6 * (ymax - ymin), xmax))
    assert first["first_localization"] == pytest.approx(0, abs=1e-3) == partly["first_localization"]
    moved = {"first_box_head_0": np.tile([0, 0, 0.1, 0], 2)}
    assert losses(detector, outputs_of(detector, **moved), face(ymin, xmin, ymax, xmax))["first_localization"] > 0.05
    assert losses(detector, outputs_of(detector, **moved), face(ymin, xmin, ymin + 0.6 * (ymax - ymin), xmax))["first_localization"] == 0
    assert partly["localization"] > 0.3


def test_gradients_of_the_second_step_do_not_reach_the_first(detector):
    tensors = {name: tf.Variable(values) for name, values in outputs_of(detector, first_logit=0.0).items()}
    faces = face(*coarse_box((0.05, 0.05, 0.1, 0), detector.anchors_yxyx[detector._fine.stop + 2 * 5]))
    with tf.GradientTape(persistent=True) as tape:
        found = detector.losses(dict(tensors), faces)
    first, second = ("Loss/first_localization_loss", "first_box_head_0"), ("Loss/localization_loss", "box_head_3")
    for loss, head in (first, second):
        assert np.abs(tape.gradient(found[loss], tensors[head])).max() > 0
    assert tape.gradient(found[second[0]], tensors[first[1]]) is None
    assert tape.gradient(found["Loss/classification_loss"], tensors["first_class_head_0"]) is None


def test_max_out_takes_the_greatest_score_of_each():
    made = build(RESNET18, 128, max_out_background=2, max_out_face=3)
    scores = np.array([1.0, -4.0, 0.0, 2.5, -1.0])  # two of the background, three of the face
    values = {name: np.tile(scores, 2) for name in made.network.output if "class_head" in name}
    np.testing.assert_allclose(made.decode(outputs_of(made, **values)).scores, 1 / (1 + math.exp(-1.5)), rtol=1e-5)
    bias = made.network.get_layer("class_head").bias.numpy()
    np.testing.assert_allclose(bias, [0, 0, -4, -4, -4] * 2)


def test_the_tail_is_what_phones_graphics_processors_run(detector):
    data = flatbuffer.pack(tflite._tail(detector, lambda maps: tflite._raw(detector, maps)))
    operators = flatbuffer.unpack(data).subgraphs[0].operators
    assert not any(getattr(operator.builtinOptions, "shrinkAxisMask", 0) for operator in operators)  # no slice drops an axis
    assert set(flatbuffer.operators(data)) <= {
        "RESHAPE", "CONCATENATION", "STRIDED_SLICE", "SPLIT", "SPLIT_V", "ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM", "RELU", "EXP", "LOGISTIC"
    }  # fmt: skip


def test_log_iou():
    one = tf.constant([[0.0, 0.0, 2.0, 2.0]] * 3)
    other = tf.constant([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.0], [5.0, 5.0, 6.0, 6.0]])
    found = box_losses.log_iou(one, other, tf.constant([1.0, 3.0, 1.0])).numpy()
    np.testing.assert_allclose(found, [0, 3 * math.log(2), math.log(100)], rtol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(one)
        loss = box_losses.log_iou(one, tf.zeros_like(one), tf.ones([3]))
    assert np.isfinite(tape.gradient(loss, one)).all() and np.isfinite(loss).all()


def torchvision_weights(generator) -> dict:
    """A ResNet-18 by torchvision's names, in torchvision's shapes: out, in, height, width."""
    made = {}

    def conv(name, out, given, kernel):
        made[f"{name}.weight"] = generator.normal(0, 1 / math.sqrt(given * kernel**2), (out, given, kernel, kernel)).astype(np.float32)

    def norm(name, channels):
        for part, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            made[f"{name}.{part}"] = generator.uniform(low, low + 1, channels).astype(np.float32)

    conv("conv1", 64, 3, 7), norm("bn1", 64)
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            prefix, given = f"layer{stage}.{block}", width // 2 if stage > 1 and not block else width
            conv(f"{prefix}.conv1", width, given, 3), norm(f"{prefix}.bn1", width)
            conv(f"{prefix}.conv2", width, width, 3), norm(f"{prefix}.bn2", width)
            if given != width:
                conv(f"{prefix}.downsample.0", width, given, 1), norm(f"{prefix}.downsample.1", width)
    return made | {"fc.weight": np.zeros((1000, 512), np.float32)}


def torchvision_features(weights, image):
    """Its forward pass up to stride 32, in plain TensorFlow: zeros on both sides, the first 3x3 of a stage strides."""

    def conv_bn(x, conv, norm, stride=1):
        kernel = weights[f"{conv}.weight"].transpose(2, 3, 1, 0)
        half = kernel.shape[0] // 2
        x = tf.nn.conv2d(tf.pad(x, [[0, 0], [half, half], [half, half], [0, 0]]), kernel, stride, "VALID")
        mean, variance, shift, scale = (weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "bias", "weight"))
        return tf.nn.batch_normalization(x, mean, variance, shift, scale, 1e-5)

    x = tf.nn.relu(conv_bn(image, "conv1", "bn1", 2))
    x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")
    for stage in range(1, 5):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and not block else 1
            shortcut = conv_bn(x, f"{name}.downsample.0", f"{name}.downsample.1", stride) if f"{name}.downsample.0.weight" in weights else x
            x = tf.nn.relu(conv_bn(x, f"{name}.conv1", f"{name}.bn1", stride))
            x = tf.nn.relu(conv_bn(x, f"{name}.conv2", f"{name}.bn2") + shortcut)
    return x


def test_torchvisions_weights_give_torchvisions_features(detector, tmp_path):
    generator = np.random.default_rng(0)
    weights = torchvision_weights(generator)
    np.savez(tmp_path / "resnet18.npz", **weights)
    assert detector.initialize(str(tmp_path / "resnet18.npz")) == 40
    image = generator.normal(0, 1, (1, 128, 128, 3)).astype(np.float32)
    features = tf.keras.Model(detector.network.inputs, detector.network.get_layer("layer4_1_relu").output)(image, training=False)
    expected = torchvision_features(weights, image)
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


def test_other_weights_are_refused(detector, tmp_path):
    weights = torchvision_weights(np.random.default_rng(0))
    before = detector.network.get_layer("conv1").get_weights()[0]
    del weights["layer4.1.bn2.bias"]
    np.savez(tmp_path / "short.npz", **weights)
    np.savez(tmp_path / "wide.npz", **weights | {"layer4.1.bn2.bias": np.zeros(9, np.float32)})
    (tmp_path / "no.npz").write_bytes(b"PK")
    for name, told in (
        ("short.npz", "has no array 'layer4.1.bn2.bias': it is not torchvision's resnet18"), ("wide.npz", r"layer4\.1\.bn2 has \[\(512,\), \(9,\)"),
        ("no.npz", "cannot be read as an .npz"), ("gone.npz", "cannot be read as an .npz"),
    ):  # fmt: skip
        with pytest.raises(pipeline_config.ConfigError, match=told):
            detector.initialize(str(tmp_path / name))
    with pytest.raises(pipeline_config.ConfigError, match=r"numpy\.savez\('resnet18\.npz'"):
        detector.initialize("imagenet")
    np.testing.assert_array_equal(detector.network.get_layer("conv1").get_weights()[0], before)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("RELU\n", "RELU_6\n", "conv_hyperparams.activation"),
        ("kernel_size: 1", "kernel_size: 3", "kernel_size: 3"),
        ("add_background_class: false", "add_background_class: true", "max_out_background scores the background"),
        ("score_converter: SIGMOID", "score_converter: IDENTITY", "SIGMOID is wanted"),
        ("[8.0, 11.3137] aspect_ratios: [0.8, 0.8]", "[8.0] aspect_ratios: [0.8]", "they share their heads"),
    ],
)
def test_what_it_cannot_honour_is_refused(old, new, told):
    text = RESNET18.read_text()
    assert old in text
    with pytest.raises(pipeline_config.ConfigError, match=told):
        registry.build(pipeline_config.parse(text.replace(old, new), "my.config"))
