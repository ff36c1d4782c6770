"""SSD on MobileNetV2 with a feature pyramid: feature_extractor.type 'ssd_mobilenet_v2_fpn_keras'.

Levels fpn.min_level .. max_level (2 is stride 4). Each takes the last block output of its resolution through a 1x1
convolution to fpn.additional_layer_depth channels (half of it at stride 4, where a map is 4 times as large), adds the
level above, enlarged by nearest neighbour, and smooths the sum by a 3x3 convolution. Levels above 5 are 3x3 convolutions
at stride 2. use_depthwise makes these 3x3 convolutions separable; the box predictor has its own (both: SSDLite). One pair
of heads a level: shared ones could not be quantized with a range for each level. The backbone ends with block 15: the last
block and convolution of MobileNetV2 serve its classifier.

[facedet.detector] landmark_blocks reads landmarks beside the pyramid, which learned for boxes to forget where in a face it is: on each
level from the backbone at its own and at half its stride, through inverted residual blocks. Where it says fewer numbers than there are
levels, the finest, whose faces are too small to place points in, read them from the pyramid by a 1x1 convolution.
"""

import dataclasses

from facedet.detectors.ssd import POINTS, SSD
from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers import heads, mobilenet_v2
from facedet.layers.blocks import Blocks, enlarged, layers
from facedet.layers.mobilenet_v2 import inverted_residual
from facedet.recipe.recipe import FeatureExtractor, Pyramid, Recipe

_LANDMARK_EXPANSION = 2


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
    for_heads, predictor, beside = Blocks(recipe.box_predictor.hyperparams), recipe.box_predictor, {}
    if POINTS in columns and extractor.landmark_blocks:
        branch, predictor_of_points = _landmark_branch(taps, blocks, extractor), dataclasses.replace(predictor, kernel_size=1)
        read = [*maps[: len(maps) - len(branch)], *branch]
        beside = heads.predict(read, anchors_per_location, for_heads, predictor_of_points, {POINTS: columns[POINTS]})
        columns = {kind: count for kind, count in columns.items() if kind != POINTS}
    outputs = heads.predict(maps, anchors_per_location, for_heads, predictor, columns)
    return keras.Model(image, outputs | beside, name="ssd_mobilenet_v2_fpn")


def _depth(fpn: Pyramid, level: int) -> int:
    return fpn.depth // 2 if level == 2 else fpn.depth


def _landmark_branch(taps: dict, blocks: Blocks, extractor: FeatureExtractor) -> list:
    """{name: backbone map} -> the maps, finest first, that landmarks are read from on the levels that have the branch, the coarsest."""
    fpn, counts, maps = extractor.fpn, extractor.landmark_blocks, {}
    levels = range(fpn.min_level, fpn.max_level + 1)
    counts *= len(levels) if len(counts) == 1 else 1
    if len(counts) > len(levels):
        raise ConfigError(
            f"[facedet.detector] landmark_blocks: {list(counts)}: the network has {len(levels)} levels: give a number for each, for the "
            "coarsest of them, or one for all."
        )
    for level, count in zip(levels[-len(counts) :], counts, strict=True):
        name, channels = f"points_{level}", _depth(fpn, level)
        finer = taps[f"stride_{2 ** (level - 1)}"] if level <= 5 else maps[level - 1]
        x = blocks.conv_bn(blocks.depthwise_bn(finer, 3, 2, f"{name}_finer_depthwise"), channels, 1, name=f"{name}_finer", activate=False)
        if level <= 5:
            beside = blocks.conv_bn(taps[f"stride_{2**level}"], channels, 1, name=f"{name}_lateral", activate=False)
            x = layers.Add(name=f"{name}_merge")([x, beside])
        for number in range(count):
            x, _ = inverted_residual(x, blocks, f"{name}_block_{number}_", _LANDMARK_EXPANSION, channels)
        maps[level] = blocks.activation(x, f"{name}_relu")
    return list(maps.values())


def _pyramid(taps: dict, blocks: Blocks, fpn: Pyramid, separable: bool) -> list:
    """{name: backbone map} -> the maps of the levels, finest first."""

    def smooth(x, filters, stride, name):
        if separable:
            return blocks.conv_bn(blocks.depthwise_bn(x, 3, stride, name + "_depthwise"), filters, 1, name=name)
        return blocks.conv_bn(x, filters, 3, stride, name)

    maps, above = {}, None
    for level in range(min(5, fpn.max_level), fpn.min_level - 1, -1):
        x = blocks.conv_bn(taps[f"stride_{2**level}"], _depth(fpn, level), 1, name=f"lateral_{level}", activate=False)
        if above is not None:
            if above.shape[-1] != _depth(fpn, level):
                above = blocks.conv_bn(above, _depth(fpn, level), 1, name=f"narrow_{level}", activate=False)
            above = enlarged(above, x.shape[1:3], f"upsample_{level}")
            x = layers.Add(name=f"merge_{level}")([x, above])
        above = x
        maps[level] = smooth(x, _depth(fpn, level), 1, f"smooth_{level}")
    for level in range(6, fpn.max_level + 1):
        maps[level] = smooth(maps[level - 1], _depth(fpn, level), 2, f"extra_{level}")
    return [maps[level] for level in range(fpn.min_level, fpn.max_level + 1)]
