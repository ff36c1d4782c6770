"""Records -> pictures. What the leading window steps do not show is not decoded, and nothing at a finer scale than is needed."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from facedet.augment.fitting import fitted_size, resize, stretch
from facedet.augment.picture import NUM_POINTS, Picture, show_faces, whole_points
from facedet.augment.windows import WindowStep, common_part, on_canvas, overlap, size_of_equal_area
from facedet.data.records import Keys
from facedet.runtime.input_spec import InputSpec

_REDUCTIONS = (1, 2, 4, 8)  # that a JPEG can be decoded at


def parse(serialized) -> tuple:
    """A tf.train.Example -> (its picture's name, Picture that is not decoded)."""
    floats = tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True)
    sides, points = (Keys.YMIN, Keys.XMIN, Keys.YMAX, Keys.XMAX), (Keys.KEYPOINT_Y, Keys.KEYPOINT_X)
    keys = {key: floats for key in (*sides, *points, Keys.WEIGHT)}
    keys |= {key: tf.io.FixedLenFeature([], tf.string) for key in (Keys.ENCODED, Keys.SOURCE_ID)}
    parsed = tf.io.parse_single_example(serialized, keys)
    boxes = tf.stack([parsed[key] for key in sides], axis=1)
    absent = tf.fill([tf.shape(boxes)[0], NUM_POINTS, 2], float("nan"))
    stored = tf.stack([parsed[key] for key in points], axis=1)
    points = tf.cond(tf.size(stored) > 0, lambda: tf.reshape(stored, tf.shape(absent)), lambda: absent)
    return parsed[Keys.SOURCE_ID], Picture(parsed[Keys.ENCODED], boxes, whole_points(points), parsed[Keys.WEIGHT])


def decode(picture: Picture, steps: Sequence[WindowStep], input: InputSpec, full_scale: bool) -> Picture:
    """Does the window steps while decoding. full_scale: the picture's own, for steps that follow; else its size in the input, to which
    it is scaled once."""
    if not steps:
        whole = picture._replace(image=tf.io.decode_jpeg(picture.image, channels=3))
        return whole if full_scale else resize(whole, input)
    shape = tf.io.extract_jpeg_shape(picture.image)[:2]
    window = shown = tf.concat([[0, 0], shape], 0)  # shown: the part of it that is picture; what a step has left out stays out
    exceeds = False
    for step in steps:
        chosen = step.choose(window[2:], picture)
        if exceeds:  # nothing but filling is no picture
            chosen = tf.where(overlap(_within(chosen, window), shown), chosen, tf.concat([[0, 0], window[2:]], 0))
        picture = show_faces(picture, chosen, window[2:], step.least_visible)
        window = _within(chosen, window)
        exceeds |= step.exceeds
        shown = common_part(window, shown) if exceeds else window
    if full_scale:
        image, _ = decode_window(picture.image, shown, tf.constant(0))
        size = size_of_equal_area(window[2:], shape, input)
        return picture._replace(image=on_canvas(image, shown, window, size, input.fill) if exceeds else image)
    size = fitted_size(input, window[2:])
    image, covered = decode_window(picture.image, shown, _reduction(window[2:], size))
    image = on_canvas(image, covered, window, size, input.fill)
    return picture._replace(image=image, pixel_aspect=stretch(window[2:], size))


def _within(window, outer):
    """A window of what another window shows, as one of the picture."""
    return tf.concat([outer[:2] + window[:2], window[2:]], 0)


def decode_window(encoded, window, reduction):
    """The window (top, left, height, width in px) of a JPEG -> (uint8, the window that this covers). reduction: which of 1, 2, 4 and 8 it
    is reduced by; covered are whole reduced pixels, so up to 7 px more than was asked for to either side."""

    def reduced(ratio):
        def decode():
            begin, end = window[:2] // ratio, (window[:2] + window[2:] + ratio - 1) // ratio
            cut = tf.concat([begin, end - begin], 0)
            return tf.image.decode_and_crop_jpeg(encoded, cut, channels=3, ratio=ratio), cut * ratio

        return decode

    return tf.switch_case(reduction, [reduced(ratio) for ratio in _REDUCTIONS])


def _reduction(size, wanted):
    """The index of the largest that leaves a window of `size` no smaller than `wanted`, both [height, width]."""
    fits = tf.reduce_min(tf.cast(size, tf.float32) / tf.cast(wanted, tf.float32))
    return tf.minimum(tf.cast(tf.floor(tf.math.log(tf.maximum(fits, 1.0)) / tf.math.log(2.0)), tf.int32), len(_REDUCTIONS) - 1)


def report(name, on_undecodable: Callable[[str], None]):
    """Calls on_undecodable with a picture's name; false, as a filter's answer."""

    def call(name: bytes) -> bool:
        on_undecodable(name.decode())
        return False

    return tf.ensure_shape(tf.numpy_function(call, [name], tf.bool), [])
