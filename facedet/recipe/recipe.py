"""Recipe: what a pipeline config says, parsed once, checked once, under the field's own names. Frozen.

What the OD API alone understands (schedules, its losses, its augmentations) stays its message, which only facedet.od_api reads.
"""

import dataclasses
from collections.abc import Mapping

from facedet.runtime.input_spec import InputSpec


@dataclasses.dataclass(frozen=True)
class Hyperparams:
    """conv_hyperparams of one part of a network.

    initializer: ('truncated_normal' | 'random_normal', mean, stddev) or ('variance_scaling', factor, mode, distribution).
    l1, l2: weights of the regularizer as Keras counts them.
    bn_momentum: TensorFlow's, the share that is kept; None where there is no batch norm, and biases in its place.
    activation: 'relu6' or 'relu'.
    """

    initializer: tuple
    l1: float
    l2: float
    regularize_depthwise: bool
    bn_momentum: float | None
    bn_epsilon: float
    activation: str


@dataclasses.dataclass(frozen=True)
class Pyramid:
    """feature_extractor.fpn."""

    min_level: int
    max_level: int
    depth: int


@dataclasses.dataclass(frozen=True)
class FeatureExtractor:
    """model.ssd.feature_extractor, and [facedet.backbone].

    stem_channels, expansions, blocks: MobileNetV2's table where it is not the paper's; 0 and () where it is.
    landmark_blocks: of the landmarks' own branch on each level; (): landmarks are read where boxes are.
    """

    type: str
    depth_multiplier: float
    min_depth: int
    num_layers: int
    use_explicit_padding: bool
    use_depthwise: bool
    fpn: Pyramid | None
    hyperparams: Hyperparams
    stem_channels: int
    expansions: tuple[int, ...]
    blocks: tuple[int, ...]
    landmark_blocks: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class BoxPredictor:
    """model.ssd.box_predictor.convolutional_box_predictor."""

    kernel_size: int
    use_depthwise: bool
    class_prediction_bias_init: float
    hyperparams: Hyperparams


@dataclasses.dataclass(frozen=True)
class BoxCoder:
    """model.ssd.box_coder. kind: 'faster_rcnn', 'keypoint', 'linear'.  scales: of ty, tx, th, tw.  num_points: 0, 5 or 6."""

    kind: str
    scales: tuple[float, float, float, float]
    num_points: int


@dataclasses.dataclass(frozen=True)
class Matching:
    """model.ssd.matcher, and what [facedet.training] adds.

    matched_threshold: from this IoU on an anchor learns its best face.
    unmatched_threshold: below it, it is background; between the two it is left out of the loss.
    force_match: each face also takes the anchor that overlaps it most, where they overlap by more than least_forced_overlap.
    anchors_per_face: and the next best ones, up to that many in all, where they reach unmatched_threshold.
    smallest_face: faces of less height at the input, px, are ignored; 0: those that no anchor could overlap enough.
    smallest_landmark_face: faces of less height there teach no landmarks.
    """

    matched_threshold: float
    unmatched_threshold: float
    force_match: bool
    anchors_per_face: int = 1
    least_forced_overlap: float = 0.0
    smallest_face: float = 0.0
    smallest_landmark_face: float = 0.0


@dataclasses.dataclass(frozen=True)
class Loss:
    """model.ssd.loss and its neighbours. message: object_detection.protos.Loss, for facedet.od_api.losses.

    landmark_weight: of the points' loss, which only faces with points have.  landmarks: '' for smooth L1, or 'wing'.
    classification: '' for the message's, or 'balanced_cross_entropy', 'quality_focal', 'varifocal'.
    least_overlap, full_overlap: IoU at which the last two's target is 0 and 1.  localization: '' for the message's, or 'log_iou'.
    """

    message: object
    classification_weight: float
    localization_weight: float
    landmark_weight: float
    landmarks: str
    classification: str
    least_overlap: float
    full_overlap: float
    localization: str
    negative_class_weight: float
    normalize_by_matches: bool
    normalize_by_code_size: bool
    regularization: bool


@dataclasses.dataclass(frozen=True)
class Suppression:
    """post_processing.batch_non_max_suppression: scores from score_threshold on, at most max_detections of them."""

    score_threshold: float
    iou_threshold: float
    max_detections: int


@dataclasses.dataclass(frozen=True)
class Training:
    """train_config. optimizer: object_detection.protos.Optimizer, for facedet.od_api.optimizers.

    moving_average_decay: of the averaged weights, or None.  gradient_clipping: by norm, or 0.
    initial_weights: '', 'imagenet', an .npz or a checkpoint.  backbone_only: of those, the backbone's alone.
    one_cycle: facedet.OneCycle, in place of the optimizer's rate and momentum, or None.
    teacher: facedet.Teacher, a detector whose scores and boxes are learned, or None.
    frozen, updated: freeze_variables and update_trainable_variables, patterns of weights' names.
    """

    batch_size: int
    num_steps: int
    optimizer: object
    moving_average_decay: float | None
    gradient_clipping: float
    initial_weights: str
    backbone_only: bool
    freeze_batch_norm: bool
    frozen: tuple[str, ...]
    updated: tuple[str, ...]
    max_faces: int
    one_cycle: object | None
    teacher: object | None

    @property
    def starts_from_backbone(self) -> bool:
        """Whether initial_weights are of another network, trained on other pictures, for detectors' initialize()."""
        return self.initial_weights == "imagenet" or self.initial_weights.endswith(".npz")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What happens to a training picture, in order. od_api: PreprocessingStep messages, first; facedet: [facedet.augmentation]'s."""

    od_api: tuple
    facedet: tuple


@dataclasses.dataclass(frozen=True)
class Data:
    """Patterns of record files, and the label maps that the config names."""

    train: tuple[str, ...]
    evaluation: tuple[str, ...]
    label_maps: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Quantization:
    """graph_rewriter.quantization: values are rounded from step `delay` on."""

    delay: int


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A pipeline config. name: its file's, for errors.  anchors: object_detection.protos.AnchorGenerator, for facedet.od_api.anchors.

    score_converter: of the class heads' values, 'SIGMOID', 'SOFTMAX' or 'IDENTITY'.
    options: [facedet.detector], by name, for detectors that the OD API's schema has no words for.
    text: the config as it is trained, for the run's folder.
    """

    name: str
    input: InputSpec
    num_classes: int
    add_background_class: bool
    encode_background_as_zeros: bool
    feature_extractor: FeatureExtractor
    box_predictor: BoxPredictor
    anchors: object
    box_coder: BoxCoder
    matching: Matching
    loss: Loss
    score_converter: str
    suppression: Suppression
    training: Training
    augmentation: Augmentation
    data: Data
    quantization: Quantization | None
    options: object
    text: str
