"""BlazeFace as its paper has it (Bazarevsky et al. 2019, arXiv:1907.05047), in the form of dejakim/blazeface-keras:
feature_extractor.type 'blazeface_paper'.

A 5x5 convolution at stride 2, five single blocks (24, 24, 48/2, 48, 48 channels) and six double ones (96 channels, through 24; the first
and the fourth at stride 2). Two levels, strides 8 and 16. A block's convolutions are 5x5 depthwise and 1x1 in turn; shortcuts have no
weights. The heads are plain convolutions, 3x3 (box_predictor's kernel_size) for boxes and 5x5 for classes: together 45 % of the network.
[facedet.detector] dropout is that behind each double block.
"""

import dataclasses

from facedet.detectors.ssd import CLASS, SSD
from facedet.keras2 import keras
from facedet.layers import heads
from facedet.layers.blocks import Blocks, layers
from facedet.layers.channel_padding import shortcut
from facedet.recipe.recipe import Recipe

_KERNEL = 5
_STEM, _NARROW = 24, 24
_SINGLES = ((24, 1), (24, 1), (48, 2), (48, 1), (48, 1))  # channels, stride
_DOUBLES = ((96, 2), (96, 1), (96, 1))  # of each level


def build(recipe: Recipe) -> SSD:
    return SSD(recipe, _network)


def _network(recipe: Recipe, anchors_per_location: list[int], columns: dict[str, int]) -> keras.Model:
    image = keras.Input((*recipe.input.size, 3), name="image")
    blocks, dropout = Blocks(recipe.feature_extractor.hyperparams), recipe.options.dropout
    x = blocks.batch_norm(blocks.conv(image, _STEM, _KERNEL, 2, "stem", use_bias=True), "stem_BN")
    x = blocks.activation(x, "stem_relu")
    for i, (channels, stride) in enumerate(_SINGLES, 1):
        x = _single(x, channels, stride, blocks, f"single_{i}")
    maps = []
    for level in range(2):
        for i, (channels, stride) in enumerate(_DOUBLES, 1 + level * len(_DOUBLES)):
            x = _double(x, channels, stride, blocks, dropout, f"double_{i}")
        maps.append(x)
    predictor = recipe.box_predictor
    for_heads, others = Blocks(predictor.hyperparams), {kind: count for kind, count in columns.items() if kind != CLASS}
    outputs = heads.predict(maps, anchors_per_location, for_heads, predictor, others)
    of_classes = dataclasses.replace(predictor, kernel_size=_KERNEL)
    outputs |= heads.predict(maps, anchors_per_location, for_heads, of_classes, {CLASS: columns[CLASS]})
    return keras.Model(image, outputs, name="blazeface_paper")


def _separable(x, channels: int, stride: int, blocks: Blocks, name: str):
    x = blocks.depthwise(x, _KERNEL, stride, f"{name}_depthwise")
    return blocks.batch_norm(blocks.conv(x, channels, 1, name=name), f"{name}_BN")


def _single(x, channels: int, stride: int, blocks: Blocks, name: str):
    learned = _separable(x, channels, stride, blocks, f"{name}_project")
    return blocks.activation(layers.Add(name=f"{name}_add")([learned, shortcut(x, channels, stride, name)]), f"{name}_relu")


def _double(x, channels: int, stride: int, blocks: Blocks, dropout: float, name: str):
    """A ReLU stands before the sum and behind it."""
    learned = blocks.activation(_separable(x, _NARROW, stride, blocks, f"{name}_narrow"), f"{name}_narrow_relu")
    learned = blocks.activation(_separable(learned, channels, 1, blocks, f"{name}_widen"), f"{name}_widen_relu")
    x = layers.Add(name=f"{name}_add")([learned, shortcut(x, channels, stride, name)])
    x = blocks.activation(x, f"{name}_relu")
    return layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x
