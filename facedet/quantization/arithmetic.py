"""What TFLite computes, in TensorFlow: weights and activations rounded to 8 bits, batch norms folded, and the normalization of the input."""

import math

import numpy as np
import tensorflow as tf

from facedet.keras2 import keras
from facedet.quantization.plan import Step
from facedet.runtime.input_spec import InputSpec

layers = keras.layers


def folded(convolution, batch_norm):
    """Kernel and bias of a convolution with its batch norm's scale and offset folded in, as tensors; of a batch norm alone, of 1x1."""
    if isinstance(convolution, layers.BatchNormalization):
        scale = convolution.gamma * tf.math.rsqrt(convolution.moving_variance + convolution.epsilon)
        return tf.reshape(scale, [1, 1, -1, 1]), convolution.beta - convolution.moving_mean * scale
    depthwise = isinstance(convolution, layers.DepthwiseConv2D)
    kernel = convolution.depthwise_kernel if depthwise else convolution.kernel
    channels = kernel.shape[2] * kernel.shape[3] if depthwise else kernel.shape[3]
    bias = convolution.bias if convolution.use_bias else tf.zeros([channels])
    if batch_norm is None:
        return tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)
    scale = batch_norm.gamma * tf.math.rsqrt(batch_norm.moving_variance + batch_norm.epsilon)
    shaped = tf.reshape(scale, [1, 1, *kernel.shape[2:]]) if depthwise else scale
    return kernel * shaped, batch_norm.beta + (bias - batch_norm.moving_mean) * scale


def fake_quant_weights(kernel, depthwise: bool):
    """A kernel rounded to TFLite's symmetric 8-bit grid, one scale an output channel."""
    flat = tf.reshape(kernel, [-1, kernel.shape[2] * kernel.shape[3]]) if depthwise else kernel
    greatest = tf.reduce_max(tf.abs(tf.stop_gradient(flat)), axis=list(range(flat.shape.rank - 1)))
    greatest = tf.maximum(greatest, 1e-8)
    rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(flat, -greatest, greatest, 8, narrow_range=True)
    return tf.reshape(rounded, kernel.shape)


def convolve(step: Step, x, quantize: bool, constant: bool):
    alone = isinstance(step.layer, layers.BatchNormalization)
    depthwise = alone or isinstance(step.layer, layers.DepthwiseConv2D)

    def weights():
        kernel, bias = folded(step.layer, step.batch_norm)
        return (fake_quant_weights(kernel, depthwise) if quantize else kernel), bias

    if constant:
        with tf.init_scope():
            kernel, bias = (value.numpy() for value in weights())
        if (
            bias[0] and (bias == bias[0]).all()
        ):  # the converter rounds biases that are all the same by the first channel's scale, and no other's
            bias = np.append(bias[:-1], np.nextafter(bias[-1], np.float32(np.inf)))
    else:
        kernel, bias = weights()
    strides, padding = ((1, 1), "VALID") if alone else (step.layer.strides, step.layer.padding.upper())
    if depthwise:
        x = tf.nn.depthwise_conv2d(x, kernel, [1, *strides, 1], padding)
    else:
        x = tf.nn.conv2d(x, kernel, strides, padding, dilations=step.layer.dilation_rate)
    return tf.nn.bias_add(x, bias)


def fake_quant(values, least, greatest):
    return tf.quantization.fake_quant_with_min_max_vars(values, tf.stop_gradient(least), tf.stop_gradient(greatest), 8)


def round_as_bytes(images, least: float, greatest: float):
    """Normalized images of a range on the grid that the int8 file has for their bytes.

    Of -1..1 each byte lies halfway between two values of a grid that holds zero: the file takes the lower, and 0 has the place 128.
    """
    least, greatest = float(least), float(greatest)
    step, little = (greatest - least) / 255, 1e-3
    zero = math.floor(-least / step + 0.5 + little)
    return fake_quant(images - little * step, -zero * step, (255 - zero) * step)


def normalize(images, spec: InputSpec, quantize: bool):
    """float [B, H, W, 3] RGB 0..255 -> the network's values, colour order too, by one 1x1 convolution.

    quantize: the images lie on the grid of the bytes 0..255 and each channel's one weight on its own, both exactly.
    """
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    for channel, (source, scale) in enumerate(zip(map("RGB".index, spec.colour_order), spec.scale, strict=True)):
        kernel[0, 0, source, channel] = scale
    if quantize:
        images = fake_quant(images, 0.0, 255.0)
        with tf.init_scope():
            kernel = fake_quant_weights(tf.constant(kernel), depthwise=False).numpy()
    return tf.nn.bias_add(tf.nn.conv2d(images, kernel, 1, "VALID"), np.asarray(spec.offset, np.float32))
