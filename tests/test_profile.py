"""Profiles and pictures of networks: a small one whose figures are counted by hand, as a network and as a file, and the shipped one."""

import importlib.util
import itertools
import json

import landmark_file
import pytest
from conftest import MAIN_CONFIG, ROOT, SHIPPED, run
from PIL import Image

from facedet.evaluation import network_drawing, profile

KEYS = {"name", "input", "parameters", "trainable", "statistics", "multiply_adds", "peak_activation_bytes", "weight_bytes", "file_bytes",
        "anchors", "operators", "published_flops"}  # fmt: skip
CARD = json.loads((SHIPPED / "model_card.json").read_text())
# By hand, kernels + biases or batch norm: 108 + 16, 36 + 4, 144 + 4, and once 8 + 2. 64 places, four channels; the shared layer gives two.
PARAMETERS, STATISTICS = 124 + 40 + 148 + 10, 8
MULTIPLY_ADDS = [("first", 256 * 27), ("depthwise", 256 * 9), ("dilated", 256 * 36), ("head", 128 * 4), ("head", 32 * 4)]
TOTAL = sum(count for _, count in MULTIPLY_ADDS)
PEAK = 256 + 256 + 256  # while the dilated layer runs: what it takes, what it gives, and the first one's, which is what dropout gives, too
BIASES = 256 + 256 + 128 + 32


@pytest.fixture(scope="module")
def small():
    """Image -> first -> dropout -> depthwise -> dilated -> sum with what dropout gave -> with first; its head serves two sizes."""
    from facedet.keras2 import keras

    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    first = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False, name="first")(image)))
    dropped = layers.Dropout(0.1, name="dropped")(first)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(dropped)
    x = layers.Conv2D(4, 3, padding="same", dilation_rate=2, name="dilated")(x)
    x = layers.Add(name="again")([layers.Add(name="sum")([x, dropped]), first])
    head = layers.Conv2D(2, 1, name="head")
    network = keras.Model(image, {"box_head_0": head(x), "box_head_1": head(layers.MaxPooling2D(2, name="pool")(x))})
    for i, weight in enumerate(network.weights):  # a converter keeps equal values once
        weight.assign(weight + 0.01 * (i + 1))
    return network


@pytest.fixture(scope="module")
def small_profile(small):
    from facedet.evaluation import network_profile

    return network_profile.of_network(small, "small")


def test_figures_of_a_network_are_those_counted_by_hand(small, small_profile):
    from facedet.evaluation import network_profile

    made = small_profile
    assert (made.parameters, made.statistics) == (PARAMETERS, STATISTICS) and made.parameters == small.count_params()
    assert sorted((layer.name.split()[0], layer.multiply_adds) for layer in made.layers if layer.multiply_adds) == sorted(MULTIPLY_ADDS)
    assert made.multiply_adds == network_profile.multiply_adds(small) == TOTAL
    assert made.peak_activation_bytes == {"float32": 4 * PEAK, "int8": PEAK}
    assert made.weight_bytes == {"float32": 4 * (296 + 14), "int8": 296 + 4 * 14}
    assert made.operators == {"Conv2D": 4, "Add": 2, "Dropout": 1, "DepthwiseConv2D": 1, "MaxPooling2D": 1}


def test_layers_tell_where_from_what_and_how_large(small_profile):
    rows = {layer.name: layer for layer in small_profile.layers}
    assert rows["first"].detail == "3x3, BN, ReLU" and rows["first"].sources == ("image",)
    assert rows["dilated"].detail == "3x3, dilation 2" and rows["dilated"].shape == (8, 8, 4)
    assert set(rows["sum"].sources) == {"dilated", "dropped"}
    assert (rows["head"].parameters, rows["head (use 2)"].parameters) == (10, 0)
    assert {rows["head"].output, rows["head (use 2)"].output} == {"box_head_0", "box_head_1"}


def test_published_flops_add_biases_and_two_or_four_a_normalized_value(small_profile):
    total = TOTAL + BIASES
    assert small_profile.published == {2: total + 2 * 256, 4: total + 4 * 256}


@pytest.mark.parametrize(
    "name, parameters, millions, rule, published, anchors",
    [
        ("slim_320x240", 343_488, 87.5, 4, 98.793, 4_420),
        ("rfb_320x240", 359_592, 106.5, 4, 118.435, 4_420),
        ("retinaface_mobilenet025_320x240", 426_608, 184.7, 4, 193.921, 3_160),
        ("blazeface_320x240", 175_280, 217.3, 2, 228.134, 4_200),
    ],
)
def test_the_published_table_of_zineos_is_reproduced_by_its_two_rules(name, parameters, millions, rule, published, anchors):
    """Its README's "flops", which count by another rule in the last row; the multiply-adds beside them are comparable."""
    made = profile.read(str(ROOT / "configs" / f"{name}_widerface.config"))
    assert made.parameters - made.statistics == parameters and made.anchors == anchors
    assert round(made.multiply_adds / 1e6, 1) == millions
    assert round(made.published[rule] / 1e6, 3) == published


def test_a_file_has_the_figures_of_its_network(small, tmp_path):
    import tensorflow as tf

    function = tf.function(small).get_concrete_function(tf.TensorSpec([1, 8, 8, 3], tf.float32))
    path = tmp_path / "small.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], small).convert())
    made = profile.read(str(path))
    assert made.parameters == 310 and made.statistics == 0 and made.weight_bytes == {"float32": 1240}
    assert sorted(layer.multiply_adds for layer in made.layers if layer.multiply_adds) == sorted(count for _, count in MULTIPLY_ADDS)
    assert made.peak_activation_bytes == {"float32": 4 * PEAK}
    assert made.operators == {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 1, "ADD": 2, "MAX_POOL_2D": 1}
    assert "3x3, dilation 2" in [layer.detail for layer in made.layers]
    assert made.file_bytes == path.stat().st_size


@pytest.mark.parametrize("raw", [True, False])
def test_anchors_of_a_landmark_file_are_counted_before_suppression(raw, tmp_path):
    path = tmp_path / "landmarks.tflite"
    path.write_bytes(landmark_file.make(raw))
    made = profile.read(str(path))
    assert made.anchors == landmark_file.ROWS * landmark_file.COLUMNS and made.input == (landmark_file.HEIGHT, landmark_file.WIDTH)
    assert {layer.output for layer in made.layers} >= ({"raw_boxes", "raw_landmarks"} if raw else {"detection_landmarks"})


def test_tensors_die_after_their_last_use():
    steps = [(["image"], ["a"]), (["a"], ["b"]), (["b"], ["c", "spare"]), (["c", "a"], ["d"])]
    sizes = {"image": 8, "a": 4, "b": 16, "c": 2, "spare": 1, "d": 10}
    assert profile.peak(steps, ["d"], sizes) == 4 + 16 + 2 + 1
    assert profile.peak(steps, ["d", "b"], sizes) == 4 + 16 + 2 + 10  # an output is kept to the end


def command(name: str):
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_command_agrees_with_the_shipped_card_for_config_and_files(capsys):
    files = [SHIPPED / f"{SHIPPED.name}_{kind}.tflite" for kind in ("float16_raw", "int8")]
    assert command("profile")([*map(str, (MAIN_CONFIG, *files)), "--json"]) == 0
    config, *exported = json.loads(capsys.readouterr().out)
    assert config["parameters"] == config["trainable"] + config["statistics"] == CARD["parameters"]
    assert config["file_bytes"] is None and set(config) == KEYS
    for made in (config, *exported):
        assert made["multiply_adds"] == CARD["multiply_adds"] and made["anchors"] == CARD["anchors"]["count"]
        for precision, size in made["peak_activation_bytes"].items():
            assert size == config["peak_activation_bytes"][precision]
    assert [list(made["peak_activation_bytes"]) for made in exported] == [["float32"], ["int8"]]
    assert [list(made["weight_bytes"]) for made in exported] == [["float16"], ["int8"]]
    assert 2 * exported[0]["weight_bytes"]["float16"] == config["weight_bytes"]["float32"]
    for made, path in zip(exported, files, strict=True):
        assert made["file_bytes"] == path.stat().st_size
        assert made["operators"]["DEPTHWISE_CONV_2D"] == config["operators"]["DepthwiseConv2D"]
    assert exported[1]["operators"]["NON_MAX_SUPPRESSION_V4"] == 1


def test_layers_are_printed_one_by_one_and_their_sum_is_the_total():
    path = SHIPPED / f"{SHIPPED.name}_int8.tflite"
    (made,) = json.loads(run("scripts/profile.py", path, "--json", "--layers"))
    assert set(made) == KEYS | {"layers"} and made["published_flops"] is None
    assert sum(layer["multiply_adds"] for layer in made["layers"]) == made["multiply_adds"]
    printed = run("scripts/profile.py", path, "--layers", "--published_rules")
    assert "11,564" in printed and all(layer["name"] in printed for layer in made["layers"])
    assert "CONV_2D 3x3/2, ReLU6" in printed and "112x112x32" in printed


@pytest.mark.parametrize("name", ["profile", "print_model"])
def test_what_cannot_be_read_is_named(name, tmp_path, capsys):
    shipped = (SHIPPED / f"{SHIPPED.name}_int8.tflite").read_bytes()
    wrong = {
        "absent.config": (None, "No such file"),
        "picture.png": (b"\x89PNG\xff\xfe", "neither"),
        "notes.txt": (b"Some words.", "neither"),
        "typing.config": (b"model { sdd {} }", "sdd"),
        "cut.tflite": (shipped[: len(shipped) // 2], "damaged"),
        "empty.tflite": (b"", "damaged"),
    }
    for file, (content, reason) in wrong.items():
        if content is not None:
            (tmp_path / file).write_bytes(content)
        assert command(name)([str(tmp_path / file)]) == 1
        said = capsys.readouterr()
        assert not said.out and said.err.startswith("error: ") and file in said.err and reason in said.err, said


def test_every_layer_and_connection_is_in_the_picture_and_no_line_crosses_a_block(small_profile):
    for made in (small_profile, profile.read(str(MAIN_CONFIG)), profile.read(str(SHIPPED / f"{SHIPPED.name}_int8_raw.tflite"))):
        blocks, connections = network_drawing.layout(made)
        drawn = [layer for block in blocks for layer in block.layers]
        assert sorted(layer.name for layer in drawn) == sorted(["image", *(layer.name for layer in made.layers)])
        follows = {(a.name, b.name) for block in blocks for a, b in itertools.pairwise(block.layers)}
        follows |= {(line.start.layers[-1].name, line.end.layers[0].name) for line in connections}
        assert follows == {(source, layer.name) for layer in made.layers for source in layer.sources}
        for a, b in itertools.combinations(blocks, 2):
            assert a.bottom < b.top or b.bottom < a.top or a.left + a.width < b.left or b.left + b.width < a.left
        for line in connections:
            for (x, y), (to_x, to_y) in itertools.pairwise(line.points):
                for block in {*blocks} - {line.start, line.end}:
                    beside = max(x, to_x) < block.left or min(x, to_x) > block.left + block.width
                    assert beside or max(y, to_y) < block.top or min(y, to_y) > block.bottom, (line, block)


def test_no_two_connections_run_on_one_line_unless_they_come_from_one_block_or_lead_into_one():
    made = profile.read(str(ROOT / "configs" / "retinaface_mobilenet025_320x240_widerface.config"))
    _, connections = network_drawing.layout(made)
    pieces = [(line, *sorted(piece)) for line in connections for piece in itertools.pairwise(line.points)]
    for (one, (x, y), (to_x, to_y)), (other, (u, v), (to_u, to_v)) in itertools.combinations(pieces, 2):
        if one.start is not other.start and one.end is not other.end:
            down = x == to_x == u == to_u and min(to_y, to_v) - max(y, v) > 1e-6
            across = y == to_y == v == to_v and min(to_x, to_u) - max(x, u) > 1e-6
            assert not down and not across, (one, other)


def test_print_model_prints_the_structure_and_draws_it_with_coloured_heads(tmp_path, capsys):
    picture = tmp_path / "network.png"
    assert command("print_model")([str(MAIN_CONFIG), "--output", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert f"{CARD['parameters']:,}" in printed and f"{CARD['multiply_adds']:,}" in printed and "box_head_0" in printed
    with Image.open(picture) as image:
        colours = {colour: count for count, colour in image.convert("RGB").getcolors(2**24)}
        assert image.width > 800 and image.height > 1500
    heads = [tuple(bytes.fromhex(colour[1:])) for colour in network_drawing.HEADS[:2]]
    assert all(colours.get(head, 0) > 2000 for head in heads)  # boxes and classes
    file = str(SHIPPED / f"{SHIPPED.name}_int8.tflite")
    for wrong in ("absent/x.png", "picture.gif.txt2"):
        assert command("print_model")([file, "--output", str(tmp_path / wrong)]) == 1
        assert f"--output {tmp_path / wrong}" in capsys.readouterr().err
