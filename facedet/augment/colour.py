"""Steps that change a picture's pixels and leave its faces where they are: Picture -> Picture.

Each draws its strength anew for every picture. Lengths are in pixels of the picture: the pipeline runs these steps at the input's size.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from facedet.augment.picture import Picture, with_probability

_ABOUT_GREY = ((0.0, -1.0, 1.0), (1.0, 0.0, -1.0), (-1.0, 1.0, 0.0))  # the axis from black to white, as a cross product


def photometric_distortion(
    probability: float = 0.5,
    max_brightness: float = 0.125,
    max_contrast: float = 0.5,
    max_saturation: float = 0.5,
    max_hue: float = 0.05,
) -> Callable:
    """Brightness is moved by up to max_brightness of its range, contrast and saturation are multiplied by 1 -+ max_contrast and
    1 -+ max_saturation, hue is turned by up to max_hue of the circle, about grey: together one 3 x 3 matrix."""

    def distorted(image):
        saturation = _between(1 - max_saturation, 1 + max_saturation)
        angle = 2 * math.pi * _between(-max_hue, max_hue)
        saturated = saturation * tf.eye(3) + (1 - saturation) * tf.constant([[0.299, 0.587, 0.114]] * 3)
        turned = (
            tf.cos(angle) * tf.eye(3) + (1 - tf.cos(angle)) / 3 * tf.ones([3, 3]) + tf.sin(angle) / math.sqrt(3) * tf.constant(_ABOUT_GREY)
        )
        mean = tf.reduce_mean(image, axis=[0, 1])
        brightness = mean + _between(-max_brightness, max_brightness) * 255
        contrast = _between(1 - max_contrast, 1 + max_contrast)
        changed = contrast * (image - mean) + brightness
        return tf.clip_by_value(tf.tensordot(changed, tf.transpose(turned @ saturated), 1), 0, 255)

    return _of_pixels(probability, distorted)


def blur(probability: float = 0.2, max_sigma: float = 2.0) -> Callable:
    """A Gaussian of up to max_sigma px."""
    reach = max(1, math.ceil(3 * max_sigma))

    def blurred(image):
        sigma = tf.maximum(_between(0.0, max_sigma), 1e-3)
        bell = tf.exp(-0.5 * (tf.range(-reach, reach + 1, dtype=tf.float32) / sigma) ** 2)
        bell = tf.tile((bell / tf.reduce_sum(bell))[:, None, None, None], [1, 1, 3, 1])
        height, width = tf.unstack(tf.shape(image)[:2])
        rows, columns = (tf.clip_by_value(tf.range(-reach, side + reach), 0, side - 1) for side in (height, width))
        image = tf.gather(tf.gather(image, rows), columns, axis=1)[None]  # the border goes on outside
        for kernel in (bell, tf.transpose(bell, [1, 0, 2, 3])):
            image = tf.nn.depthwise_conv2d(image, kernel, [1, 1, 1, 1], "VALID")
        return image[0]

    return _of_pixels(probability, blurred)


def noise(probability: float = 0.2, max_deviation: float = 15.0) -> Callable:
    """Normal noise in each pixel and channel, of a deviation of up to max_deviation of 255."""

    def noisy(image):
        return tf.clip_by_value(image + tf.random.normal(tf.shape(image)) * _between(0.0, max_deviation), 0, 255)

    return _of_pixels(probability, noisy)


def jpeg_quality(probability: float = 0.3, min_quality: int = 40, max_quality: int = 95) -> Callable:
    """Packed as a JPEG of a quality from min_quality to max_quality, and unpacked."""

    def packed(image):
        quality = tf.random.uniform([], min_quality, max_quality + 1, tf.int32)
        pixels = tf.cast(tf.round(tf.clip_by_value(image, 0, 255)), tf.uint8)
        return tf.cast(tf.image.adjust_jpeg_quality(pixels, quality), tf.float32)

    return _of_pixels(probability, packed)


def _of_pixels(probability: float, change) -> Callable:
    def changed(picture: Picture) -> Picture:
        return picture._replace(image=change(picture.image))

    def step(picture: Picture) -> Picture:
        return with_probability(probability, changed, picture)

    return step


def _between(low: float, high: float):
    return tf.random.uniform([], low, high)
