"""slim and RFB, small detectors of separable convolutions with five landmarks: feature_extractor.type 'slim' and 'rfb'.

In the form of biubug6/Face-Detector-1MB-with-landmark, whose weights they take: four levels at strides 8, 16, 32 and 64. RFB has a
receptive field block (Liu et al. 2018, arXiv:1711.07767) where slim has its last separable convolution of stride 8. With
use_explicit_padding they pad as those weights want it.
"""

import dataclasses

from facedet.detectors.ssd import SSD
from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers import heads
from facedet.layers.blocks import Blocks, layers, make_divisible
from facedet.recipe.recipe import Recipe

STEM_CHANNELS = 16
#              channels, stride
STAGES = ((32, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1))
LAST_BLOCKS = (7, 10, 12)  # of strides 8, 16 and 32
WHOLE_HEADS = (3,)  # the heads of stride 64 are one 3x3 convolution each
# Of the receptive field block, in eighths of its channels: the 3x3 convolutions after a 1x1 one, the last of them dilated.
BRANCHES = (((2,), 2), ((2,), 3), ((1.5, 2), 5))
RFB_BN_MOMENTUM = 0.99  # of that block alone, as its authors have it


def build(recipe: Recipe) -> SSD:
    if recipe.feature_extractor.fpn:
        raise ConfigError(f"feature_extractor.fpn: {recipe.feature_extractor.type} has no pyramid. Take it out.")
    return SSD(recipe, _network)


def _network(recipe: Recipe, anchors_per_location: list[int], columns: dict[str, int]) -> keras.Model:
    extractor = recipe.feature_extractor
    blocks = Blocks(extractor.hyperparams, extractor.use_explicit_padding)

    def depth(channels):
        return make_divisible(channels * extractor.depth_multiplier)

    image = keras.Input((*recipe.input.size, 3), name="image")
    x, maps = blocks.conv_bn(image, depth(STEM_CHANNELS), 3, 2, "stem"), []
    for number, (channels, stride) in enumerate(STAGES, 1):
        if extractor.type == "rfb" and number == LAST_BLOCKS[0]:
            x = _receptive_field_block(x, blocks, depth(channels))
        else:
            x = blocks.depthwise_bn(x, 3, stride, f"block_{number}_depthwise")
            x = blocks.conv_bn(x, depth(channels), 1, name=f"block_{number}_project")
        if number in LAST_BLOCKS:
            maps.append(x)
    plain = Blocks(dataclasses.replace(extractor.hyperparams, bn_momentum=None), extractor.use_explicit_padding)
    x = plain.conv_bn(x, depth(64), 1, name="extra_reduce")
    x = plain.depthwise_bn(x, 3, 2, "extra_depthwise")
    maps.append(plain.conv_bn(x, depth(256), 1, name="extra"))
    predictor = recipe.box_predictor
    outputs = heads.predict(maps, anchors_per_location, Blocks(predictor.hyperparams), predictor, columns, WHOLE_HEADS)
    return keras.Model(image, outputs, name=extractor.type)


def _receptive_field_block(x, blocks: Blocks, channels: int):
    blocks = Blocks(dataclasses.replace(blocks.hyperparams, bn_momentum=RFB_BN_MOMENTUM), blocks.explicit_padding)
    width, branches = channels // 8, []
    for number, (convolutions, dilation) in enumerate(BRANCHES):
        name = f"rfb_{number}"
        branch = blocks.conv_bn(x, width, 1, name=name + "_reduce", activate=False)
        for i, factor in enumerate(convolutions):
            branch = blocks.conv_bn(branch, int(width * factor), 3, name=f"{name}_conv_{i}")
        branches.append(blocks.conv_bn(branch, 2 * width, 3, name=name + "_dilated", activate=False, dilation=dilation))
    joined = blocks.conv_bn(layers.Concatenate(name="rfb_concat")(branches), channels, 1, name="rfb_project", activate=False)
    shortcut = blocks.conv_bn(x, channels, 1, name="rfb_shortcut", activate=False)
    return blocks.activation(layers.Add(name="rfb_add")([joined, shortcut]), "rfb_relu")
