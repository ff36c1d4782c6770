"""Box and class heads of SSD: one pair a level, not shared between levels, and the order of their outputs."""

from facedet.errors import ConfigError
from facedet.layers.blocks import Blocks, keras, layers


def predict(feature_maps, anchors_per_location, blocks: Blocks, predictor, code_size: int, class_columns: int) -> list:
    """[[B, h, w, c], ...] -> box encodings [B, N, code_size] and class logits [B, N, class_columns].

    N runs over levels, rows, columns and the anchors of a place, in that order: that of the OD API's anchors.
    predictor: object_detection.protos.ConvolutionalBoxPredictor (kernel_size, use_depthwise, class_prediction_bias_init).
    """
    if len(feature_maps) != len(anchors_per_location):
        raise ConfigError(f"The network has {len(feature_maps)} levels, anchor_generator lays anchors on {len(anchors_per_location)}.")
    boxes, scores = [], []
    for level, (features, anchors) in enumerate(zip(feature_maps, anchors_per_location, strict=True)):
        for kind, columns, outputs in (("box", code_size, boxes), ("class", class_columns, scores)):
            name = f"{kind}_head_{level}"
            x = features
            if predictor.use_depthwise and predictor.kernel_size > 1:
                x, kernel = blocks.depthwise_bn(x, predictor.kernel_size, 1, name + "_depthwise"), 1
            else:
                kernel = predictor.kernel_size
            bias = keras.initializers.Constant(predictor.class_prediction_bias_init if kind == "class" else 0.0)
            x = blocks.conv(x, anchors * columns, kernel, 1, name, use_bias=True, bias_initializer=bias)
            height, width = x.shape[1:3]
            outputs.append(layers.Reshape((height * width * anchors, columns), name=name + "_flat")(x))
    return [layers.Concatenate(axis=1, name="box_encodings")(boxes), layers.Concatenate(axis=1, name="class_logits")(scores)]
