"""[facedet.detector] landmark_blocks: the landmarks' own branch, what boxes owe to it (nothing), and what is refused."""

import pytest
from conftest import MAIN_CONFIG

from facedet.detectors import registry
from facedet.keras2 import keras
from facedet.layers import heads
from facedet.od_api import protos
from facedet.recipe import pipeline_config


def network(blocks, max_level=5):
    config = pipeline_config.message(str(MAIN_CONFIG))
    ssd = config.model.ssd
    ssd.image_resizer.fixed_shape_resizer.height = ssd.image_resizer.fixed_shape_resizer.width = 64
    ssd.feature_extractor.fpn.max_level = max_level
    for level in range(6, max_level + 1):
        grid = ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid.add()
        grid.CopyFrom(ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid[-2])
        grid.height_stride = grid.width_stride = 2**level
    protos.detector(config).landmark_blocks[:] = blocks
    return registry.build(pipeline_config.from_message(config)).network


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [([0, 1, 2, 3], [0, 1, 2, 3]), ([2], [2, 2, 2, 2]), ([], [0, 0, 0, 0]), ([1, 0, 0, 0, 2], [1, 0, 0, 0, 2]), ([1, 2], [0, 0, 1, 2])],
)
def test_each_level_has_its_number(blocks, expected):
    built = network(blocks, max_level=1 + len(expected))
    names = {layer.name for layer in built.layers}
    for level, count in enumerate(expected):
        assert {at for at in range(4) if f"points_{level + 2}_block_{at}_project" in names} == set(range(count))
        kernel = built.get_layer(f"points_head_{level}").kernel_size[0]
        assert kernel == (1 if blocks else 3), "without the key, the head is as the boxes'"
    sides = [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)][: len(expected)]
    assert [level.shape[1:3] for level in heads.maps(built.output, "points")] == sides


def test_boxes_owe_the_branch_nothing():
    """Whatever of it learns, what boxes and scores are computed from stays."""
    built = network([0, 1, 2, 3])
    boxes_alone = keras.Model(built.input, [*heads.maps(built.output, "box"), *heads.maps(built.output, "class")])
    own = {layer.name for layer in built.layers} - {layer.name for layer in boxes_alone.layers}
    assert own == {layer.name for layer in built.layers if layer.name.startswith("points_")} and len(own) > 40


@pytest.mark.parametrize(("blocks", "beside"), [([0, 1, 2, 3], [2, 3, 4, 5]), ([1, 2], [4, 5]), ([], [])])
def test_the_coarsest_levels_have_the_branch(blocks, beside):
    names = {layer.name for layer in network(blocks).layers}
    assert [level for level in range(2, 6) if f"points_{level}_lateral" in names] == beside


def test_more_numbers_than_levels_are_refused():
    with pytest.raises(pipeline_config.ConfigError, match=r"landmark_blocks: \[1, 2, 1, 1, 1\]: the network has 4 levels"):
        network([1, 2, 1, 1, 1])


def test_a_detector_without_such_a_branch_refuses_it():
    config = pipeline_config.message(str(MAIN_CONFIG.with_name("retinaface_mobilenet025_320x240_widerface.config")))
    protos.detector(config).landmark_blocks[:] = [1]
    with pytest.raises(pipeline_config.ConfigError, match="landmark_blocks: .* ssd_mobilenet_v2_fpn_keras"):
        pipeline_config.from_message(config)
