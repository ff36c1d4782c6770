"""Steps that turn and mirror a picture."""

import math
from collections.abc import Callable

import tensorflow as tf

from facedet.augment.picture import LEAST_VISIBLE, Picture, clip_faces, with_probability
from facedet.runtime.input_spec import InputSpec

MIRRORED = (1, 0, 2, 4, 3)  # landmarks are ordered by where they lie in the picture: eyes and mouth corners change places


def rotate(input: InputSpec, probability: float = 0.5, max_degrees: float = 45.0) -> Callable:
    """Picture -> Picture, turned about its middle by up to max_degrees to either side; corners are cut off, and filled.

    A face is taken for the ellipse in its box: its new box is that around the turned ellipse, as in evaluation.rotation.
    """
    limit = math.radians(max_degrees)

    def turned(picture):
        return turn(picture, tf.random.uniform([], -limit, limit), input.fill)

    def step(picture: Picture) -> Picture:
        return with_probability(probability, turned, picture)

    return step


def turn(picture: Picture, angle, fill) -> Picture:
    """By `angle` in radians, counter-clockwise; what a stretched picture shows is turned as it was before it was stretched."""
    cos, sin, aspect = tf.cos(angle), tf.sin(angle), picture.pixel_aspect
    shape = tf.cast(tf.shape(picture.image)[:2], tf.float32)
    y, x = tf.unstack((shape - 1) / 2)
    across, down = sin / aspect, sin * aspect
    # Where each pixel comes from: (x, y) -> (a x + b y + c, d x + e y + f).
    source = tf.stack([cos, -across, x - cos * x + across * y, down, cos, y - down * x - cos * y, 0.0, 0.0])
    fill = tf.constant(fill, tf.float32)
    image = tf.raw_ops.ImageProjectiveTransformV3(
        images=(picture.image - fill)[None], transforms=source[None], output_shape=tf.shape(picture.image)[:2], fill_value=0.0,
        interpolation="BILINEAR", fill_mode="CONSTANT",
    )[0] + fill  # fmt: skip

    shape *= tf.stack([1.0, aspect])  # of what it shows

    def turned(points_yx):
        offset = (points_yx - 0.5) * shape
        return tf.stack([offset[..., 0] * cos - offset[..., 1] * sin, offset[..., 0] * sin + offset[..., 1] * cos], -1) / shape + 0.5

    center = turned((picture.boxes[:, :2] + picture.boxes[:, 2:]) / 2)
    squares = ((picture.boxes[:, 2:] - picture.boxes[:, :2]) / 2 * shape) ** 2
    half = tf.sqrt(tf.stack([squares[:, 0] * cos**2 + squares[:, 1] * sin**2, squares[:, 0] * sin**2 + squares[:, 1] * cos**2], 1)) / shape
    boxes = tf.concat([center - half, center + half], 1)
    return clip_faces(picture._replace(image=image, boxes=boxes, points=turned(picture.points)), LEAST_VISIBLE)


def mirror(probability: float = 0.5) -> Callable:
    """Picture -> Picture, left and right changed."""

    def mirrored(picture):
        top, left, bottom, right = tf.unstack(picture.boxes, axis=1)
        points = tf.gather(picture.points, MIRRORED, axis=1)
        return picture._replace(
            image=picture.image[:, ::-1],
            boxes=tf.stack([top, 1 - right, bottom, 1 - left], 1),
            points=tf.stack([points[..., 0], 1 - points[..., 1]], -1),
        )

    def step(picture: Picture) -> Picture:
        return with_probability(probability, mirrored, picture)

    return step
