"""Steps that show another window of a picture: crop around faces, data-anchor sampling, expand.

Where the window lies depends on the faces alone, so that a picture need not be decoded to choose it.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from facedet.augment.fitting import fitted_size, scaled
from facedet.augment.picture import LEAST_VISIBLE, Picture, show_faces
from facedet.runtime.input_spec import InputSpec

SCALES = (16, 32, 64, 128, 256)  # PyramidBox's and AInnoFace's anchors, but for the 512 px of their 640 px input


@dataclasses.dataclass(frozen=True)
class WindowStep:
    """Picture -> Picture.

    choose: (shape [height, width] px, Picture) -> window int32 [4]: top, left, height, width in px.
    exceeds: it may reach beyond the picture; that is filled with the input's colour.
    """

    choose: Callable
    input: InputSpec
    exceeds: bool
    least_visible: float = LEAST_VISIBLE

    def __call__(self, picture: Picture) -> Picture:
        shape = tf.shape(picture.image)[:2]
        window = self.choose(shape, picture)
        return show_faces(picture, window, shape, self.least_visible)._replace(image=self._cut(picture.image, window, shape))

    def _cut(self, image, window, shape):
        if not self.exceeds:
            return tf.image.crop_to_bounding_box(image, *tf.unstack(window))
        shown = common_part(window, _whole(shape))
        piece = tf.image.crop_to_bounding_box(image, *tf.unstack(shown))
        return on_canvas(piece, shown, window, size_of_equal_area(window[2:], shape, self.input), self.input.fill)


def crop_around_faces(
    input: InputSpec,
    probability: float = 1.0,
    min_area: float = 0.08,
    max_area: float = 1.0,
    min_aspect_ratio: float = 0.8,
    max_aspect_ratio: float = 1.8,
    least_visible: float = LEAST_VISIBLE,
    least_covered: float = 0.5,
) -> WindowStep:
    """A window of a share of the picture's area between min_area and max_area and of an aspect ratio (width / height) between
    min_aspect_ratio and max_aspect_ratio, that covers at least least_covered of some face that is not ignored."""

    def choose(shape, picture):
        height, width = tf.unstack(shape)

        def sample():
            targets = tf.boolean_mask(picture.boxes, picture.weights > 0)[None]
            begin, size, _ = tf.image.sample_distorted_bounding_box(
                tf.stack([height, width, 3]), tf.clip_by_value(targets, 0.0, 1.0),
                min_object_covered=least_covered, aspect_ratio_range=(min_aspect_ratio, max_aspect_ratio),
                area_range=(min_area, max_area), max_attempts=100, use_image_if_no_bounding_boxes=True,
            )  # fmt: skip
            return tf.stack([begin[0], begin[1], size[0], size[1]])

        return tf.cond(tf.random.uniform([]) < 1 - probability, lambda: _whole(shape), sample)

    return WindowStep(choose, input, exceeds=False, least_visible=least_visible)


def data_anchor_sampling(input: InputSpec, probability: float = 0.5, scales: tuple[int, ...] = SCALES) -> WindowStep:
    """A window that brings one face, drawn at random, to about one of `scales` px at the input (PyramidBox, Tang et al. 2018,
    section 3.4, arXiv:1803.07737; AInnoFace, Zhang et al. 2019, arXiv:1905.01585, trains with it too).

    The scale is drawn from those up to the one after the nearest to the face, then varied by a factor between 1/2 and 2, so that
    faces become smaller more often than larger. The window has the input's shape and holds the whole face; it lies in the
    picture where it is smaller than that, and holds the picture where it is larger.
    """
    scales = tuple(sorted(scales)) or SCALES

    def choose(shape, picture):
        faces = tf.boolean_mask(picture.boxes, picture.weights > 0) * tf.cast(tf.tile(shape, [2]), tf.float32)
        sides = faces[:, 2:] - faces[:, :2]
        faces = tf.boolean_mask(faces, tf.reduce_min(sides, axis=1) >= 1)

        def sample():
            face = faces[tf.random.uniform([], 0, tf.shape(faces)[0], tf.int32)]
            extent, picture_extent = face[2:] - face[:2], tf.cast(shape, tf.float32)
            side = tf.sqrt(tf.reduce_prod(extent))
            at_input = side * tf.sqrt(
                tf.reduce_prod(tf.cast(fitted_size(input, shape), tf.float32) / picture_extent)
            )  # as it is without this step
            nearest = tf.argmin(tf.abs(tf.constant(scales, tf.float32) - at_input), output_type=tf.int32)
            drawn = tf.random.uniform([], 0, tf.minimum(nearest + 2, len(scales)), tf.int32)
            target = tf.gather(tf.constant(scales, tf.float32), drawn) * tf.random.uniform([], 0.5, 2.0)
            size = tf.constant(input.size, tf.float32)
            size *= tf.maximum(side / target, tf.reduce_max(extent / size))  # not so near that the face is cut
            least = tf.where(size < picture_extent, tf.maximum(0.0, face[2:] - size), picture_extent - size)
            most = tf.where(size < picture_extent, tf.minimum(face[:2], picture_extent - size), 0.0)
            begin = least + tf.random.uniform([2]) * (most - least)
            begin, end = tf.floor(begin), tf.math.ceil(begin + size)
            return tf.cast(tf.concat([begin, end - begin], 0), tf.int32)

        wanted = tf.random.uniform([]) < probability
        return tf.cond(wanted & (tf.shape(faces)[0] > 0), sample, lambda: _whole(shape))

    return WindowStep(choose, input, exceeds=True)


def expand(input: InputSpec, probability: float = 0.5, max_ratio: float = 2.0) -> WindowStep:
    """The picture somewhere on a canvas of up to max_ratio times its sides (SSD, Liu et al. 2016, arXiv:1512.02325)."""

    def choose(shape, picture):
        def sample():
            size = tf.cast(tf.cast(shape, tf.float32) * tf.random.uniform([], 1.0, max_ratio), tf.int32)
            begin = tf.cast(tf.random.uniform([2]) * tf.cast(shape - size, tf.float32), tf.int32)
            return tf.concat([begin, size], 0)

        return tf.cond(tf.random.uniform([]) < probability, sample, lambda: _whole(shape))

    return WindowStep(choose, input, exceeds=True)


def common_part(window, other):
    """The window that two windows share; where they share none, a pixel at the other's border."""
    begin = tf.clip_by_value(window[:2], other[:2], other[:2] + other[2:] - 1)
    end = tf.clip_by_value(window[:2] + window[2:], begin + 1, other[:2] + other[2:])
    return tf.concat([begin, end - begin], 0)


def overlap(window, other):
    """Whether two windows share a pixel."""
    return tf.reduce_all(tf.maximum(window[:2], other[:2]) < tf.minimum(window[:2] + window[2:], other[:2] + other[2:]))


def size_of_equal_area(size, shape, input: InputSpec):
    """`size`, less where a window of it had more pixels than the picture and the input, the larger of the two: that is enough for both."""
    areas = [tf.reduce_prod(tf.cast(extent, tf.float32)) for extent in (shape, input.size, size)]
    scale = tf.minimum(1.0, tf.sqrt(tf.maximum(areas[0], areas[1]) / areas[2]))
    return tf.cast(tf.maximum(tf.round(tf.cast(size, tf.float32) * scale), 1), tf.int32)


def on_canvas(piece, shown, window, size, fill):
    """piece: the window `shown` of a picture, at any resolution -> float32 [*size, 3], what `window` shows, filled where the piece shows nothing."""
    ratio = tf.cast(size, tf.float32) / tf.cast(window[2:], tf.float32)
    begin = tf.cast(shown[:2] - window[:2], tf.float32) * ratio
    fill = tf.constant(fill, tf.float32)
    return scaled(tf.cast(piece, tf.float32) - fill, size, begin, begin + tf.cast(shown[2:], tf.float32) * ratio) + fill


def _whole(shape):
    return tf.concat([[0, 0], shape], 0)
