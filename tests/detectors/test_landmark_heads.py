"""[facedet.detector] landmark_layers: how many layers the landmarks' heads have on each level, and what is refused."""

import pytest
from conftest import MAIN_CONFIG

from facedet.detectors import registry
from facedet.layers import heads
from facedet.od_api import protos
from facedet.recipe import pipeline_config

LANDMARKS_CONFIG = MAIN_CONFIG.with_name("ssd_mobilenet_v2_landmarks_quantized_224x224_widerface.config")


def network(layers):
    config = pipeline_config.message(str(LANDMARKS_CONFIG))
    resizer = config.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = 64
    protos.detector(config).landmark_layers[:] = layers
    return registry.build(pipeline_config.from_message(config)).network


@pytest.mark.parametrize(("layers", "expected"), [([0, 1, 2, 3], [0, 1, 2, 3]), ([2], [2, 2, 2, 2]), ([], [0, 0, 0, 0])])
def test_each_level_has_its_number(layers, expected):
    built = network(layers)
    names = {layer.name for layer in built.layers}
    for level, count in enumerate(expected):
        assert {at for at in range(4) if f"points_head_{level}_tower_{at}" in names} == set(range(count))
        kernel = built.get_layer(f"points_head_{level}").kernel_size[0]
        assert kernel == (1 if layers else 3), "without the key, the head is as the boxes'"
    assert [level.shape[1:3] for level in heads.maps(built.output, "points")] == [(16, 16), (8, 8), (4, 4), (2, 2)]


def test_another_number_of_levels_is_refused():
    with pytest.raises(pipeline_config.ConfigError, match=r"landmark_layers: \[1, 2\]: the network has 4 levels"):
        network([1, 2])
