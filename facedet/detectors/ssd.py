"""An OD API SSDMetaArch around one functional Keras network.

The OD API keeps what it is good at: anchors, box coding, losses, hard-example mining, post-processing. The network is
facedet's own functional model, which quantization and converters can see into; matching is target_assignment's.
"""

import tensorflow as tf
from facedet import od_api  # noqa: F401  isort: skip
from object_detection.builders import (
    anchor_generator_builder,
    box_coder_builder,
    image_resizer_builder,
    losses_builder,
    post_processing_builder,
)
from object_detection.core import box_list, box_list_ops, losses
from object_detection.meta_architectures import ssd_meta_arch

from facedet.assign import matchers
from facedet.detectors import registry
from facedet.errors import ConfigError
from facedet.od_api import protos


def build(config, is_training: bool) -> "FunctionalSSD":
    """The detection model of a pipeline config (TrainEvalPipelineConfig). ConfigError names what cannot be honoured."""
    kind = config.model.WhichOneof("model")
    if kind != "ssd":
        raise ConfigError(f"model: {kind}: only ssd is supported.")
    return FunctionalSSD(config.model.ssd, is_training, protos.training(config), protos.backbone(config))


class _NetworkParts:
    """Stands where SSDMetaArch expects a feature extractor and a box predictor; the network does the work of both."""

    is_keras_model = True
    name = "network"

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self.losses = []


class FunctionalSSD(ssd_meta_arch.SSDMetaArch):
    """network: the functional Keras model, image [B, H, W, 3] in -1..1 -> [box encodings [B, N, 4], class logits [B, N, C]].

    C is num_classes, and one more in front for the background where the config has add_background_class.
    forward: what predict() calls in the network's place, for quantization-aware training; the network itself at first.
    """

    def __init__(self, ssd, is_training: bool, training, backbone):
        anchor_generator = anchor_generator_builder.build(ssd.anchor_generator)
        self.anchors_per_location = list(anchor_generator.num_anchors_per_location())
        network = registry.build(ssd, self.anchors_per_location, backbone)
        self.input_size = tuple(network.inputs[0].shape[1:3])  # height, width
        levels = [network.get_layer(f"box_head_{i}").output.shape[1:3] for i in range(len(self.anchors_per_location))]
        height, width = self.input_size
        anchors = anchor_generator.generate([tuple(level) for level in levels], im_height=height, im_width=width)
        anchors = box_list_ops.concatenate(anchors)

        box_coder = box_coder_builder.build(ssd.box_coder)
        non_max_suppression, score_conversion = post_processing_builder.build(ssd.post_processing)
        (classification_loss, localization_loss, classification_weight, localization_weight, miner, sampler,
         expected_weights) = losses_builder.build(ssd.loss)  # fmt: skip
        if isinstance(localization_loss, (losses.WeightedGIOULocalizationLoss, losses.WeightedIOULocalizationLoss)):
            localization_loss = _LossOfDecodedBoxes(localization_loss, box_coder, anchors.get())
        parts = _NetworkParts(ssd.num_classes)
        super().__init__(
            is_training=is_training,
            anchor_generator=anchor_generator,
            box_predictor=parts,
            box_coder=box_coder,
            feature_extractor=parts,
            encode_background_as_zeros=ssd.encode_background_as_zeros,
            image_resizer_fn=image_resizer_builder.build(ssd.image_resizer),
            non_max_suppression_fn=non_max_suppression,
            score_conversion_fn=score_conversion,
            classification_loss=classification_loss,
            localization_loss=localization_loss,
            classification_loss_weight=classification_weight,
            localization_loss_weight=localization_weight,
            normalize_loss_by_num_matches=ssd.normalize_loss_by_num_matches,
            hard_example_miner=miner,
            target_assigner_instance=None,
            add_summaries=False,
            normalize_loc_loss_by_codesize=ssd.normalize_loc_loss_by_codesize,
            freeze_batchnorm=ssd.freeze_batchnorm,
            add_background_class=ssd.add_background_class,
            explicit_background_class=ssd.explicit_background_class,
            random_example_sampler=sampler,
            expected_loss_weights_fn=expected_weights,
        )
        self.network = network
        self.forward = network
        self._anchors = anchors
        self.rules = matchers.Rules.from_proto(ssd.matcher, training.anchors_per_face)
        self.smallest_face = training.smallest_face
        self.negative_class_weight = ssd.negative_class_weight
        predicted = network.outputs[0].shape[1]
        if predicted != anchors.num_boxes_static():
            raise ConfigError(f"The network predicts {predicted} boxes, anchor_generator lays {anchors.num_boxes_static()} anchors.")

    def preprocess(self, inputs):
        """Images [B, H, W, 3] of the input's size, 0..255 -> float32 in -1..1, and their true shapes [B, 3]."""
        images = tf.cast(inputs, tf.float32)
        shape = tf.constant([[*self.input_size, 3]], tf.int32)
        return images * (2.0 / 255.0) - 1.0, tf.tile(shape, [tf.shape(images)[0], 1])

    def predict(self, preprocessed_inputs, true_image_shapes):
        """[B, H, W, 3] in -1..1 -> the OD API's prediction_dict."""
        training = self._is_training and not self._freeze_batchnorm
        encodings, logits = self.forward(preprocessed_inputs, training=training)
        return {
            "preprocessed_inputs": preprocessed_inputs,
            "box_encodings": encodings,
            "class_predictions_with_background": logits,
            "anchors": self._anchors.get(),
        }

    def _assign_targets(self, boxes_list, classes_list, keypoints_list=None, weights_list=None, confidences_list=None):
        """As SSDMetaArch's: class targets [B, N, C] and weights, box targets [B, N, 4] and weights [B, N], matches [B, N]."""
        if weights_list is None:
            weights_list = [tf.ones(tf.shape(boxes)[:1]) for boxes in boxes_list]
        anchors = self._anchors.get()
        weights_list = [self._ignore_too_small(boxes, weights) for boxes, weights in zip(boxes_list, weights_list, strict=True)]
        matches, boxes, first = matchers.match(boxes_list, weights_list, anchors, self.rules)
        positive = matches >= 0
        at = tf.maximum(matches, 0) + first[:, None]  # an image without faces may point past the end: kept inside
        at = tf.where(positive, at, 0)
        padded_boxes = tf.concat([boxes, [[0.0, 0.0, 1.0, 1.0]]], 0)
        classes = tf.concat([*classes_list, tf.zeros([1, self.num_classes])], 0)
        weights = tf.concat([*weights_list, [0.0]], 0)

        matched_boxes = tf.where(positive[..., None], tf.gather(padded_boxes, at), anchors[None])
        tiled = tf.tile(anchors, [len(boxes_list), 1])
        encoded = self._box_coder.encode(box_list.BoxList(tf.reshape(matched_boxes, [-1, 4])), box_list.BoxList(tiled))
        regression = tf.reshape(encoded, [*matches.shape, self._box_coder.code_size])
        weight = tf.where(positive, tf.gather(weights, at), 0.0)

        matched_classes = tf.gather(classes, at)
        if self._add_background_class:
            matched_classes = tf.pad(matched_classes, [[0, 0], [0, 0], [1, 0]])
        class_targets = tf.where(positive[..., None], matched_classes, self._unmatched_class_label)
        background = tf.where(matches == matchers.UNMATCHED, self.negative_class_weight, 0.0)
        class_weights = tf.where(positive, weight, background)[..., None] * tf.ones_like(class_targets)
        targets = (class_targets, class_weights, regression, weight, matches)
        return tuple(tf.stop_gradient(target) for target in targets)

    def _ignore_too_small(self, boxes, weights):
        """Weight 0 for faces below smallest_face; without one, for those that no anchor could overlap by matched_threshold."""
        sides = boxes[:, 2:] - boxes[:, :2]
        if self.smallest_face > 0:
            return tf.where(sides[:, 0] * self.input_size[0] < self.smallest_face, 0.0, weights)
        anchors = self._anchors.get()
        smallest = tf.reduce_min((anchors[:, 2] - anchors[:, 0]) * (anchors[:, 3] - anchors[:, 1]))
        return tf.where(sides[:, 0] * sides[:, 1] < min(self.rules.matched_threshold, 1.0) * smallest, 0.0, weights)

    def regularization_losses(self):
        return self.network.losses

    def updates(self):
        return []

    def restore_from_objects(self, fine_tune_checkpoint_type="detection"):
        raise NotImplementedError("facedet.checkpoints restores networks.")


class _LossOfDecodedBoxes:
    """An overlap loss of the OD API, given decoded boxes; SSDMetaArch would hand it encodings."""

    def __init__(self, loss, box_coder, anchors):
        self._loss, self._coder, self._anchors = loss, box_coder, anchors

    def __call__(self, prediction, target, weights, ignore_nan_targets=False, losses_mask=None):
        """prediction and target: encodings [B, N, 4]; weights [B, N] -> [B, N], 0 where the weight is."""
        at = tf.where(weights > 0)
        anchors = box_list.BoxList(tf.gather(self._anchors, at[:, 1]))
        decoded = [self._coder.decode(tf.gather_nd(codes, at), anchors).get()[None] for codes in (prediction, target)]
        loss = self._loss(*decoded, weights=tf.gather_nd(weights, at)[None])
        return tf.scatter_nd(at, tf.reshape(loss, [-1]), tf.shape(weights, out_type=tf.int64))
