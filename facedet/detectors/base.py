"""What every detector is: an input, one functional network of named head maps, losses, and a decoder of plain TF operations."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from facedet.keras2 import keras
from facedet.recipe.recipe import Recipe, Suppression
from facedet.runtime.input_spec import InputSpec


class Predictions(NamedTuple):
    """Every box that a network gives, before suppression; in fractions of the input.

    boxes_yxhw: [B, N, 4] ycenter, xcenter, height, width.  scores: [B, N], 0..1.
    points_yx: [B, N, P, 2] y, x, or None where the network gives none.
    """

    boxes_yxhw: tf.Tensor
    scores: tf.Tensor
    points_yx: tf.Tensor | None = None


class Faces(NamedTuple):
    """The faces of a batch of B pictures, as fractions of the input; a list of B tensors each.

    boxes_yxyx: [n, 4].  weights: [n], 0 for a face to ignore: neither learned nor background.
    points_yx: [n, 5, 2], NaN where a face has none; eye, eye, nose, mouth corner, mouth corner, the left of the picture first.
    """

    boxes_yxyx: list
    weights: list
    points_yx: list


class EncodedBoxes(NamedTuple):
    """Boxes as TFLite_Detection_PostProcess takes them.

    encodings: [B, N, 4] ty, tx, th, tw.  scores: [B, N].  anchors_yxhw: float32 [N, 4].  scales: of ty, tx, th, tw; a box's centre is
    t / scale * anchor's side + anchor's centre, its side exp(t / scale) * anchor's side.
    """

    encodings: tf.Tensor
    scores: tf.Tensor
    anchors_yxhw: np.ndarray
    scales: tuple[float, float, float, float]


class Detector:
    """A detector of a recipe. Subclasses set `input`, `network` and `suppression`, and write losses() and decode().

    input: InputSpec of the network.
    network: functional Keras model of plain layers, image [B, H, W, 3], normalized, -> {head name: [B, h, w, anchors * columns]}.
    suppression: score and IoU thresholds and the cap of the files.
    num_points: landmarks of a face, 0 or as in runtime.landmarks.
    is_mediapipes: whether mediapipe_outputs() gives what MediaPipe's FaceDetector decodes.
    """

    input: InputSpec
    network: keras.Model
    suppression: Suppression
    num_points = 0
    is_mediapipes = False

    def __init__(self, recipe: Recipe):
        self.recipe, self.input, self.suppression = recipe, recipe.input, recipe.suppression

    def losses(self, outputs: dict, faces: Faces) -> dict[str, tf.Tensor]:
        """outputs: of the network, {head name: map} -> {name of a loss: scalar}, each with its weight; their sum is learned."""
        raise NotImplementedError

    def decode(self, outputs: dict) -> Predictions:
        """outputs: of the network -> Predictions, by plain TF operations: it becomes the float tail of every exported file."""
        raise NotImplementedError

    def decode_points(self, outputs: dict, rows):
        """outputs: of the network for one picture.  rows: int32 [K] of its boxes -> [K, P, 2] as Predictions.points_yx has them."""
        return tf.gather(self.decode(outputs).points_yx[0], rows)

    def encode(self, outputs: dict) -> EncodedBoxes:
        """outputs: of the network -> its boxes for TFLite_Detection_PostProcess, which decodes by anchors itself: here by a unit one at 0."""
        predictions = self.decode(outputs)
        centers, sides = predictions.boxes_yxhw[..., :2], predictions.boxes_yxhw[..., 2:]
        encodings = tf.concat([centers, tf.math.log(tf.maximum(sides, 1e-6))], -1)
        anchors = np.tile(np.asarray([[0, 0, 1, 1]], np.float32), (encodings.shape[1], 1))
        return EncodedBoxes(encodings, predictions.scores, anchors, (1.0, 1.0, 1.0, 1.0))

    def mediapipe_outputs(self, outputs: dict) -> dict[str, tf.Tensor]:
        """outputs: of the network -> regressors [B, 896, 16] x, y, width, height and six points x, y, all in px of the input from their
        anchors' centres, and classificators [B, 896, 1], logits. For detectors that are is_mediapipes."""
        raise NotImplementedError

    def saturated(self) -> dict[str, tuple[float, float]]:
        """{head name: least and greatest value beyond which nothing of it tells scores of the files apart}. The least is below 0."""
        return {}

    def shown(self, outputs: dict) -> dict[str, tf.Tensor]:
        """outputs: of the network -> {head name: bool, as its map}: which values can be in a box that the files show. The other heads'
        all count. Ranges collected after training are these values': what the background's anchors give takes no grid from the faces'."""
        return {}

    def initialize(self, source: str) -> int:
        """Loads the weights that `source` names, 'imagenet' or a file, into the network; returns how many layers it set.

        ConfigError where there is none to set.
        """
        raise NotImplementedError

    def anchor_table(self) -> dict:
        """For the model card: {count, levels: [{stride, count, sizes_px [[width, height]]}]}."""
        return {"count": 0, "levels": []}
