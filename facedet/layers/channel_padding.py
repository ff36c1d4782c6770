"""BlazeFace's shortcuts (arXiv:1907.05047, section 3.2): a maximum where the stride is 2, channels of zeros where there are more."""

import tensorflow as tf

from facedet.keras2 import keras


class ChannelPadding(keras.layers.Layer):
    """[B, h, w, c] -> [B, h, w, channels]: zeros behind the channels that are there. One PAD in TFLite, whatever the precision."""

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, inputs):
        return tf.pad(inputs, [[0, 0], [0, 0], [0, 0], [0, self.channels - inputs.shape[-1]]])

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


def shortcut(x, channels: int, stride: int, name: str):
    """[B, h, w, c] -> [B, h / stride, w / stride, channels], sides rounded up as those of a 'same' convolution are; no weights."""
    if stride > 1:
        x = keras.layers.MaxPooling2D(stride, stride, "same", name=f"{name}_pool")(x)
    return x if x.shape[-1] == channels else ChannelPadding(channels, name=f"{name}_channels")(x)
