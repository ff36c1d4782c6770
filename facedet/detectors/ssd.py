"""SSD (Liu et al. 2016, arXiv:1512.02325): any network with heads on anchors, composed of a matcher, a codec and losses."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from facedet import replicas
from facedet.assign import box_losses, codecs, point_losses, quality_losses, targets
from facedet.detectors.base import Detector, EncodedBoxes, Faces, Predictions
from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers import heads, pretrained
from facedet.od_api import anchors, losses
from facedet.recipe.recipe import Recipe
from facedet.runtime import landmarks

BOX, CLASS, POINTS = "box", "class", "points"
_SATURATED = 12.0  # a sigmoid's argument: .999994
_ROOM = 1.5  # of a sigmoid's argument below the score threshold, for a raw file's client that wants lower scores: .05 -> .012
_FLOORS = -6.0, -4.0  # of a sigmoid's argument: .0025 and .018, whatever the threshold is
_SCORES = {"SIGMOID": tf.sigmoid, "SOFTMAX": tf.nn.softmax, "IDENTITY": tf.identity}


class SSD(Detector):
    """build_network(recipe, anchors_per_location, columns) -> keras.Model with heads.predict()'s outputs.

    anchors_yxyx: float32 [A, 4], by level, row, column and anchor of a place, as the heads' maps are. Raises ConfigError.
    """

    def __init__(self, recipe: Recipe, build_network: Callable[..., keras.Model]):
        super().__init__(recipe)
        if recipe.loss.classification in quality_losses.NAMES:
            quality_losses.check(recipe)
        self.num_points = recipe.box_coder.num_points
        generator = anchors.AnchorGenerator(recipe.anchors)
        self.anchors_per_location = generator.per_location
        self._columns = {BOX: 4, CLASS: recipe.num_classes + recipe.add_background_class}
        if self.num_points:
            self._columns[POINTS] = 2 * self.num_points
        self.network = build_network(recipe, generator.per_location, self._columns)
        self._places = [tuple(level.shape[1:3]) for level in heads.maps(self.network.output, CLASS)]
        self.anchors_yxyx = generator.lay(self._places, *self.input.size)
        low, high = self.anchors_yxyx[:, :2], self.anchors_yxyx[:, 2:]
        self.anchors_yxhw = np.concatenate([(low + high) / 2, high - low], 1)
        predicted = sum(h * w * count for (h, w), count in zip(self._places, generator.per_location, strict=True))
        if predicted != len(self.anchors_yxyx):
            raise ConfigError(f"The network predicts {predicted} boxes, anchor_generator lays {len(self.anchors_yxyx)} anchors.")
        self.codec = codecs.build(recipe.box_coder)
        self._losses = losses.build(recipe.loss.message)
        if recipe.loss.localization == "log_iou":
            self._losses = self._losses._replace(localization=box_losses.log_iou, on_boxes=True)
        self._balanced = recipe.loss.classification == "balanced_cross_entropy"
        if self._balanced:
            _check_balanced(recipe.loss.message)

    def losses(self, outputs: dict, faces: Faces) -> dict[str, tf.Tensor]:
        loss, told = self.recipe.loss, targets.assign(faces, self.anchors_yxyx, self.input.height, self.recipe.matching)
        codes, logits = self._joined(outputs, BOX), self._joined(outputs, CLASS)
        localized = self._localization(codes, told)
        classified = self._classification(logits, codes, told)
        if self._losses.mine:
            boxes = codecs.corners(self.codec.decode(codes, self.anchors_yxhw))
            localized, classified = self._losses.mine(localized, classified, boxes, self._scores(logits), told.matches)
        matched = tf.reduce_sum(tf.cast(told.positive, tf.float32))
        per_box = loss.localization_weight / (self._normalizer(matched) * (4.0 if loss.normalize_by_code_size else 1.0))
        classified = _balanced(classified, told) if self._balanced else tf.reduce_sum(classified) / self._normalizer(matched)
        result = {
            "Loss/localization_loss": per_box * tf.reduce_sum(localized),
            "Loss/classification_loss": loss.classification_weight * classified,
        }
        if self.num_points:
            expected = landmarks.expected(told.points_yx, self.num_points)  # points that no annotation has learn nothing
            expected = self.codec.encode_points(expected, self.anchors_yxhw)
            distance = point_losses.wing if loss.landmarks == "wing" else losses.smooth_l1
            points = distance(self._joined(outputs, POINTS)[..., : expected.shape[-1]], expected, told.point_weights)
            with_points = tf.reduce_sum(tf.cast(told.point_weights > 0, tf.float32))
            result["Loss/landmark_loss"] = loss.landmark_weight / tf.maximum(replicas.total(with_points), 1.0) * tf.reduce_sum(points)
        return result

    def decode(self, outputs: dict) -> Predictions:
        codes, scores = self._joined(outputs, BOX), self._scores(self._joined(outputs, CLASS))
        boxes = self.codec.decode(codes, self.anchors_yxhw[None])
        points = self.codec.decode_points(self._joined(outputs, POINTS), self.anchors_yxhw) if self.num_points else None
        return Predictions(boxes, scores, points)

    def decode_points(self, outputs: dict, rows):
        codes = tf.gather(self._joined(outputs, POINTS), rows, axis=1)  # decoding all takes a sixth of an int8 file's time
        return self.codec.decode_points(codes, self.anchors_yxhw[None], rows)[0]

    def encode(self, outputs: dict) -> EncodedBoxes:
        if not isinstance(self.codec, codecs.FasterRcnnCodec):
            return super().encode(outputs)
        codes = self._joined(outputs, BOX)
        return EncodedBoxes(codes, self._scores(self._joined(outputs, CLASS)), self.anchors_yxhw, self.codec.scales)

    def codes_and_logits(self, outputs: dict):
        """What the heads gave, by anchor: [B, A, 4] and [B, A, C]."""
        return self._joined(outputs, BOX), self._joined(outputs, CLASS)

    def saturated(self) -> dict[str, tuple[float, float]]:
        if self.recipe.score_converter != "SIGMOID":
            return {}
        threshold = np.clip(self.suppression.score_threshold, 1e-6, 1 - 1e-6)
        floor = float(np.clip(np.log(threshold / (1 - threshold)) - _ROOM, *_FLOORS))
        return {name: (floor, _SATURATED) for name in self.network.output if name.startswith(CLASS)}

    def shown(self, outputs: dict) -> dict[str, tf.Tensor]:
        masks, least = {}, self.suppression.score_threshold
        for level, logits in enumerate(heads.maps(outputs, CLASS)):
            scores = self._scores(tf.reshape(logits, [tf.shape(logits)[0], -1, self._columns[CLASS]]))
            places = tf.concat([tf.shape(logits)[:3], [self.anchors_per_location[level]]], 0)
            for kind in self._columns.keys() - {CLASS}:
                masks[f"{kind}_head_{level}"] = tf.repeat(tf.reshape(scores >= least, places), self._columns[kind], 3)
        return masks

    def initialize(self, source: str) -> int:
        if source == "imagenet":
            return pretrained.load_imagenet(self.network, self.recipe.feature_extractor.depth_multiplier)
        return pretrained.load_torchvision(self.network, source)

    def anchor_table(self) -> dict:
        sizes, levels, at = self.anchors_yxhw[:, 2:] * self.input.size, [], 0
        for (rows, columns), per_place in zip(self._places, self.anchors_per_location, strict=True):
            count = rows * columns * per_place
            shapes = [[round(float(w), 1), round(float(h), 1)] for h, w in sizes[at : at + per_place]]
            levels.append({"stride": round(self.input.height / rows), "count": count, "sizes_px": shapes})
            at += count
        return {"count": at, "levels": levels}

    def _joined(self, outputs: dict, kind: str):
        """The maps of all levels as [B, A, columns]."""
        columns, parts = self._columns[kind], []
        for level in heads.maps(outputs, kind):
            batch, *sides = level.shape
            parts.append(tf.reshape(level, [-1, int(np.prod(sides)) // columns, columns] if batch is None else [batch, -1, columns]))
        return tf.concat(parts, 1) if len(parts) > 1 else parts[0]

    def _scores(self, logits):
        """[B, A, C] -> [B, A] of the face."""
        scores = _SCORES[self.recipe.score_converter](logits)
        return tf.squeeze(scores[:, :, 1:] if self.recipe.add_background_class else scores, 2)

    def _classification(self, logits, codes, told: targets.Targets):
        name, weights = self.recipe.loss.classification, self._class_weights(told)
        if name not in quality_losses.NAMES:
            return self._losses.classification(logits, self._classes(told), weights)
        quality = quality_losses.target(self._overlaps(codes, told), self.recipe.loss.least_overlap, self.recipe.loss.full_overlap)
        return quality_losses.loss(name, logits[..., 0], quality, told.positive, weights[..., 0])

    def _overlaps(self, codes, told: targets.Targets):
        """[B, A]: the IoU of each face's anchor's decoded box with its face, 0 for other anchors. Nothing in it takes a gradient."""
        at = tf.where(told.positive)  # few of many
        predicted = self.codec.decode(tf.gather_nd(tf.stop_gradient(codes), at), tf.gather(self.anchors_yxhw, at[:, 1]))
        found = box_losses.iou(codecs.corners(predicted), tf.gather_nd(told.boxes_yxyx, at))
        return tf.scatter_nd(at, tf.clip_by_value(found, 0.0, 1.0), tf.shape(told.weights, out_type=tf.int64))

    def _localization(self, codes, told: targets.Targets):
        if not self._losses.on_boxes:
            return self._losses.localization(codes, self.codec.encode(told.boxes_yxyx, self.anchors_yxhw), told.weights)
        at = tf.where(told.weights > 0)  # few of many
        predicted = codecs.corners(self.codec.decode(tf.gather_nd(codes, at), tf.gather(self.anchors_yxhw, at[:, 1])))
        found = self._losses.localization(predicted[None], tf.gather_nd(told.boxes_yxyx, at)[None], tf.gather_nd(told.weights, at)[None])
        return tf.scatter_nd(at, tf.reshape(found, [-1]), tf.shape(told.weights, out_type=tf.int64))

    def _classes(self, told: targets.Targets):
        """[B, A, C]: 1 in the face's column, the last; the background's, the first, is 0 throughout or 1 where there is no face."""
        face = tf.cast(told.positive, tf.float32)[..., None]
        if not self.recipe.add_background_class:
            return face
        background = tf.zeros_like(face) if self.recipe.encode_background_as_zeros else 1.0 - face
        return tf.concat([background, face], -1)

    def _class_weights(self, told: targets.Targets):
        weights = tf.where(told.positive, told.weights, told.background * self.recipe.loss.negative_class_weight)
        return tf.repeat(weights[..., None], self._columns[CLASS], -1)

    def _normalizer(self, matched):
        """matched: of this replica's pictures; the global batch's count."""
        return tf.maximum(replicas.total(matched), 1.0) if self.recipe.loss.normalize_by_matches else tf.constant(1.0)


def _check_balanced(message) -> None:
    """message: object_detection.protos.Loss. ConfigError for what would be balanced twice."""
    said = '[facedet.loss] classification: "balanced_cross_entropy"'
    kind = message.classification_loss.WhichOneof("classification_loss")
    if kind not in ("weighted_sigmoid", "weighted_softmax"):
        raise ConfigError(
            f"{said} balances a cross-entropy, and model.ssd.loss.classification_loss is {kind}: write weighted_sigmoid {{}}."
        )
    if message.HasField("hard_example_miner"):
        raise ConfigError(f"{said} takes all of the background, and model.ssd.loss.hard_example_miner some of it: take one of them out.")


def _balanced(classified, told: targets.Targets):
    """The mean over the faces' anchors plus the mean over the background's, of a batch; 0 for what there is none of."""

    def mean(chosen):
        chosen_count = replicas.total(tf.reduce_sum(tf.cast(chosen, tf.float32)))
        return tf.reduce_sum(tf.where(chosen, classified, 0.0)) / tf.maximum(chosen_count, 1.0)

    return mean(told.positive & (told.weights > 0)) + mean(told.background > 0)
