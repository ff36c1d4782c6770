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
    """The picture at its size in the input, float32."""
    shape = tf.shape(picture.image)[:2]
    size = fitted_size(input, shape)
    return picture._replace(
        image=scaled(picture.image, size, 0.0, tf.cast(size, tf.float32)), pixel_aspect=picture.pixel_aspect * stretch(shape, size)
    )


def scaled(image, size, begin, end):
    """[H, W, 3] -> float32 [*size, 3], black but for the image, which reaches from `begin` to `end` (y, x in px). Each pixel is the mean
    of those that it stands for, as for InputSpec.prepare()."""
    scale = (end - begin) / tf.cast(tf.shape(image)[:2], tf.float32)
    translation = tf.broadcast_to(begin, [2])
    return tf.raw_ops.ScaleAndTranslate(images=image[None], size=size, scale=scale, translation=translation, kernel_type="triangle")[0]


def stretch(shape, size):
    """By how much more a picture of `shape` (height, width) is narrowed than lowered where it becomes one of `size`."""
    height, width = tf.unstack(tf.cast(shape, tf.float32) / tf.cast(size, tf.float32))
    return width / height


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
    return picture._replace(image=image, boxes=boxes, points=picture.points * extent + begin)
