"""SSD on MobileNetV2 with a feature pyramid: feature_extractor.type 'ssd_mobilenet_v2_fpn_keras'.

Levels fpn.min_level .. max_level (2 is stride 4). Each takes the last block output of its resolution through a 1x1
convolution to fpn.additional_layer_depth channels (half of it at stride 4, where a map is 4 times as large), adds the
level above, enlarged by nearest neighbour, and smooths the sum by a 3x3 convolution. Levels above 5 are 3x3 convolutions
at stride 2. use_depthwise makes these 3x3 convolutions separable; the box predictor has its own (both: SSDLite). One pair
of heads a level: shared ones could not be quantized with a range for each level. The backbone ends with block 15: the last
block and convolution of MobileNetV2 serve its classifier.
"""

from facedet.detectors.ssd import SSD
from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers import heads, mobilenet_v2
from facedet.layers.blocks import Blocks, enlarged, layers
from facedet.recipe.recipe import Pyramid, Recipe


def build(recipe: Recipe) -> SSD:
    fpn = recipe.feature_extractor.fpn
    if fpn is None:
        raise ConfigError("feature_extractor.fpn is missing: min_level, max_level and additional_layer_depth are wanted in it.")
    if not 2 <= fpn.min_level <= 5 or fpn.max_level < fpn.min_level:
        raise ConfigError(f"fpn: min_level {fpn.min_level}, max_level {fpn.max_level}: min_level is 2 to 5 and not above max_level.")
    return SSD(recipe, _network)


def _network(recipe: Recipe, anchors_per_location: list[int], columns: dict[str, int]) -> keras.Model:
    extractor = recipe.feature_extractor
    image = keras.Input((*recipe.input.size, 3), name="image")
    blocks = Blocks(extractor.hyperparams, extractor.use_explicit_padding)
    taps = mobilenet_v2.backbone(image, blocks, extractor, classifier_layers=False)
    maps = _pyramid(taps, Blocks(extractor.hyperparams), extractor.fpn, extractor.use_depthwise)
    outputs = heads.predict(maps, anchors_per_location, Blocks(recipe.box_predictor.hyperparams), recipe.box_predictor, columns)
    return keras.Model(image, outputs, name="ssd_mobilenet_v2_fpn")


def _pyramid(taps: dict, blocks: Blocks, fpn: Pyramid, separable: bool) -> list:
    """{name: backbone map} -> the maps of the levels, finest first."""

    def depth(level):
        return fpn.depth // 2 if level == 2 else fpn.depth

    def smooth(x, filters, stride, name):
        if separable:
            return blocks.conv_bn(blocks.depthwise_bn(x, 3, stride, name + "_depthwise"), filters, 1, name=name)
        return blocks.conv_bn(x, filters, 3, stride, name)

    maps, above = {}, None
    for level in range(min(5, fpn.max_level), fpn.min_level - 1, -1):
        x = blocks.conv_bn(taps[f"stride_{2**level}"], depth(level), 1, name=f"lateral_{level}", activate=False)
        if above is not None:
            if above.shape[-1] != depth(level):
                above = blocks.conv_bn(above, depth(level), 1, name=f"narrow_{level}", activate=False)
            above = enlarged(above, x.shape[1:3], f"upsample_{level}")
            x = layers.Add(name=f"merge_{level}")([x, above])
        above = x
        maps[level] = smooth(x, depth(level), 1, f"smooth_{level}")
    for level in range(6, fpn.max_level + 1):
        maps[level] = smooth(maps[level - 1], depth(level), 2, f"extra_{level}")
    return [maps[level] for level in range(fpn.min_level, fpn.max_level + 1)]
