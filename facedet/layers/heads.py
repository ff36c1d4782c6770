"""Heads of anchor-based detectors: one convolution a kind and level, not shared between levels."""

from facedet.errors import ConfigError
from facedet.layers.blocks import Blocks, keras
from facedet.recipe.recipe import BoxPredictor


def predict(feature_maps, anchors_per_location, blocks: Blocks, predictor: BoxPredictor, columns: dict[str, int], whole=()) -> dict:
    """[[B, h, w, c], ...] -> {'<kind>_head_<level>': [B, h, w, anchors * columns[kind]]}, anchor by anchor.

    columns: numbers of an anchor, {'box': 4, 'class': 1, ...}.  whole: levels whose heads are one convolution whatever
    use_depthwise says.
    """
    if len(feature_maps) != len(anchors_per_location):
        raise ConfigError(f"The network has {len(feature_maps)} levels, anchor_generator lays anchors on {len(anchors_per_location)}.")
    heads = {}
    for level, (features, anchors) in enumerate(zip(feature_maps, anchors_per_location, strict=True)):
        for kind, count in columns.items():
            name = f"{kind}_head_{level}"
            x, kernel = features, predictor.kernel_size
            if predictor.use_depthwise and kernel > 1 and level not in whole:
                x, kernel = blocks.depthwise_bn(x, kernel, 1, name + "_depthwise"), 1
            bias = keras.initializers.Constant(predictor.class_prediction_bias_init if kind == "class" else 0.0)
            heads[name] = blocks.conv(x, anchors * count, kernel, 1, name, use_bias=True, bias_initializer=bias)
    return heads


def maps(outputs: dict, kind: str) -> list:
    """The maps of one kind of head, level by level; of a network's output, or of what it gave."""
    return [outputs[f"{kind}_head_{level}"] for level in range(sum(name.startswith(f"{kind}_head_") for name in outputs))]
