"""RetinaFace (Deng et al. 2019, arXiv:1905.00641) on MobileNet v1 with five landmarks: feature_extractor.type 'retinaface_mobilenet'.

In the form of biubug6/Pytorch_Retinaface, whose weights it takes at depth_multiplier 0.25: levels at strides 8, 16 and 32, a pyramid of
fpn.additional_layer_depth channels, and on each level SSH's context module (Najibi et al. 2017, arXiv:1708.03979). With
use_explicit_padding it pads as those weights want it.
"""

from facedet.detectors.ssd import SSD
from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers import heads
from facedet.layers.blocks import Blocks, enlarged, layers, make_divisible
from facedet.recipe.recipe import Recipe

STEM_CHANNELS = 32
#          channels, stride
STAGES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
LAST_BLOCKS = {5: 3, 11: 4, 13: 5}  # {number of a block: level}


def build(recipe: Recipe) -> SSD:
    fpn = recipe.feature_extractor.fpn
    if fpn is None or (fpn.min_level, fpn.max_level) != (3, 5) or fpn.depth % 4:
        raise ConfigError(
            "feature_extractor.fpn: min_level: 3, max_level: 5 and an additional_layer_depth that is a multiple of 4 are wanted."
        )
    return SSD(recipe, _network)


def _network(recipe: Recipe, anchors_per_location: list[int], columns: dict[str, int]) -> keras.Model:
    extractor = recipe.feature_extractor
    blocks = Blocks(extractor.hyperparams, extractor.use_explicit_padding)

    def depth(channels):
        return make_divisible(channels * extractor.depth_multiplier)

    image = keras.Input((*recipe.input.size, 3), name="image")
    x, taps = blocks.conv_bn(image, depth(STEM_CHANNELS), 3, 2, "stem"), {}
    for number, (channels, stride) in enumerate(STAGES, 1):
        x = blocks.depthwise_bn(x, 3, stride, f"block_{number}_depthwise")
        x = blocks.conv_bn(x, depth(channels), 1, name=f"block_{number}_project")
        if number in LAST_BLOCKS:
            taps[LAST_BLOCKS[number]] = x
    maps = [_context(x, blocks, f"ssh_{level}") for level, x in _pyramid(taps, blocks, extractor.fpn.depth).items()]
    outputs = heads.predict(maps, anchors_per_location, Blocks(recipe.box_predictor.hyperparams), recipe.box_predictor, columns)
    return keras.Model(image, outputs, name="retinaface_mobilenet")


def _pyramid(taps: dict, blocks: Blocks, depth: int) -> dict:
    """{level: backbone map} -> {level: map}, finest first: what goes on to the finer level is smoothed already."""
    laterals = {level: blocks.conv_bn(x, depth, 1, name=f"lateral_{level}") for level, x in taps.items()}
    maps = {5: laterals[5]}
    for level in (4, 3):
        above = enlarged(maps[level + 1], laterals[level].shape[1:3], f"upsample_{level}")
        merged = layers.Add(name=f"merge_{level}")([laterals[level], above])
        maps[level] = blocks.conv_bn(merged, depth, 3, name=f"smooth_{level}")
    return dict(sorted(maps.items()))


def _context(x, blocks: Blocks, name: str):
    """SSH: 3x3, and fields of 5x5 and 7x7 by two and three 3x3 convolutions that share their first, side by side."""
    depth = x.shape[-1]
    three = blocks.conv_bn(x, depth // 2, 3, name=name + "_3x3", activate=False)
    shared = blocks.conv_bn(x, depth // 4, 3, name=name + "_shared")
    five = blocks.conv_bn(shared, depth // 4, 3, name=name + "_5x5", activate=False)
    seven = blocks.conv_bn(
        blocks.conv_bn(shared, depth // 4, 3, name=name + "_7x7_first"), depth // 4, 3, name=name + "_7x7", activate=False
    )
    return blocks.activation(layers.Concatenate(name=name + "_concat")([three, five, seven]), name + "_relu")
