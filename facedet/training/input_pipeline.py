"""The training pictures of a pipeline config: records -> augmented batches.

The OD API decodes every picture in full and works on it as floats. Here a leading random_crop_image is done while
decoding: only its window is decoded, at the least DCT scale that still covers the network's input. A random_crop_image
that comes later treats the faces it cuts in the same way; the OD API's would turn them into background. The other
augmentations are the OD API's own, run at the input size where none of them moves boxes and at full size otherwise.
A picture that cannot be decoded is left out and reported by its name.
"""

from collections.abc import Callable

import tensorflow as tf
from facedet import od_api  # noqa: F401  isort: skip
from object_detection.builders import preprocessor_builder
from object_detection.core import preprocessor

from facedet.data.records import Keys

IMAGE, BOXES, WEIGHTS = "image", "groundtruth_boxes", "groundtruth_weights"
CLASSES = "groundtruth_classes"
_WHOLE = (0.0, 0.0, 1.0, 1.0)
_GEOMETRY_FREE = ("random_adjust", "random_horizontal_flip", "random_distort_color", "random_rgb_to_gray", "random_jpeg_quality",
                  "random_patch_gaussian", "random_black_patches", "random_pixel_value_scale", "random_vertical_flip")  # fmt: skip


def _refuse(name: str) -> None:
    raise ValueError(f"{name} cannot be decoded.")


def dataset(
    paths: list[str],
    train_config,
    input_size: tuple[int, int],
    seed: int | None = None,
    on_undecodable: Callable[[str], None] = _refuse,
) -> tf.data.Dataset:
    """Endless shuffled batches of {image float32 [B, H, W, 3] 0..255, groundtruth_boxes [B, M, 4] ymin xmin ymax xmax 0..1,
    groundtruth_weights [B, M], num_boxes [B], name [B]}; M is that of the batch's fullest picture, the rest is zeros.

    on_undecodable: told the name of each picture that is left out because it cannot be decoded; what it raises ends the
    dataset with a tf.errors.OpError.
    """
    options = list(train_config.data_augmentation_options)
    crop = options.pop(0).random_crop_image if options and options[0].HasField("random_crop_image") else None
    steps = [_step(option) for option in options]
    moves = [o.WhichOneof("preprocessing_step") for o in options if not o.WhichOneof("preprocessing_step").startswith(_GEOMETRY_FREE)]
    at_full_size = bool(moves)

    def decode(tensors):
        if crop is not None:
            return _decode_crop(tensors, crop, input_size if not at_full_size else None)
        return {**tensors, IMAGE: tf.io.decode_jpeg(tensors[IMAGE], channels=3)}

    def decoded_or_left_out(serialized):
        picture = tf.data.Dataset.from_tensors(serialized).map(_parse)
        left_out = picture.filter(lambda tensors: _report(tensors, on_undecodable))  # looked at where nothing was decoded
        return picture.map(decode).ignore_errors().concatenate(left_out.map(decode)).take(1)

    def example(tensors):
        if at_full_size:
            tensors = _augment(tensors, steps)
        tensors[IMAGE] = tf.image.resize(tensors[IMAGE], input_size, antialias=True)  # as FaceDetector does
        if not at_full_size:
            tensors = _augment(tensors, steps)
        tensors[IMAGE] = tf.ensure_shape(tf.clip_by_value(tensors[IMAGE], 0.0, 255.0), [*input_size, 3])
        tensors["num_boxes"] = tf.shape(tensors[BOXES])[0]
        return tensors

    files = tf.data.Dataset.from_tensor_slices(sorted(paths)).shuffle(len(paths), seed=seed).repeat()
    records = files.interleave(tf.data.TFRecordDataset, cycle_length=min(len(paths), 4), block_length=4)
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": seed is not None}
    examples = records.shuffle(512, seed=seed).interleave(decoded_or_left_out, **parallel).map(example, **parallel)
    return examples.padded_batch(train_config.batch_size, drop_remainder=True).prefetch(3)


def _parse(serialized) -> dict:
    floats = tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True)
    keys = {key: floats for key in (Keys.YMIN, Keys.XMIN, Keys.YMAX, Keys.XMAX, Keys.WEIGHT)}
    keys |= {key: tf.io.FixedLenFeature([], tf.string) for key in (Keys.ENCODED, Keys.SOURCE_ID)}
    parsed = tf.io.parse_single_example(serialized, keys)
    boxes = tf.stack([parsed[key] for key in (Keys.YMIN, Keys.XMIN, Keys.YMAX, Keys.XMAX)], axis=1)
    return {IMAGE: parsed[Keys.ENCODED], BOXES: boxes, WEIGHTS: parsed[Keys.WEIGHT], "name": parsed[Keys.SOURCE_ID]}


def _report(tensors: dict, on_undecodable):
    """Calls on_undecodable with the picture's name; false, as a filter's answer."""

    def call(name: bytes) -> bool:
        on_undecodable(name.decode())
        return False

    told = tf.numpy_function(call, [tensors["name"]], tf.bool)
    return tf.ensure_shape(told, [])


def _decode_crop(tensors: dict, crop, input_size) -> dict:
    """_crop() of a picture that is not decoded yet."""
    shape = tf.io.extract_jpeg_shape(tensors[IMAGE])[:2]
    window = _window(tensors, crop, shape)
    return {**_cut_boxes(tensors, crop, window, shape), IMAGE: _decode_window(tensors[IMAGE], window, input_size)}


def _crop(tensors: dict, crop) -> dict:
    """random_crop_image with the OD API's parameters. A face that is cut to less than overlap_thresh is ignored, not background."""
    shape = tf.shape(tensors[IMAGE])[:2]
    window = _window(tensors, crop, shape)
    image = tf.image.crop_to_bounding_box(tensors[IMAGE], *tf.unstack(window))
    return {**_cut_boxes(tensors, crop, window, shape), IMAGE: image}


def _window(tensors: dict, crop, shape):
    """The window (top, left, height, width in px) of a picture of `shape` [height, width] that is kept."""
    height, width = tf.unstack(shape)
    boxes, weights = tensors[BOXES], tensors[WEIGHTS]

    def sample():
        targets = tf.boolean_mask(boxes, weights > 0)[None]
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.stack([height, width, 3]), tf.clip_by_value(targets, 0.0, 1.0),
            min_object_covered=crop.min_object_covered, aspect_ratio_range=(crop.min_aspect_ratio, crop.max_aspect_ratio),
            area_range=(crop.min_area, crop.max_area), max_attempts=100, use_image_if_no_bounding_boxes=True,
        )  # fmt: skip
        return tf.stack([begin[0], begin[1], size[0], size[1]])

    whole = tf.stack([0, 0, height, width])
    return tf.cond(tf.random.uniform([]) < crop.random_coef, lambda: whole, sample)


def _cut_boxes(tensors: dict, crop, window, shape) -> dict:
    """The boxes as fractions of the window, those outside of it left out; weight 0 where less than overlap_thresh is visible."""
    boxes, weights = tensors[BOXES], tensors[WEIGHTS]
    window = tf.cast(window, tf.float32) / tf.cast(tf.tile(shape, [2]), tf.float32)
    offset, scale = tf.tile(window[:2], [2]), tf.tile(window[2:], [2])
    moved = (boxes - offset) / scale
    clipped = tf.clip_by_value(moved, 0.0, 1.0)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (clipped, moved)]
    visible = areas[0] / tf.maximum(areas[1], 1e-12)
    weights = tf.where(visible < crop.overlap_thresh, 0.0, weights)
    inside = areas[0] > 0
    return {**tensors, BOXES: tf.boolean_mask(clipped, inside), WEIGHTS: tf.boolean_mask(weights, inside)}


def _decode_window(encoded, window, input_size):
    """Decodes the window (top, left, height, width in px) of a JPEG, reduced by 1, 2, 4 or 8 but not below input_size."""

    def reduced(ratio):
        def decode():
            # The decoder counts the window in reduced pixels; the last one may lie outside by rounding.
            shape = tf.io.extract_jpeg_shape(encoded)[:2]
            limit = (shape + ratio - 1) // ratio
            begin = window[:2] // ratio
            size = tf.minimum(tf.maximum(window[2:] // ratio, 1), limit - begin)
            return tf.image.decode_and_crop_jpeg(encoded, tf.concat([begin, size], 0), channels=3, ratio=ratio)

        return decode

    if input_size is None:
        return reduced(1)()
    fits = tf.reduce_min(tf.cast(window[2:], tf.float32) / tf.cast(input_size, tf.float32))
    branch = tf.cast(tf.floor(tf.math.log(tf.maximum(fits, 1.0)) / tf.math.log(2.0)), tf.int32)
    return tf.switch_case(tf.minimum(branch, 3), [reduced(1), reduced(2), reduced(4), reduced(8)])


def _step(option):
    """The function that does a data_augmentation_option on one picture's tensors."""
    if option.HasField("random_crop_image"):
        return lambda tensors: _crop(tensors, option.random_crop_image)
    steps, arguments = [preprocessor_builder.build(option)], preprocessor.get_default_func_arg_map(include_label_weights=True)

    def apply(tensors: dict) -> dict:
        given = {IMAGE: tensors[IMAGE][None], BOXES: tensors[BOXES], WEIGHTS: tensors[WEIGHTS]}
        given[CLASSES] = tf.ones([tf.shape(tensors[BOXES])[0]], tf.int32)
        result = preprocessor.preprocess(given, steps, func_arg_map=arguments)
        return {**tensors, IMAGE: result[IMAGE][0], BOXES: result[BOXES], WEIGHTS: result[WEIGHTS]}

    return apply


def _augment(tensors: dict, steps) -> dict:
    if steps:
        tensors = {**tensors, IMAGE: tf.cast(tensors[IMAGE], tf.float32)}
    for step in steps:
        tensors = step(tensors)
    return tensors
