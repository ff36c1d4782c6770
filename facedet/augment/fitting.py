"""InputSpec.fit() in TensorFlow: a picture brought to the network's input, its faces along."""

import tensorflow as tf

from facedet.augment.picture import Picture
from facedet.runtime.input_spec import InputSpec


def fitted_size(input: InputSpec, shape):
    """The [height, width] that a picture of `shape` gets in the input, int32, as InputSpec.fit() says."""
    if input.resize == "stretch":
        return tf.constant(input.size)
    size, shape = tf.constant(input.size, tf.float64), tf.cast(shape, tf.float64)
    return tf.cast(tf.minimum(size, tf.maximum(tf.round(shape * tf.reduce_min(size / shape)), 1)), tf.int32)


def resize(picture: Picture, input: InputSpec) -> Picture:
    """The picture at its size in the input, float32; each pixel is the mean of those that it stands for, as for InputSpec.prepare()."""
    size = fitted_size(input, tf.shape(picture.image)[:2])
    return picture._replace(image=tf.image.resize(picture.image, size, antialias=True))


def pad(picture: Picture, input: InputSpec) -> Picture:
    """What resize() gave, in the middle or at the start of the input, with its colour in the rest."""
    if input.resize == "stretch":
        return picture._replace(image=tf.ensure_shape(picture.image, [*input.size, 3]))
    fill = tf.constant(input.fill, tf.float32)
    shape = tf.shape(picture.image)[:2]
    left_over = tf.constant(input.size) - shape
    before = left_over // 2 if input.pad_place == "centre" else tf.zeros_like(left_over)
    around = tf.concat([tf.stack([before, left_over - before], 1), [[0, 0]]], 0)
    image = tf.ensure_shape(tf.pad(picture.image - fill, around) + fill, [*input.size, 3])
    begin, extent = (tf.cast(side, tf.float32) / tf.constant(input.size, tf.float32) for side in (before, shape))
    boxes = picture.boxes * tf.tile(extent, [2]) + tf.tile(begin, [2])
    return Picture(image, boxes, picture.points * extent + begin, picture.weights)
