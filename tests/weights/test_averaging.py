"""The mean of two checkpoints: each weight and range lies so far between, what one lacks stays, and two widths have no mean."""

import numpy as np
import pytest
from conftest import BOXES_CONFIG, MAIN_CONFIG, SHIPPED, run

from facedet.detectors import registry
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
from facedet.weights import averaging, checkpoints


def network(seed: int, points: bool = False, depth: int = 16):
    text = BOXES_CONFIG.read_text().replace("height: 224 width: 224", "height: 64 width: 64")
    text = text.replace("additional_layer_depth: 64", f"additional_layer_depth: {depth}")
    if points:
        text = text.replace("faster_rcnn_box_coder {", "keypoint_box_coder { num_keypoints: 5")
    built = QuantizableNetwork(registry.build(pipeline_config.parse(text)).network)
    generator = np.random.default_rng(seed)
    for variable in checkpoints.named_weights(built).values():
        variable.assign(generator.uniform(0, 1, variable.shape))
    return built


def values(built) -> dict:
    return {name: variable.numpy() for name, variable in checkpoints.named_weights(built).items()}


def test_each_weight_and_range_lies_so_far_between():
    first, second = network(1, points=True), network(2)
    before, other = values(first), values(second)
    stayed = averaging.average(first, second, 0.25)
    after = values(first)
    assert stayed and all("points" in name for name in stayed)
    assert any(name.startswith("range.") for name in other) and any("moving_variance" in name for name in other)
    for name, value in after.items():
        expected = before[name] if name in stayed else 0.75 * before[name] + 0.25 * other[name]
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    for name, value in values(second).items():
        np.testing.assert_array_equal(value, other[name])


def test_two_widths_have_no_mean_and_nothing_is_changed():
    first, second = network(1), network(2, depth=24)
    before = values(first)
    with pytest.raises(checkpoints.CheckpointError, match="has shape .* in the other"):
        averaging.average(first, second, 0.5)
    for name, value in values(first).items():
        np.testing.assert_array_equal(value, before[name])


def test_the_command_writes_a_start(tmp_path):
    shipped = SHIPPED / "checkpoint"
    given = ["--pipeline_config_path", MAIN_CONFIG, "--checkpoint", shipped, "--other_config_path", MAIN_CONFIG]
    given += ["--other_checkpoint", shipped]
    assert "0.5 of" in run("scripts/average_checkpoints.py", *given, "--share", "0.5", "--output", tmp_path / "start")
    written, told = (QuantizableNetwork(registry.build(pipeline_config.read(str(MAIN_CONFIG))).network) for _ in range(2))
    checkpoints.load(str(tmp_path / "start"), written)
    checkpoints.load(str(shipped), told)
    for name, value in values(told).items():
        np.testing.assert_allclose(values(written)[name], value, rtol=1e-6)
    said = run("scripts/average_checkpoints.py", *given, "--share", "1.5", "--output", tmp_path / "no", code=2)
    assert "1.5 is not between 0 and 1" in said and not (tmp_path / "no").exists()
