"""MediaPipe's BlazeFace, short range: feature_extractor.type 'blazeface_short_range'.

A 5x5 convolution at stride 2 and sixteen blocks (3x3 depthwise, 1x1, no activation between the two; shortcuts have no weights) on two
levels, strides 8 and 16. MediaPipe's own file loads into it: its convolutions have their batch norms folded into biases, here each has
its batch norm. With its anchors, 896, its linear code and six points, the exported files of kind 'mediapipe' stand in for that file.
"""

import tensorflow as tf

from facedet.detectors.ssd import BOX, CLASS, POINTS, SSD
from facedet.keras2 import keras
from facedet.layers import heads
from facedet.layers.blocks import Blocks, layers
from facedet.layers.channel_padding import shortcut
from facedet.recipe.recipe import Recipe

_STEM = 24
# Channels and stride of the blocks of each level.
_LEVELS = (
    ((24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2), (56, 1), (64, 1), (72, 1), (80, 1), (88, 1)),
    ((96, 2), (96, 1), (96, 1), (96, 1), (96, 1)),
)
_SIDE, _ANCHORS = 128, [2, 6]  # what MediaPipe's FaceDetector decodes


def build(recipe: Recipe) -> "ShortRange":
    return ShortRange(recipe, _network)


class ShortRange(SSD):
    @property
    def is_mediapipes(self) -> bool:
        coder = self.recipe.box_coder
        return (
            self.input.size == (_SIDE, _SIDE)
            and self.anchors_per_location == _ANCHORS
            and (coder.kind, coder.scales, coder.num_points) == ("linear", (_SIDE,) * 4, 6)
            and not self.recipe.add_background_class
        )

    def mediapipe_outputs(self, outputs: dict) -> dict[str, tf.Tensor]:
        codes = tf.concat([self._joined(outputs, BOX), self._joined(outputs, POINTS)], -1)
        places = [place + offset for place in range(0, codes.shape[-1], 2) for offset in (1, 0)]  # x before y, width before height
        return {"regressors": tf.gather(codes, places, axis=2), "classificators": self._joined(outputs, CLASS)}


def _network(recipe: Recipe, anchors_per_location: list[int], columns: dict[str, int]) -> keras.Model:
    image = keras.Input((*recipe.input.size, 3), name="image")
    blocks = Blocks(recipe.feature_extractor.hyperparams)
    x, maps, number = blocks.conv_bn(image, _STEM, 5, 2, "stem"), [], 0
    for level in _LEVELS:
        for channels, stride in level:
            number += 1
            x = _block(x, channels, stride, blocks, f"block_{number}")
        maps.append(x)
    outputs = heads.predict(maps, anchors_per_location, Blocks(recipe.box_predictor.hyperparams), recipe.box_predictor, columns)
    return keras.Model(image, outputs, name="blazeface_short_range")


def _block(x, channels: int, stride: int, blocks: Blocks, name: str):
    learned = blocks.batch_norm(blocks.depthwise(x, 3, stride, f"{name}_depthwise"), f"{name}_depthwise_BN")
    learned = blocks.conv_bn(learned, channels, 1, name=f"{name}_project", activate=False)
    return blocks.activation(layers.Add(name=f"{name}_add")([learned, shortcut(x, channels, stride, name)]), f"{name}_relu")
