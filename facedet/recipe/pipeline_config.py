"""Pipeline configs: read, checked against what can be honoured and against the data, before anything long begins."""

import pathlib

import tensorflow as tf
from google.protobuf import text_format

from facedet.data import records
from facedet.errors import ConfigError
from facedet.od_api import protos
from facedet.recipe import adapt, checks
from facedet.recipe.recipe import (
    Augmentation,
    BoxCoder,
    BoxPredictor,
    Data,
    FeatureExtractor,
    Hyperparams,
    Loss,
    Matching,
    Pyramid,
    Quantization,
    Recipe,
    Suppression,
    Training,
)
from facedet.runtime.input_spec import InputSpec

__all__ = ["ConfigError", "check_data", "from_message", "input_paths", "message", "parse", "read"]


def read(path: str, num_steps: int | None = None, learning_rate_scale: float | None = None) -> Recipe:
    """The Recipe of a file. Unknown keys, wrong types and what nothing here could honour raise ConfigError.

    num_steps: in place of train_config.num_steps; rate and delay of quantization move along, as adapt.adapt() moves them.
    learning_rate_scale: of the whole schedule.
    """
    return from_message(adapt.adapt(message(path, num_steps), learning_rate_scale=learning_rate_scale, name=str(path)), str(path))


def parse(text: str, name: str = "pipeline.config", num_steps: int | None = None) -> Recipe:
    """As read(), of a text; `name` stands in the errors."""
    return from_message(_message(text, name, num_steps), name)


def message(path: str, num_steps: int | None = None):
    """As read(), but the TrainEvalPipelineConfig itself, unchecked: to be changed and given to from_message()."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"--pipeline_config_path {path} does not exist. Those of the project are in configs/.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--pipeline_config_path {path} cannot be read as text: {error}. Those of the project are in configs/."
        ) from error
    return _message(text, str(path), num_steps)


def _message(text: str, name: str, num_steps: int | None):
    try:
        config = protos.parse(text)
    except text_format.ParseError as error:
        raise ConfigError(f"{name}:{error}") from error
    if num_steps is not None:
        adapt.adapt(config, num_steps, name=name)
    return config


def from_message(config, name: str = "pipeline.config") -> Recipe:
    """The Recipe of a TrainEvalPipelineConfig, which is checked first; `name` stands in the errors."""
    checks.check(config, name)
    ssd, train = config.model.ssd, config.train_config
    graph = config.graph_rewriter
    return Recipe(
        name=name,
        input=_input(config, name),
        num_classes=ssd.num_classes,
        add_background_class=ssd.add_background_class,
        encode_background_as_zeros=ssd.encode_background_as_zeros,
        feature_extractor=_feature_extractor(ssd.feature_extractor, protos.backbone(config), protos.detector(config).landmark_blocks),
        box_predictor=_box_predictor(ssd.box_predictor.convolutional_box_predictor),
        anchors=_copy(ssd.anchor_generator),
        box_coder=_box_coder(config),
        matching=_matching(ssd.matcher.argmax_matcher, protos.training(config)),
        loss=_loss(ssd, train, protos.training(config), protos.loss(config)),
        score_converter=ssd.post_processing.DESCRIPTOR.fields_by_name["score_converter"]
        .enum_type.values_by_number[ssd.post_processing.score_converter]
        .name,
        suppression=_suppression(ssd.post_processing.batch_non_max_suppression),
        training=_training(ssd, train, protos.training(config)),
        augmentation=Augmentation(tuple(map(_copy, train.data_augmentation_options)), tuple(map(_copy, protos.augmentation(config).step))),
        data=_data(config),
        quantization=Quantization(graph.quantization.delay) if graph.HasField("quantization") else None,
        options=_copy(protos.detector(config)),
        text=text_format.MessageToString(config),
    )


def _input(config, name: str) -> InputSpec:
    size, said = config.model.ssd.image_resizer.fixed_shape_resizer, protos.input(config)

    def three(key: str, default: float):
        values = tuple(getattr(said, key)) or (default,)
        return values * 3 if len(values) == 1 else values

    spec = {
        "height": size.height, "width": size.width, "colour_order": said.colour_order, "mean": three("mean", 127.5),
        "scale": three("scale", 2 / 255), "resize": said.resize, "pad_place": said.pad_place, "pad_value": tuple(said.pad_value) or None,
    }  # fmt: skip
    try:
        return InputSpec.from_details(spec)
    except ValueError as error:
        raise ConfigError(f"{name}: [facedet.input] {error}: see InputSpec in facedet/runtime/input_spec.py for what fits.") from error


def _feature_extractor(extractor, backbone, landmark_blocks) -> FeatureExtractor:
    fpn, paper = extractor.fpn, backbone.DESCRIPTOR.fields_by_name["stem_channels"].default_value
    return FeatureExtractor(
        type=extractor.type,
        depth_multiplier=extractor.depth_multiplier,
        min_depth=extractor.min_depth,
        num_layers=extractor.num_layers,
        use_explicit_padding=extractor.use_explicit_padding,
        use_depthwise=extractor.use_depthwise,
        fpn=Pyramid(fpn.min_level, fpn.max_level, fpn.additional_layer_depth) if extractor.HasField("fpn") else None,
        hyperparams=_hyperparams(extractor.conv_hyperparams),
        stem_channels=0 if backbone.stem_channels == paper else backbone.stem_channels,
        expansions=tuple(backbone.expansions),
        blocks=tuple(backbone.blocks),
        landmark_blocks=tuple(landmark_blocks),
    )


def _box_predictor(predictor) -> BoxPredictor:
    return BoxPredictor(
        kernel_size=predictor.kernel_size,
        use_depthwise=predictor.use_depthwise,
        class_prediction_bias_init=predictor.class_prediction_bias_init,
        hyperparams=_hyperparams(predictor.conv_hyperparams),
    )


def _hyperparams(said) -> Hyperparams:
    regularizer = said.regularizer
    kind = regularizer.WhichOneof("regularizer_oneof")
    return Hyperparams(
        initializer=_initializer(said.initializer),
        l1=regularizer.l1_regularizer.weight if kind == "l1_regularizer" else 0.0,
        l2=regularizer.l2_regularizer.weight * 0.5 if kind == "l2_regularizer" else 0.0,  # as the OD API counts it
        regularize_depthwise=said.regularize_depthwise,
        bn_momentum=said.batch_norm.decay if said.HasField("batch_norm") else None,
        bn_epsilon=said.batch_norm.epsilon,
        activation={1: "relu", 2: "relu6"}[said.activation],
    )


def _initializer(said) -> tuple:
    kind = said.WhichOneof("initializer_oneof")
    if kind in ("truncated_normal_initializer", "random_normal_initializer"):
        chosen = getattr(said, kind)
        return kind.removesuffix("_initializer"), chosen.mean, chosen.stddev
    chosen = said.variance_scaling_initializer
    mode = ("fan_in", "fan_out", "fan_avg")[chosen.mode]
    return "variance_scaling", chosen.factor, mode, "uniform" if chosen.uniform else "truncated_normal"


def _box_coder(config) -> BoxCoder:
    coder = config.model.ssd.box_coder
    kind = coder.WhichOneof("box_coder_oneof")
    chosen = getattr(coder, kind)
    scales = (chosen.y_scale, chosen.x_scale, chosen.height_scale, chosen.width_scale)
    points = chosen.num_keypoints if kind == "keypoint_box_coder" else 0
    return BoxCoder(protos.box_coder(config).kind or kind.removesuffix("_box_coder"), scales, points)


def _matching(argmax, said) -> Matching:
    # No thresholds: every anchor learns its best face. The second number is only what an ignored face takes.
    matched, unmatched = (0.0, 0.25) if argmax.ignore_thresholds else (argmax.matched_threshold, argmax.unmatched_threshold)
    return Matching(
        matched_threshold=matched,
        unmatched_threshold=unmatched,
        force_match=argmax.force_match_for_each_row,
        anchors_per_face=said.anchors_per_face,
        least_forced_overlap=said.least_forced_overlap,
        smallest_face=said.smallest_face,
        smallest_landmark_face=said.smallest_landmark_face,
    )


def _loss(ssd, train, said, options) -> Loss:
    return Loss(
        message=_copy(ssd.loss),
        classification_weight=ssd.loss.classification_weight,
        localization_weight=ssd.loss.localization_weight,
        landmark_weight=said.landmark_weight,
        landmarks=options.landmarks,
        classification=options.classification,
        least_overlap=options.least_overlap,
        full_overlap=options.full_overlap,
        localization=options.localization,
        negative_class_weight=ssd.negative_class_weight,
        normalize_by_matches=ssd.normalize_loss_by_num_matches,
        normalize_by_code_size=ssd.normalize_loc_loss_by_codesize,
        regularization=train.add_regularization_loss,
    )


def _suppression(said) -> Suppression:
    return Suppression(
        score_threshold=round(said.score_threshold, 6),
        iou_threshold=round(said.iou_threshold, 6),
        max_detections=said.max_total_detections,
    )


def _training(ssd, train, said) -> Training:
    optimizer = train.optimizer
    return Training(
        batch_size=train.batch_size,
        num_steps=train.num_steps,
        optimizer=_copy(optimizer),
        moving_average_decay=optimizer.moving_average_decay if optimizer.use_moving_average else None,
        gradient_clipping=train.gradient_clipping_by_norm,
        initial_weights=train.fine_tune_checkpoint,
        backbone_only=train.fine_tune_checkpoint_type == "classification",
        freeze_batch_norm=ssd.freeze_batchnorm,
        frozen=tuple(train.freeze_variables),
        updated=tuple(train.update_trainable_variables),
        max_faces=train.max_number_of_boxes,
        one_cycle=_copy(said.one_cycle) if said.HasField("one_cycle") else None,
        teacher=_copy(said.teacher) if said.HasField("teacher") else None,
    )


def _data(config) -> Data:
    readers = {"train_input_reader": config.train_input_reader}
    if config.eval_input_reader:
        readers["eval_input_reader"] = config.eval_input_reader[0]
    patterns = {key: tuple(reader.tf_record_input_reader.input_path) for key, reader in readers.items()}
    return Data(
        train=patterns["train_input_reader"],
        evaluation=patterns.get("eval_input_reader", ()),
        label_maps={key: reader.label_map_path for key, reader in readers.items() if reader.label_map_path},
    )


def _copy(part):
    """A message of its own: who changes the config afterwards changes no recipe."""
    copy = type(part)()
    copy.CopyFrom(part)
    return copy


def input_paths(patterns: tuple[str, ...], reader: str) -> list[str]:
    """The record files of an input reader. ConfigError names the pattern that matches none."""
    try:
        paths = sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
    except tf.errors.OpError as error:  # a URL of no file system that is known, or out of reach
        raise ConfigError(f"{reader}.tf_record_input_reader.input_path: {list(patterns)}: {error.message}") from error
    if not paths:
        raise ConfigError(
            f"{reader}.tf_record_input_reader.input_path: {list(patterns)} matches no file below {pathlib.Path.cwd()}. Make the records:\n"
            "  python dataset_tools/create_widerface_tf_record.py --data_dir DIR"
        )
    return paths


def check_data(recipe: Recipe) -> tuple[list[str], list[str]]:
    """Checks the recipe's label maps, and its records: whole, and no picture with more faces than it states.

    Returns the record files for training and for evaluation. Raises ConfigError or records.RecordsError.
    """
    for reader, path in recipe.data.label_maps.items():
        checks.check_label_map(path, f"{recipe.name}: {reader}.label_map_path")
    train = input_paths(recipe.data.train, "train_input_reader")
    most = records.check_shards(train)["max_faces_per_image"]
    cap = recipe.training.max_faces
    if cap < most:
        raise ConfigError(
            f"{recipe.name}: train_config.max_number_of_boxes: {cap}, but a picture of the records holds {most} faces, ignored ones among "
            f"them. facedet learns from all of them, where the OD API's own loop would keep {cap}: set it to {most} or more, so that both agree."
        )
    evaluation = []
    if recipe.data.evaluation:
        evaluation = input_paths(recipe.data.evaluation, "eval_input_reader")
        records.check_shards(evaluation)
    return train, evaluation
