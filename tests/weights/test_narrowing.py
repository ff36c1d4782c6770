"""A narrowed backbone computes what the wide one does where the channels and blocks that go did nothing."""

import numpy as np
import pytest
from conftest import BOXES_CONFIG, MAIN_CONFIG, NARROW_CONFIG, SHIPPED, run

from facedet.detectors import registry
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
from facedet.weights import checkpoints, narrowing

import tensorflow as tf  # isort: skip


def networks():
    """The boxes config's network, and the same with the backbone of the narrow config, for 96x96."""
    text = BOXES_CONFIG.read_text().replace("height: 224 width: 224", "height: 96 width: 96")
    backbone = NARROW_CONFIG.read_text()
    backbone = backbone[backbone.index("[facedet.backbone]") :]
    return [registry.build(pipeline_config.parse(t)).network for t in (text, text + backbone)]


def test_what_does_nothing_can_go():
    wide, narrow = networks()
    assert narrow.count_params() < 0.6 * wide.count_params()
    generator = np.random.default_rng(0)
    for layer in wide.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            size = layer.gamma.shape
            gamma = generator.uniform(0.5, 1.5, size) * generator.choice([-1, 1], size)
            layer.set_weights([gamma, generator.uniform(-0.5, 1, size), layer.moving_mean, generator.uniform(0.5, 1.5, size)])
    for blocks, kept in zip(narrowing._stages(wide), narrowing._stages(narrow), strict=True):
        for source, target in zip(blocks, kept, strict=False):
            norm = wide.get_layer(source + "depthwise_BN")
            gamma, *rest = norm.get_weights()
            left = narrow.get_layer(target + "depthwise").depthwise_kernel.shape[2]
            gamma[generator.permutation(len(gamma))[left:]] = 0  # what they give is constant, and no zero
            norm.set_weights([gamma, *rest])
        for source in blocks[len(kept) :]:
            norm = wide.get_layer(source + "project_BN")
            norm.set_weights([np.zeros_like(part) for part in norm.get_weights()[:2]] + norm.get_weights()[2:])
    assert narrowing.narrow(wide, narrow) == []
    images = generator.uniform(-1, 1, (2, 96, 96, 3)).astype(np.float32)
    ours, theirs = narrow(images), wide(images)
    for name, values in theirs.items():
        assert np.ptp(values) > (0.1 if name.startswith("class") else 0)
        np.testing.assert_allclose(ours[name], values, atol=1e-4 * np.abs(values).max())


def test_a_larger_backbone_is_refused():
    wide, narrow = networks()
    with pytest.raises(ValueError, match="cannot be cut out of"):
        narrowing.narrow(narrow, wide)


@pytest.mark.parametrize(
    "wrong, named",
    [("blocks: [1, 1, 3]", "blocks: .1, 1, 3.: 6 numbers"), ("expansions: [2, 2, 3, 3, 3, 3]", "the first 1"), ("stem_channels: 0", "stem_channels: 0")],
)  # fmt: skip
def test_a_backbone_that_cannot_be_is_refused(wrong, named):
    with pytest.raises(pipeline_config.ConfigError, match=r"my\.config: \[facedet.backbone\].*" + named):
        registry.build(pipeline_config.parse(BOXES_CONFIG.read_text() + f"[facedet.backbone] {{ {wrong} }}", "my.config"))


def test_the_shipped_detector_is_narrowed_by_the_command(tmp_path):
    said = run("scripts/narrow_checkpoint.py", "--pipeline_config_path", MAIN_CONFIG, "--checkpoint", SHIPPED / "checkpoint",
               "--narrow_config_path", NARROW_CONFIG, "--output", tmp_path / "start")  # fmt: skip
    assert "parameters; 90 layers are new: " in said and " lateral_5," in said
    quantizable = QuantizableNetwork(registry.build(pipeline_config.read(str(NARROW_CONFIG))).network)
    assert checkpoints.load(str(tmp_path / "start"), quantizable) == 0
    # Averages of the kept channels are those that the wide network has for them.
    wide = QuantizableNetwork(registry.build(pipeline_config.read(str(MAIN_CONFIG))).network)
    checkpoints.load(str(SHIPPED / "checkpoint"), wide)
    ours, theirs = (q.network.get_layer("block_1_depthwise_BN").moving_mean.numpy() for q in (quantizable, wide))
    assert len(ours) == 32 and np.isin(ours, theirs).all()
