"""What a pipeline config may say, in tables: ranges of numbers, pairs in order, and keys that only one value of can be honoured.

Keys are written without their indices, from the right: "random_crop_image.min_area" is that key wherever it stands.
"""

import math
import re
from collections.abc import Iterator

from facedet.errors import ConfigError
from facedet.layers import mobilenet_v2
from facedet.od_api import builders, protos

# Numbers that have to be above 0.
ABOVE_ZERO = (
    "train_config.batch_size", "ssd.num_classes", "fixed_shape_resizer.height", "fixed_shape_resizer.width",
    "feature_extractor.depth_multiplier", "feature_extractor.min_depth", "feature_extractor.num_layers", "fpn.additional_layer_depth",
    "conv_hyperparams.batch_norm.epsilon", "variance_scaling_initializer.factor", "convolutional_box_predictor.kernel_size",
    "faster_rcnn_box_coder.y_scale", "faster_rcnn_box_coder.x_scale", "faster_rcnn_box_coder.height_scale",
    "faster_rcnn_box_coder.width_scale", "anchor_grid.base_sizes", "anchor_grid.aspect_ratios", "anchor_grid.height_stride",
    "anchor_grid.width_stride", "ssd_anchor_generator.num_layers", "ssd_anchor_generator.min_scale", "ssd_anchor_generator.max_scale",
    "ssd_anchor_generator.scales", "ssd_anchor_generator.aspect_ratios", "multiscale_anchor_generator.anchor_scale",
    "multiscale_anchor_generator.aspect_ratios", "multiscale_anchor_generator.scales_per_octave",
    "batch_non_max_suppression.max_detections_per_class", "batch_non_max_suppression.max_total_detections",
    "random_crop_image.min_aspect_ratio", "random_crop_image.min_area", "learning_rate_base",
    "exponential_decay_learning_rate.decay_steps", "cosine_decay_learning_rate.total_steps", "schedule.step",
    "train_config.max_number_of_boxes", "[facedet.training] anchors_per_face",
)  # fmt: skip
LARGEST = 1e6  # no fraction, rate, scale or size is beyond it
# Numbers that may be at most this.
AT_MOST = {
    "batch_non_max_suppression.iou_threshold": 1, "batch_non_max_suppression.score_threshold": 1, "argmax_matcher.matched_threshold": 1,
    "random_crop_image.min_object_covered": 1, "random_crop_image.max_area": 1, "random_crop_image.overlap_thresh": 1,
    "random_crop_image.random_coef": 1, "batch_norm.decay": 1, "optimizer.moving_average_decay": 1, "weighted_sigmoid_focal.alpha": 1,
    "probability": 1, "train_config.batch_size": 4096, "fixed_shape_resizer.height": 4096, "fixed_shape_resizer.width": 4096,
    "feature_extractor.depth_multiplier": 8, "fpn.additional_layer_depth": 4096, "convolutional_box_predictor.kernel_size": 15,
    "[facedet.training] anchors_per_face": 100,
}  # fmt: skip
# All other numbers are 0 at least, but these.
ANY_SIGN = ("class_prediction_bias_init", "initializer.mean", "frame_index", "height_offset", "width_offset", "min_delta")
# Of two keys of one message the first may not be greater.
IN_ORDER = (
    ("unmatched_threshold", "matched_threshold"), ("min_area", "max_area"), ("min_aspect_ratio", "max_aspect_ratio"),
    ("min_scale", "max_scale"), ("max_detections_per_class", "max_total_detections"), ("min_delta", "max_delta"),
)  # fmt: skip
# Keys that change the network, the loss or the input in the OD API and nothing here: only the value that changes nothing is taken.
_NOT_HERE = "facedet's networks have none"
_ONE_CLASS = "facedet's matching and files have no use for it"
HONOURED_ONLY_AS = {
    "convolutional_box_predictor.use_dropout": (False, _NOT_HERE),
    "convolutional_box_predictor.num_layers_before_predictor": (0, _NOT_HERE),
    "convolutional_box_predictor.apply_sigmoid_to_scores": (False, "score_converter: SIGMOID does it"),
    "convolutional_box_predictor.box_code_size": (4, "a box has 4 numbers"),
    "argmax_matcher.negatives_lower_than_unmatched": (True, "what overlaps least is the background"),
    "batch_norm.center": (True, "quantization folds batch norms with both"),
    "batch_norm.scale": (True, "quantization folds batch norms with both"),
    "conv_hyperparams.force_use_bias": (False, "batch norm has one"),
    "feature_extractor.pad_to_multiple": (1, _NOT_HERE),
    "batch_non_max_suppression.soft_nms_sigma": (0.0, "the .tflite's suppression is a hard one"),
    "post_processing.logit_scale": (1.0, "the .tflite takes logits as they are"),
    "ssd.use_confidences_as_targets": (False, _ONE_CLASS),
    "train_config.merge_multiple_label_boxes": (False, _ONE_CLASS),
    "train_config.use_multiclass_scores": (False, _ONE_CLASS),
    "train_config.use_bfloat16": (False, "facedet trains in float32"),
    "random_crop_image.clip_boxes": (True, "a box ends where the picture does"),
    "graph_rewriter.quantization.weight_bits": (8, "TFLite's kernels take 8 bits only"),
    "graph_rewriter.quantization.activation_bits": (8, "TFLite's kernels take 8 bits only"),
    "graph_rewriter.quantization.symmetric": (False, "TFLite's activations are asymmetric"),
}
# The same of messages, and what stands in their place.
REFUSED = {
    "model.ssd.mask_head_config": "leave it out", "feature_extractor.bifpn": "use fpn",
    "conv_hyperparams.sync_batch_norm": "use batch_norm", "conv_hyperparams.group_norm": "use batch_norm",
    "convolutional_box_predictor.box_encodings_clip_range": "leave it out", "post_processing.calibration_config": "leave it out",
    "similarity_calculator.ioa_similarity": "use iou_similarity", "similarity_calculator.neg_sq_dist_similarity": "use iou_similarity",
    "similarity_calculator.thresholded_iou_similarity": "use iou_similarity",
}  # fmt: skip
# What has to be chosen of several.
CHOSEN = {
    "model.ssd.image_resizer.image_resizer_oneof": "fixed_shape_resizer",
    "model.ssd.matcher.matcher_oneof": "argmax_matcher",
    "model.ssd.box_predictor.box_predictor_oneof": "convolutional_box_predictor",
}


def check(config, name: str) -> None:
    """config: TrainEvalPipelineConfig; `name`, its file, stands in the errors. ConfigError for what nothing here can honour."""
    if config.model.WhichOneof("model") != "ssd":
        raise ConfigError(f"{name}: model is {config.model.WhichOneof('model')}; only ssd is supported.")
    for key, value in _values(config):
        _check_value(name, key, value)
    for path, wanted in CHOSEN.items():
        *keys, oneof = path.split(".")
        message = config
        for key in keys:
            message = getattr(message, key)
        if (chosen := message.WhichOneof(oneof)) != wanted:
            raise ConfigError(f"{name}: {'.'.join(keys)}: {chosen}: facedet has only {wanted}.")
    _check_steps(config, name)
    for key in ("freeze_variables", "update_trainable_variables"):
        for pattern in getattr(config.train_config, key):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"{name}: train_config.{key}: {pattern!r} is no regular expression: {error}.") from error
    try:
        mobilenet_v2.table(protos.backbone(config))
        builders.try_out(config)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _values(message, path: str = "") -> Iterator[tuple[str, object]]:
    """(key, value) of everything that is set in a message, messages before what is in them."""
    for field, value in message.ListFields():
        key = f"[{field.full_name}]" if field.is_extension else f"{path}{field.name}"
        values = list(value) if field.is_repeated else [value]
        for i, one in enumerate(values):
            at = f"{key}[{i}]" if field.is_repeated else key
            yield at, one
            if field.message_type:
                yield from _values(one, at + (" " if field.is_extension else "."))


def _check_value(name: str, key: str, value) -> None:
    plain = re.sub(r"\[\d+\]", "", key)

    def of(table):
        return next((entry for entry in table if f".{plain}".endswith(f".{entry}")), None)

    def refuse(why):
        raise ConfigError(f"{name}: {key}: {_written(value)}: {why}.")

    if entry := of(REFUSED):
        raise ConfigError(f"{name}: {key}: nothing here honours it; {REFUSED[entry]}.")
    if hasattr(value, "ListFields"):
        for lower, upper in IN_ORDER:
            fields = value.DESCRIPTOR.fields_by_name
            if lower in fields and upper in fields and getattr(value, lower) > getattr(value, upper):
                raise ConfigError(f"{name}: {key}.{lower}: {getattr(value, lower):g} is above {upper}: {getattr(value, upper):g}.")
        return
    if entry := of(HONOURED_ONLY_AS):
        wanted, why = HONOURED_ONLY_AS[entry]
        if value != wanted:
            refuse(f"only {_written(wanted)} can be honoured: {why}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not math.isfinite(value):
        refuse("a finite number is wanted")
    if of(ABOVE_ZERO) and value <= 0:
        refuse("a number above 0 is wanted")
    if value < 0 and not of(ANY_SIGN):
        refuse("0 or more is wanted")
    entry = of(AT_MOST)
    most = AT_MOST[entry] if entry else LARGEST if isinstance(value, float) else value
    if value > most:
        refuse(f"at most {most:g} is wanted")


def _written(value) -> str:
    """As a config writes it."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _check_steps(config, name: str) -> None:
    steps = config.train_config.num_steps
    if not steps:
        return
    mend = "scripts/adapt_config.py --num_steps moves all of them."
    if config.graph_rewriter.HasField("quantization") and (delay := config.graph_rewriter.quantization.delay) >= steps:
        raise ConfigError(
            f"{name}: graph_rewriter.quantization.delay: {delay} is not below train_config.num_steps: {steps}, so it would never "
            f"quantize. Take about three quarters of num_steps; {mend}"
        )
    optimizer = config.train_config.optimizer
    if (kind := optimizer.WhichOneof("optimizer")) is None:
        return
    rate = getattr(optimizer, kind).learning_rate
    if rate.HasField("cosine_decay_learning_rate") and (total := rate.cosine_decay_learning_rate.total_steps) < steps:
        raise ConfigError(
            f"{name}: train_config.optimizer.{kind}.learning_rate.cosine_decay_learning_rate.total_steps: {total} is below "
            f"train_config.num_steps: {steps}: what is left would be trained at rate 0. {mend}"
        )
