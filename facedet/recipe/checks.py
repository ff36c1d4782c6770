"""Whether a pipeline config says only what is honoured: schema.py's tables, and what holds between several keys."""

import math
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf import text_format

from facedet.errors import ConfigError
from facedet.od_api import augmentation, builders, protos
from facedet.recipe import schema

FACE = {1: "face"}
BACKBONE_STAGES = 6  # of MobileNetV2, up to stride 32


class Stated(NamedTuple):
    """What a config states. path: as it stands there; parent: the name of the message around it; value: an enum's is its name."""

    path: str
    parent: str
    name: str
    value: object

    @property
    def key(self) -> str:
        """As schema.py's tables have it."""
        return f"{self.parent}.{self.name}"


def check(config, name: str) -> None:
    """config: TrainEvalPipelineConfig; `name`, its file, stands in the errors. ConfigError for what nothing here can honour."""
    try:
        for stated in states(config):
            _check_kind(stated)
            _check_number(stated)
            _check_order(stated)
        _check_chosen(config)
        for rule in _BETWEEN_KEYS:
            rule(config)
        builders.try_out(config)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def check_label_map(path: str, key: str) -> None:
    """ConfigError, naming `key`, for a label map that cannot be read or says anything but face: 1, which is what is learned."""
    mend = "The project's is label_maps/face_label_map.pbtxt; facedet needs none, so the key can also be left out."
    try:
        classes = protos.classes(pathlib.Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{key}: {path} is not there (looked for from {pathlib.Path.cwd()}). {mend}") from error
    except (OSError, ValueError, text_format.ParseError) as error:
        raise ConfigError(f"{key}: {path} is no label map: {error}. {mend}") from error
    if classes != FACE:
        raise ConfigError(f"{key}: {path}: {classes}: {FACE} is the one class that facedet learns and gives. {mend}")


def states(message, path: str = "", parent: str = "") -> Iterator[Stated]:
    """Everything that is set in a message, messages before what is in them, in the schema's order."""
    for field, value in message.ListFields():
        said = f"[{field.full_name}]" if field.is_extension else field.name
        for i, one in enumerate(value if field.is_repeated else [value]):
            at = f"{path}{said}[{i}]" if field.is_repeated else path + said
            yield Stated(at, parent, said, field.enum_type.values_by_number[one].name if field.enum_type else one)
            if field.message_type:
                yield from states(one, at + (" " if field.is_extension else "."), said)


def kind(parent: str, name: str) -> str | None:
    """'honoured', 'only' (with some values) or 'harmless'; None for a key that is refused."""
    if name in schema.HONOURED.get(parent, "").split():
        return "honoured"
    key = f"{parent}.{name}"
    return "only" if key in schema.HONOURED_ONLY_AS else "harmless" if key in _HARMLESS else None


_HARMLESS = frozenset(key for keys in schema.HARMLESS.values() for key in keys.split())


def _check_kind(stated: Stated) -> None:
    found = kind(stated.parent, stated.name)
    if found is None:
        said = "" if hasattr(stated.value, "ListFields") else f": {_written(stated.value)}"
        instead = schema.INSTEAD.get(stated.key, "take it out")
        raise ConfigError(f"{stated.path}{said}: nothing here honours it; {instead}.")
    if found == "only":
        values, why = schema.HONOURED_ONLY_AS[stated.key]
        if stated.value not in values:
            _refuse(stated, f"only {' or '.join(_written(value) or 'none' for value in values)} can be honoured: {why}")


def _check_number(stated: Stated) -> None:
    key, value = stated.key, stated.value
    if isinstance(value, bool) or not isinstance(value, int | float) or kind(stated.parent, stated.name) != "honoured":
        return
    if not math.isfinite(value):
        _refuse(stated, "a finite number is wanted")
    if key in schema.ABOVE_ZERO and value <= 0:
        _refuse(stated, "a number above 0 is wanted")
    if value < (least := schema.AT_LEAST.get(key, 0)) and key not in schema.ANY_SIGN:
        _refuse(stated, f"{least} or more is wanted")
    most = schema.AT_MOST.get(key, schema.LARGEST if isinstance(value, float) else value)
    if value > most:
        _refuse(stated, f"at most {most:g} is wanted")


def _check_order(stated: Stated) -> None:
    message = stated.value
    if not hasattr(message, "ListFields"):
        return
    fields = message.DESCRIPTOR.fields_by_name
    for lower, upper in schema.IN_ORDER:
        if lower in fields and upper in fields and getattr(message, lower) > getattr(message, upper):
            end = " " if stated.path.endswith("]") and stated.path.startswith("[") else "."
            raise ConfigError(f"{stated.path}{end}{lower}: {getattr(message, lower):g} is above {upper}: {getattr(message, upper):g}.")


def _check_chosen(config) -> None:
    for path, (oneof, choices) in schema.CHOSEN.items():
        message = config
        for key in path.split("."):
            message = getattr(message, key)
        if message.WhichOneof(oneof) is None:
            raise ConfigError(f"{path}: {choices} is wanted in it, and there is none.")


def _refuse(stated: Stated, why: str) -> None:
    raise ConfigError(f"{stated.path}: {_written(stated.value)}: {why}.")


def _written(value) -> str:
    """As a config writes it."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


# What holds between several keys.


def _check_steps(config) -> None:
    steps = config.train_config.num_steps
    if not steps:
        return
    mend = "scripts/adapt_config.py --num_steps moves all of them."
    if config.graph_rewriter.HasField("quantization") and (delay := config.graph_rewriter.quantization.delay) >= steps:
        raise ConfigError(
            f"graph_rewriter.quantization.delay: {delay} is not below train_config.num_steps: {steps}, so it would never "
            f"quantize. Take about three quarters of num_steps; {mend}"
        )
    training = protos.training(config)
    if training.HasField("one_cycle") and 0 < (total := training.one_cycle.total_steps) < steps:
        raise ConfigError(
            f"[facedet.training] one_cycle.total_steps: {total} is below train_config.num_steps: {steps}: what is left would be trained "
            f"at the end's rate. {mend}"
        )
    optimizer = config.train_config.optimizer
    if (kind := optimizer.WhichOneof("optimizer")) is None:
        return
    rate = getattr(optimizer, kind).learning_rate
    if rate.HasField("cosine_decay_learning_rate") and (total := rate.cosine_decay_learning_rate.total_steps) < steps:
        raise ConfigError(
            f"train_config.optimizer.{kind}.learning_rate.cosine_decay_learning_rate.total_steps: {total} is below "
            f"train_config.num_steps: {steps}: what is left would be trained at rate 0. {mend}"
        )


def _check_teacher(config) -> None:
    training = protos.training(config)
    for key in ("checkpoint", "config"):
        if training.HasField("teacher") and not getattr(training.teacher, key):
            raise ConfigError(f"[facedet.training] teacher.{key}: a trained detector's is wanted, and there is none.")


def _check_patterns(config) -> None:
    for key in ("freeze_variables", "update_trainable_variables"):
        for pattern in getattr(config.train_config, key):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"train_config.{key}: {pattern!r} is no regular expression: {error}.") from error


def _check_backbone(config) -> None:
    backbone = protos.backbone(config)
    for key in ("expansions", "blocks"):
        values = getattr(backbone, key)
        if values and (len(values) != BACKBONE_STAGES or (key == "expansions" and values[0] != 1)):
            rule = f"{BACKBONE_STAGES} numbers, 1 and more" + (", the first 1" if key == "expansions" else "")
            raise ConfigError(f"[facedet.backbone] {key}: {list(values)}: {rule} are wanted, one a stage.")


def _check_background(config) -> None:
    ssd = config.model.ssd
    if not ssd.add_background_class and not ssd.encode_background_as_zeros:
        raise ConfigError(
            "model.ssd.encode_background_as_zeros: false: with add_background_class: false there is no column but the face's, "
            "and the background would be learned as a face. Set it to true."
        )


def _check_suppression(config) -> None:
    suppression = config.model.ssd.post_processing.batch_non_max_suppression
    a_class, total = suppression.max_detections_per_class, suppression.max_total_detections
    if a_class != total:
        raise ConfigError(
            f"model.ssd.post_processing.batch_non_max_suppression.max_detections_per_class: {a_class}, max_total_detections: {total}: "
            "with one class they are the same. Write the same number twice."
        )


def _check_landmarks(config) -> None:
    coder = config.model.ssd.box_coder
    if not coder.HasField("keypoint_box_coder"):
        return
    if not coder.keypoint_box_coder.HasField("num_keypoints"):
        raise ConfigError("model.ssd.box_coder.keypoint_box_coder.num_keypoints: 5 is wanted, or 6 for MediaPipe's points.")
    for i, option in enumerate(config.train_config.data_augmentation_options):
        if not augmentation.moves_points(option):
            raise ConfigError(
                f"train_config.data_augmentation_options[{i}].{augmentation.name(option)}: it does not move landmarks, which keypoint_box_coder learns; "
                "[facedet.augmentation] has steps that do."
            )


def _check_augmentation(config) -> None:
    for i, step in enumerate(protos.augmentation(config).step):
        if step.WhichOneof("step") is None:
            raise ConfigError(f"[facedet.augmentation] step[{i}]: one of {schema.HONOURED['step'].replace(' ', ', ')} is wanted in it.")


def _check_averages(config) -> None:
    trained = config.train_config.optimizer.use_moving_average
    if config.eval_config.HasField("use_moving_averages") and config.eval_config.use_moving_averages != trained:
        raise ConfigError(
            f"eval_config.use_moving_averages: {_written(not trained)}: averaged weights are evaluated, and exported, where they are "
            f"trained. Write what train_config.optimizer.use_moving_average is: {_written(trained)}."
        )


def _check_readers(config) -> None:
    if len(config.eval_input_reader) > 1:
        raise ConfigError("eval_input_reader[1]: one is wanted; its tf_record_input_reader takes several input_path.")


def _check_idle(config) -> None:
    """Keys that another one leaves without effect."""
    ssd, training, given = config.model.ssd, protos.training(config), protos.input(config)
    extractor, predictor = ssd.feature_extractor, ssd.box_predictor.convolutional_box_predictor
    optimizer = config.train_config.optimizer
    kind = optimizer.WhichOneof("optimizer")
    if kind and training.HasField("one_cycle") and getattr(optimizer, kind).HasField("learning_rate"):
        raise ConfigError(
            f"train_config.optimizer.{kind}.learning_rate: [facedet.training] one_cycle stands in its place, and nothing honours it. Take "
            "one of them out."
        )
    idle = (
        (training, "landmark_weight", ssd.box_coder.HasField("keypoint_box_coder"), "[facedet.training] landmark_weight",
         "model.ssd.box_coder: keypoint_box_coder learns landmarks"),
        (protos.detector(config), "landmark_blocks",
         ssd.box_coder.HasField("keypoint_box_coder") and extractor.type == "ssd_mobilenet_v2_fpn_keras", "[facedet.detector] landmark_blocks",
         "ssd_mobilenet_v2_fpn_keras with model.ssd.box_coder: keypoint_box_coder has such a branch"),
        (training, "smallest_landmark_face", ssd.box_coder.HasField("keypoint_box_coder"), "[facedet.training] smallest_landmark_face",
         "model.ssd.box_coder: keypoint_box_coder learns landmarks"),
        (protos.loss(config), "landmarks", ssd.box_coder.HasField("keypoint_box_coder"), "[facedet.loss] landmarks",
         "model.ssd.box_coder: keypoint_box_coder learns landmarks"),
        (training, "least_forced_overlap", ssd.matcher.argmax_matcher.force_match_for_each_row, "[facedet.training] least_forced_overlap",
         "argmax_matcher.force_match_for_each_row: true forces matches"),
        *((protos.loss(config), key, protos.loss(config).classification in ("quality_focal", "varifocal"),
           f"[facedet.loss] {key}", 'classification: "quality_focal" or "varifocal" has a target that it shapes')
          for key in ("least_overlap", "full_overlap")),
        (given, "pad_place", given.resize == "pad", "[facedet.input] pad_place", 'resize: "pad" pads'),
        (given, "pad_value", given.resize == "pad", "[facedet.input] pad_value", 'resize: "pad" pads'),
        (extractor, "num_layers", not extractor.HasField("fpn"), "model.ssd.feature_extractor.num_layers",
         "without fpn, which has levels of its own, it counts"),
        (predictor, "dropout_keep_probability", predictor.HasField("use_dropout"),
         "model.ssd.box_predictor.convolutional_box_predictor.dropout_keep_probability", "use_dropout: false has to stand beside it"),
    )  # fmt: skip
    for message, key, honoured, path, where in idle:
        if any(field.name == key for field, _ in message.ListFields()) and not honoured:
            raise ConfigError(f"{path}: {_written(getattr(message, key))}: nothing here honours it so: {where}. Take it out.")


_BETWEEN_KEYS = (
    _check_steps, _check_patterns, _check_backbone, _check_background, _check_suppression, _check_landmarks, _check_augmentation,
    _check_averages, _check_readers, _check_idle, _check_teacher,
)  # fmt: skip
