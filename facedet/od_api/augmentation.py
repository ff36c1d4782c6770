"""The OD API's augmentation options, as functions that move landmarks along."""

from collections.abc import Callable

import tensorflow as tf
from object_detection.builders import preprocessor_builder
from object_detection.core import preprocessor
from object_detection.core.standard_fields import InputDataFields as Fields

# Landmarks are ordered by where they lie in the picture, the left ones first.
_PERMUTATIONS = {"random_horizontal_flip": (1, 0, 2, 4, 3), "random_vertical_flip": (0, 1, 2, 3, 4)}
_LEAVE_FACES = ("random_adjust", "random_distort_color", "random_rgb_to_gray", "random_jpeg_quality", "random_patch_gaussian",
                "random_black_patches", "random_pixel_value_scale", "random_horizontal_flip", "random_vertical_flip")  # fmt: skip
_WITHOUT_POINTS = ("random_crop_pad_image", "random_self_concat_image", "ssd_random_crop_pad", "ssd_random_crop_pad_fixed_aspect_ratio",
                   "autoaugment_image")  # fmt: skip


def name(option) -> str:
    """Of a PreprocessingStep: the key that it has in a config."""
    return option.WhichOneof("preprocessing_step")


def crop_around_faces(option) -> dict | None:
    """random_crop_image in the words of augment.windows.crop_around_faces; None for another option.

    The OD API itself would turn the faces that it cuts into background.
    """
    if not option.HasField("random_crop_image"):
        return None
    crop = option.random_crop_image
    return {
        "probability": 1 - crop.random_coef, "min_area": crop.min_area, "max_area": crop.max_area, "min_aspect_ratio": crop.min_aspect_ratio,
        "max_aspect_ratio": crop.max_aspect_ratio, "least_visible": crop.overlap_thresh, "least_covered": crop.min_object_covered,
    }  # fmt: skip


def needs_picture(option) -> bool:
    """Whether an option works on the whole picture as it is, not on what the network will see of it."""
    return not name(option).startswith(_LEAVE_FACES)


def moves_points(option) -> bool:
    """False for options by which the OD API moves boxes, but not keypoints: a face loses its landmarks there."""
    return name(option) not in _WITHOUT_POINTS


def build(option) -> Callable:
    """The function (image float32 [H, W, 3], boxes [n, 4], points [n, 5, 2], weights [n]) -> the same, of a PreprocessingStep.

    ValueError where the option orders landmarks otherwise than the records.
    """
    function, arguments = preprocessor_builder.build(option)
    if permutation := _PERMUTATIONS.get(name(option)):
        if arguments["keypoint_flip_permutation"] not in (None, permutation):
            raise ValueError(f"keypoint_flip_permutation: {arguments['keypoint_flip_permutation']} is not {permutation}: leave it out")
        arguments = {**arguments, "keypoint_flip_permutation": permutation}
    order = preprocessor.get_default_func_arg_map(include_label_weights=True, include_keypoints=True)

    def apply(image, boxes, points, weights):
        given = {Fields.image: image[None], Fields.groundtruth_boxes: boxes, Fields.groundtruth_weights: weights}
        given |= {Fields.groundtruth_keypoints: points, Fields.groundtruth_classes: tf.ones([tf.shape(boxes)[0]], tf.int32)}
        result = preprocessor.preprocess(given, [(function, arguments)], func_arg_map=order)
        boxes, points = result[Fields.groundtruth_boxes], result[Fields.groundtruth_keypoints]
        if not moves_points(option):
            points = tf.fill([tf.shape(boxes)[0], *points.shape[1:]], float("nan"))
        return result[Fields.image][0], boxes, points, result[Fields.groundtruth_weights]

    return apply
