"""BlazeFace with full convolutions in its double blocks and five landmarks: feature_extractor.type 'blazeface'.

After Bazarevsky et al. 2019 (arXiv:1907.05047), in the form of zineos/blazeface, whose weights it takes: 5x5 separable blocks with
batch norm, two levels at strides 8 and 16, shortcuts of max-pooling and a 1x1 convolution, the middle of a double block a whole 5x5
convolution. With use_explicit_padding it pads as those weights want it.
"""

from facedet.detectors.ssd import SSD
from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers import heads
from facedet.layers.blocks import Blocks, layers, make_divisible
from facedet.recipe.recipe import Recipe

STEM_CHANNELS, BOTTLENECK = 24, 24
#          channels, stride
SINGLE = ((24, 1), (24, 1), (48, 2), (48, 1), (48, 1))
DOUBLE = ((96, 2), (96, 1), (96, 1), (96, 2), (96, 1), (96, 1))
COARSEST_STRIDE = 16


def build(recipe: Recipe) -> SSD:
    height, width = recipe.input.size
    if height % COARSEST_STRIDE or width % COARSEST_STRIDE:
        raise ConfigError(
            f"image_resizer.fixed_shape_resizer: height {height}, width {width}: blazeface wants multiples of {COARSEST_STRIDE}, since its "
            "max-pooling rounds down where its convolutions round up."
        )
    if recipe.feature_extractor.fpn:
        raise ConfigError("feature_extractor.fpn: blazeface has no pyramid. Take it out.")
    return SSD(recipe, _network)


def _network(recipe: Recipe, anchors_per_location: list[int], columns: dict[str, int]) -> keras.Model:
    extractor = recipe.feature_extractor
    blocks = Blocks(extractor.hyperparams, extractor.use_explicit_padding)

    def depth(channels):
        return make_divisible(channels * extractor.depth_multiplier)

    image = keras.Input((*recipe.input.size, 3), name="image")
    x, number, maps = blocks.conv_bn(image, depth(STEM_CHANNELS), 3, 2, "stem"), 1, []
    for stage, bottleneck in ((SINGLE, 0), (DOUBLE, depth(BOTTLENECK))):
        for channels, stride in stage:
            if bottleneck and stride > 1:
                maps.append(x)
            x = _block(x, blocks, f"block_{number}", depth(channels), stride, bottleneck)
            number += 1
    maps = [*maps[1:], x]  # the last of stride 8 and of stride 16
    outputs = heads.predict(maps, anchors_per_location, Blocks(recipe.box_predictor.hyperparams), recipe.box_predictor, columns)
    return keras.Model(image, outputs, name="blazeface")


def _block(x, blocks: Blocks, name: str, channels: int, stride: int, bottleneck: int):
    """bottleneck: channels in the middle of a double block; 0 for a single one."""
    shortcut = x
    if stride > 1:
        shortcut = layers.MaxPooling2D(2, name=name + "_pool")(x)
        shortcut = blocks.conv(shortcut, channels, 1, name=name + "_shortcut", use_bias=True)
        shortcut = blocks.activation(blocks.batch_norm(shortcut, name + "_shortcut_BN"), name + "_shortcut_relu")
    x = blocks.depthwise_bn(x, 5, stride, name + "_depthwise")
    if bottleneck:
        x = blocks.conv_bn(x, bottleneck, 1, name=name + "_reduce")
        x = blocks.conv_bn(x, bottleneck, 5, name=name + "_middle")
    x = blocks.conv_bn(x, channels, 1, name=name + "_project", activate=bool(bottleneck))
    return blocks.activation(layers.Add(name=name + "_add")([shortcut, x]), name + "_relu")
