"""SSD on MobileNetV2 as the OD API builds it: feature_extractor.type 'ssd_mobilenet_v2_keras', for stock configs.

Six levels: the expansion of block 13 (stride 16), the last convolution (stride 32), and four extra levels of a 1x1 to half
the width and a 3x3 at stride 2. use_depthwise makes the extra levels and the heads separable (SSDLite).
"""

from facedet.errors import ConfigError
from facedet.layers import heads, mobilenet_v2
from facedet.layers.blocks import Blocks, Hyperparams, keras, make_divisible

EXTRA_DEPTHS = (512, 256, 256, 128)


def build(ssd, anchors_per_location: list[int], backbone=None) -> keras.Model:
    """ssd: object_detection.protos.Ssd. Image [B, H, W, 3] in -1..1 -> box encodings [B, N, 4], class logits [B, N, C]."""
    if mobilenet_v2.table(backbone) != (mobilenet_v2.STEM_CHANNELS, mobilenet_v2.STAGES):
        raise ConfigError(
            "[facedet.backbone]: ssd_mobilenet_v2_keras is the OD API's own network; ssd_mobilenet_v2_fpn_keras can have one."
        )
    extractor = ssd.feature_extractor
    resizer = ssd.image_resizer.fixed_shape_resizer
    hyperparams = Hyperparams.from_proto(extractor.conv_hyperparams)
    blocks = Blocks(hyperparams, extractor.use_explicit_padding)

    image = keras.Input((resizer.height, resizer.width, 3), name="image")
    taps = mobilenet_v2.backbone(image, blocks, extractor.depth_multiplier, extractor.min_depth)
    maps = [taps["block_13_expand_relu"], taps["out_relu"]]
    for number, depth in enumerate(EXTRA_DEPTHS[: max(0, extractor.num_layers - 2)]):
        filters = max(extractor.min_depth, int(depth * extractor.depth_multiplier))
        x = blocks.conv_bn(maps[-1], make_divisible(filters // 2, 1), 1, name=f"extra_{number}_reduce")
        if extractor.use_depthwise:
            x = blocks.conv_bn(blocks.depthwise_bn(x, 3, 2, f"extra_{number}_depthwise"), filters, 1, name=f"extra_{number}")
        else:
            x = blocks.conv_bn(x, filters, 3, 2, f"extra_{number}")
        maps.append(x)
    maps = maps[: extractor.num_layers]
    predictor = ssd.box_predictor.convolutional_box_predictor
    head = Blocks(Hyperparams.from_proto(predictor.conv_hyperparams))
    outputs = heads.predict(maps, anchors_per_location, head, predictor, 4, ssd.num_classes + ssd.add_background_class)
    return keras.Model(image, outputs, name="ssd_mobilenet_v2")
