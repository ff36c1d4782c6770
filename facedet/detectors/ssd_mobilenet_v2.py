"""SSD on MobileNetV2 as the OD API builds it: feature_extractor.type 'ssd_mobilenet_v2_keras', for stock configs.

Six levels: the expansion of block 13 (stride 16), the last convolution (stride 32), and four extra levels of a 1x1 to half
the width and a 3x3 at stride 2. use_depthwise makes the extra levels and the heads separable (SSDLite).
"""

from facedet.detectors.ssd import SSD
from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers import heads, mobilenet_v2
from facedet.layers.blocks import Blocks, make_divisible
from facedet.recipe.recipe import Recipe

EXTRA_DEPTHS = (512, 256, 256, 128)


def build(recipe: Recipe) -> SSD:
    if recipe.feature_extractor.fpn:
        raise ConfigError("feature_extractor.fpn: ssd_mobilenet_v2_keras has no pyramid; ssd_mobilenet_v2_fpn_keras has.")
    if mobilenet_v2.table(recipe.feature_extractor) != (mobilenet_v2.STEM_CHANNELS, mobilenet_v2.STAGES):
        raise ConfigError(
            "[facedet.backbone]: ssd_mobilenet_v2_keras is the OD API's own network; ssd_mobilenet_v2_fpn_keras can have one."
        )
    return SSD(recipe, _network)


def _network(recipe: Recipe, anchors_per_location: list[int], columns: dict[str, int]) -> keras.Model:
    extractor = recipe.feature_extractor
    blocks = Blocks(extractor.hyperparams, extractor.use_explicit_padding)
    image = keras.Input((*recipe.input.size, 3), name="image")
    taps = mobilenet_v2.backbone(image, blocks, extractor)
    maps = [taps["block_13_expand_relu"], taps["out_relu"]]
    for number, depth in enumerate(EXTRA_DEPTHS[: max(0, extractor.num_layers - 2)]):
        filters = max(extractor.min_depth, int(depth * extractor.depth_multiplier))
        x = blocks.conv_bn(maps[-1], make_divisible(filters // 2, 1), 1, name=f"extra_{number}_reduce")
        if extractor.use_depthwise:
            x = blocks.conv_bn(blocks.depthwise_bn(x, 3, 2, f"extra_{number}_depthwise"), filters, 1, name=f"extra_{number}")
        else:
            x = blocks.conv_bn(x, filters, 3, 2, f"extra_{number}")
        maps.append(x)
    head = Blocks(recipe.box_predictor.hyperparams)
    outputs = heads.predict(maps[: extractor.num_layers], anchors_per_location, head, recipe.box_predictor, columns)
    return keras.Model(image, outputs, name="ssd_mobilenet_v2")
