"""A training picture as augmentation steps take and give it, and what showing a part of it does to its faces."""

from typing import NamedTuple

import tensorflow as tf

NUM_POINTS = 5
LEAST_VISIBLE = 0.4  # share of a face's box: of one that is cut to less, nothing can be learned


class Picture(NamedTuple):
    """One picture of n faces.

    image: float32 or uint8 [H, W, 3] RGB 0..255; before it is decoded, its JPEG bytes.
    boxes: float32 [n, 4] ymin, xmin, ymax, xmax.  points: float32 [n, 5, 2] y, x, NaN where absent.  Both in fractions of the picture.
    weights: float32 [n], 0 for a face to ignore: neither learned nor background.
    pixel_aspect: width over height of what a pixel shows; 1 until the picture is stretched to the input.
    """

    image: tf.Tensor
    boxes: tf.Tensor
    points: tf.Tensor
    weights: tf.Tensor
    pixel_aspect: tf.Tensor | float = 1.0


def show_faces(picture: Picture, window, shape, least_visible: float) -> Picture:
    """The faces in fractions of a window (top, left, height, width in px) of a picture of `shape` (height, width); it may reach beyond.

    Those outside of it are left out; one of which less than least_visible is seen is ignored, not background.
    """
    window = tf.cast(window, tf.float32) / tf.cast(tf.tile(shape, [2]), tf.float32)
    boxes = (picture.boxes - tf.tile(window[:2], [2])) / tf.tile(window[2:], [2])
    return clip_faces(picture._replace(boxes=boxes, points=(picture.points - window[:2]) / window[2:]), least_visible)


def clip_faces(picture: Picture, least_visible: float) -> Picture:
    """As show_faces(), of faces that a step has moved already."""
    clipped = tf.clip_by_value(picture.boxes, 0.0, 1.0)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (clipped, picture.boxes)]
    visible = areas[0] / tf.maximum(areas[1], 1e-12)
    weights = tf.where(visible < least_visible, 0.0, picture.weights)
    faces = {"boxes": clipped, "points": whole_points(picture.points), "weights": weights}
    return picture._replace(**{name: tf.boolean_mask(values, areas[0] > 0) for name, values in faces.items()})


def whole_points(points):
    """[n, 5, 2], but NaN throughout for each face of which a point is absent or outside the picture: its box alone can be learned."""
    inside = tf.reduce_all((points >= 0) & (points <= 1), axis=[1, 2], keepdims=True)  # NaN is not
    return tf.where(inside, points, float("nan"))


def with_probability(probability: float, change, picture: Picture) -> Picture:
    """change(picture), or the picture as it is; its image as floats."""
    picture = picture._replace(image=tf.cast(picture.image, tf.float32))
    return tf.cond(tf.random.uniform([]) < probability, lambda: change(picture), lambda: picture)
