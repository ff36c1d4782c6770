"""A grid of cells on MobileNetV2, each with one face or none: feature_extractor.type 'tiny_grid_mobilenet_v2'.

After Tiny Face Detection (burnpiro/tiny-face-detection-tensorflow2): MobileNetV2 up to the last of its blocks, a 3x3 convolution with
ReLU, batch norm and ReLU, and a 1x1 convolution to five columns a cell, all through a sigmoid: height and width as fractions of the
input, the centre's place in the cell (down, right), the score. Mended here: the cell of a face is that of its box's centre, where
the source trains the corner's and draws the centre's; a picture's faces are learned at once, each in its cell, where the source has
one face a sample and makes background of the others; a box is compared with that of its own cell, not with the best cell's.

Padding 'same' is Keras's own for these networks, so that use_explicit_padding is false for its ImageNet weights. grid_size (of
[facedet.detector], along the shorter side) is the backbone's own at 0, 7 at 224 px; a multiple of it is reached by bilinear
upsampling, a divisor by max-pooling, before the head. A box has neither anchor nor code: matcher, box_coder and anchor_generator of
the config are not looked at.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from facedet import replicas
from facedet.assign import codecs
from facedet.detectors.base import Detector, Faces, Predictions
from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers import mobilenet_v2, pretrained
from facedet.layers.blocks import Blocks, layers
from facedet.od_api import losses
from facedet.recipe.recipe import Recipe

CELLS = "cells"
COLUMNS = 5  # height, width, y and x of the centre in its cell, score


def build(recipe: Recipe) -> "TinyGrid":
    return TinyGrid(recipe)


class Targets(NamedTuple):
    """Of B pictures and N cells. boxes_yxyx: [B, N, 4], 0 where there is no face.  weights: [B, N], of the face, 0 where there is none.

    background: [B, N], 1 where no face has its centre, not even one to ignore.
    """

    boxes_yxyx: tf.Tensor
    weights: tf.Tensor
    background: tf.Tensor


class TinyGrid(Detector):
    """Raises ConfigError for what a grid of single cells cannot honour.

    places: rows and columns of the grid. Its cells are row by row.
    """

    def __init__(self, recipe: Recipe):
        super().__init__(recipe)
        self._losses = losses.build(recipe.loss.message)
        extractor, predictor = recipe.feature_extractor, recipe.box_predictor
        for said, what in (
            (recipe.add_background_class, "add_background_class: true: a cell has one score; write false"),
            (recipe.score_converter != "SIGMOID", f"post_processing.score_converter: {recipe.score_converter}: SIGMOID is wanted"),
            (recipe.box_coder.num_points, "box_coder.keypoint_box_coder: a cell gives no landmarks; use faster_rcnn_box_coder"),
            (extractor.fpn, "feature_extractor.fpn: the grid is one level; take it out"),
            (extractor.use_depthwise, "feature_extractor.use_depthwise: true: only the head follows the backbone; take it out"),
            (
                predictor.use_depthwise,
                "box_predictor.convolutional_box_predictor.use_depthwise: true: the head is not separable; take it out",
            ),
            (self._losses.mine, "loss.hard_example_miner: all of the few cells are learned; take it out"),
            (recipe.loss.classification, "loss.classification_loss is what is learned here; take [facedet.loss] out"),
        ):
            if said:
                raise ConfigError(f"model.ssd.{what}.")
        self.network = _network(recipe)
        self.places = tuple(self.network.output[CELLS].shape[1:3])

    def losses(self, outputs: dict, faces: Faces) -> dict[str, tf.Tensor]:
        """The config's losses, over the number of faces that are learned: of the score in all cells, of the box in a face's.

        Boxes are compared in cells, as the source does; as corners where the localization loss is one of overlap.
        """
        loss, told, cells = self.recipe.loss, self.assign(faces), self._cells(outputs)
        face = told.weights > 0
        weights = tf.where(face, told.weights, told.background * loss.negative_class_weight)
        classified = self._losses.classification(cells[..., 4:], tf.cast(face, tf.float32)[..., None], weights[..., None])

        at = tf.where(face)  # few of many
        predicted, wanted, weights = (tf.gather_nd(values, at)[None] for values in (self._boxes(cells), told.boxes_yxyx, told.weights))
        if self._losses.on_boxes:
            predicted = codecs.corners(predicted)
        else:
            in_cells = tf.constant(self.places * 2, tf.float32)
            predicted, wanted = predicted * in_cells, codecs.centers_and_sides(wanted) * in_cells
        localized = self._losses.localization(predicted, wanted, weights)

        learned = replicas.total(tf.reduce_sum(tf.cast(face, tf.float32)))
        learned = tf.maximum(learned, 1.0) if loss.normalize_by_matches else tf.constant(1.0)
        return {
            "Loss/localization_loss": loss.localization_weight / learned * tf.reduce_sum(localized),
            "Loss/classification_loss": loss.classification_weight / learned * tf.reduce_sum(classified),
        }

    def decode(self, outputs: dict) -> Predictions:
        cells = self._cells(outputs)
        return Predictions(self._boxes(cells), tf.squeeze(tf.sigmoid(cells[..., 4:]), 2))

    def initialize(self, source: str) -> int:
        if source == "imagenet":
            return pretrained.load_imagenet(self.network, self.recipe.feature_extractor.depth_multiplier)
        return pretrained.load_torchvision(self.network, source)

    def anchor_table(self) -> dict:
        """Its cells: none has a size of its own."""
        count = self.places[0] * self.places[1]
        return {"count": count, "levels": [{"stride": round(self.input.height / self.places[0]), "count": count, "sizes_px": []}]}

    def assign(self, faces: Faces) -> Targets:
        """The largest face to learn whose centre is in a cell is the cell's. Faces below smallest_face are ignored."""
        told = [self._assign(*one) for one in zip(faces.boxes_yxyx, faces.weights, strict=True)]
        return Targets(*(tf.stop_gradient(tf.stack(values)) for values in zip(*told, strict=True)))

    def _assign(self, boxes_yxyx, weights) -> Targets:
        """Of one picture."""
        boxes_yxyx = tf.pad(boxes_yxyx, [[0, 1], [0, 0]])  # one past the end, of no cell: there is always a largest
        weights = tf.pad(weights, [[0, 1]])
        boxes = codecs.centers_and_sides(boxes_yxyx)
        weights = tf.where(boxes[:, 2] * self.input.height < self.recipe.matching.smallest_face, 0.0, weights)
        rows, columns = self.places
        place = tf.clip_by_value(tf.cast(tf.floor(boxes[:, :2] * (rows, columns)), tf.int32), 0, (rows - 1, columns - 1))
        there = tf.range(rows * columns)[:, None] == place[:, 0] * columns + place[:, 1]
        there &= tf.range(tf.shape(weights)[0]) < tf.shape(weights)[0] - 1
        learned = there & (weights > 0)
        largest = tf.argmax(tf.where(learned, boxes[:, 2] * boxes[:, 3], -1.0), 1)
        has_face = tf.reduce_any(learned, 1)
        return Targets(
            boxes_yxyx=tf.where(has_face[:, None], tf.gather(boxes_yxyx, largest), 0.0),
            weights=tf.where(has_face, tf.gather(weights, largest), 0.0),
            background=tf.cast(~tf.reduce_any(there, 1), tf.float32),
        )

    def _cells(self, outputs: dict):
        """[B, h, w, 5] -> [B, N, 5]."""
        return tf.reshape(outputs[CELLS], [-1, self.places[0] * self.places[1], COLUMNS])

    def _boxes(self, cells):
        """[B, N, 5] -> [B, N, 4] ycenter, xcenter, height, width."""
        corners = np.indices(self.places).reshape(2, -1).T[None].astype(np.float32)  # of the cells, in cells
        values = tf.sigmoid(cells[..., :4])
        return tf.concat([(values[..., 2:] + corners) / np.asarray(self.places, np.float32), values[..., :2]], -1)


def _network(recipe: Recipe) -> keras.Model:
    extractor, predictor = recipe.feature_extractor, recipe.box_predictor
    image = keras.Input((*recipe.input.size, 3), name="image")
    blocks, head = Blocks(extractor.hyperparams, extractor.use_explicit_padding), Blocks(predictor.hyperparams)
    features = _on_grid(mobilenet_v2.backbone(image, blocks, extractor)["stride_32"], recipe.options.grid_size)
    x = head.conv(features, features.shape[-1], predictor.kernel_size, name="head", use_bias=True)
    x = head.batch_norm(head.activation(x, "head_relu"), "head_BN")
    bias = keras.initializers.Constant([0.0] * (COLUMNS - 1) + [predictor.class_prediction_bias_init])
    cells = head.conv(head.activation(x, "head_BN_relu"), COLUMNS, 1, name=CELLS, use_bias=True, bias_initializer=bias)
    return keras.Model(image, {CELLS: cells}, name="tiny_grid_mobilenet_v2")


def _on_grid(features, wanted: int):
    """[B, h, w, c] -> with `wanted` cells along the shorter side."""
    sides = features.shape[1:3]
    own = min(sides)
    if wanted in (0, own):
        return features
    if wanted % own == 0:
        return layers.UpSampling2D(wanted // own, interpolation="bilinear", name="grid")(features)
    if own % wanted == 0 and not any(side % (own // wanted) for side in sides):
        return layers.MaxPooling2D(own // wanted, name="grid")(features)
    raise ConfigError(
        f"[facedet.detector] grid_size: {wanted}: the features have {sides[0]}x{sides[1]} places; a multiple of {own} is wanted, or a "
        "divisor that divides both, or 0 for these."
    )
