"""The MobileNetV2 backbone (Sandler et al. 2018, arXiv:1801.04381), its layers named as in Keras's application."""

from facedet.layers.blocks import Blocks, layers, make_divisible
from facedet.recipe.recipe import FeatureExtractor

#        expansion, channels, repeats, stride of the first
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM_CHANNELS = 32


def table(extractor: FeatureExtractor) -> tuple[int, tuple]:
    """Channels of the first convolution, and STAGES, with a config's [facedet.backbone] in place of the paper's numbers."""
    stages = list(STAGES)
    for key, column in (("expansions", 0), ("blocks", 2)):
        values = getattr(extractor, key)
        for i, value in enumerate(values):
            stages[i] = (*stages[i][:column], value, *stages[i][column + 1 :])
    return extractor.stem_channels or STEM_CHANNELS, tuple(stages)


def backbone(image, blocks: Blocks, extractor: FeatureExtractor, classifier_layers: bool = True) -> dict:
    """image [B, H, W, 3] in -1..1 -> {name: tensor}.

    Names: 'stride_2' .. 'stride_32', the last (linear) block output of each resolution; 'block_13_expand_relu', stride 16,
    and 'out_relu', stride 32, the two maps that SSD taps.
    classifier_layers: with the last block and the 1x1 convolution after it, which widen the features for a classifier.
    """
    stem, stages = table(extractor)

    def depth(channels):
        return make_divisible(channels * extractor.depth_multiplier, 8, min(extractor.min_depth, channels))

    taps = {}
    x = blocks.conv(image, depth(stem), 3, 2, "Conv1")
    x = blocks.activation(blocks.batch_norm(x, "bn_Conv1"), "Conv1_relu")
    number, total_stride = 0, 2
    for expansion, channels, repeats, stride in stages if classifier_layers else stages[:-1]:
        for repeat in range(repeats):
            total_stride *= stride if repeat == 0 else 1
            prefix = f"block_{number}_" if number else "expanded_conv_"
            x, expanded = inverted_residual(x, blocks, prefix, expansion, depth(channels), stride if repeat == 0 else 1, add=number > 0)
            if number == 13:
                taps["block_13_expand_relu"] = expanded
            taps[f"stride_{total_stride}"] = x
            number += 1
    if classifier_layers:
        x = blocks.conv(x, make_divisible(1280 * max(1.0, extractor.depth_multiplier), 8), 1, name="Conv_1")
        taps["out_relu"] = blocks.activation(blocks.batch_norm(x, "Conv_1_bn"), "out_relu")
    return taps


def inverted_residual(x, blocks: Blocks, prefix: str, expansion: int, channels: int, stride: int = 1, add: bool = True) -> tuple:
    """Expand, depthwise, project without activation; with `add`, added to its input where the shapes agree.

    [B, h, w, c] -> [B, h / stride, w / stride, channels], and the expanded map [B, h, w, expansion * c].
    """
    shortcut = expanded = x
    if expansion > 1:
        expanded = blocks.conv_bn(x, expansion * x.shape[-1], 1, name=prefix + "expand")
    x = blocks.depthwise_bn(expanded, 3, stride, prefix + "depthwise")
    x = blocks.conv_bn(x, channels, 1, name=prefix + "project", activate=False)
    if add and stride == 1 and shortcut.shape[-1] == channels:
        x = layers.Add(name=prefix + "add")([shortcut, x])
    return x, expanded
