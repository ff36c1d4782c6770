"""CheckpointDetector: the network of a recipe with a checkpoint's weights, behind FaceDetector's detect()."""

import numpy as np
import tensorflow as tf

from facedet.detectors import registry
from facedet.detectors.base import Detector
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe.recipe import Recipe
from facedet.runtime import boxes
from facedet.runtime.detector import Faces
from facedet.runtime.suppression import suppress
from facedet.weights import checkpoints


class CheckpointDetector:
    """detector: of detectors/.  quantizable: its network.  quantize: compute as the int8 file will.

    Its boxes are suppressed as those of a raw file are, with the recipe's thresholds and cap.
    """

    def __init__(self, detector: Detector, quantizable: QuantizableNetwork, quantize: bool, score_threshold: float = 0.5):
        self.detector, self.quantizable, self.quantize, self.score_threshold = detector, quantizable, quantize, score_threshold
        self.input = detector.input
        spec = tf.TensorSpec([None, *detector.input.size, 3], tf.uint8)
        self._predict = tf.function(self._predictions, input_signature=[spec])

    @classmethod
    def from_checkpoint(cls, recipe: Recipe, checkpoint: str, score_threshold: float = 0.5) -> "CheckpointDetector":
        """Builds the recipe's detector and loads a folder's newest checkpoint; quantized where recipe and checkpoint are.

        A checkpoint from before it stored whether it is quantized counts as such where its step is past the recipe's delay.
        The ranges of scores are not the trained ones, which are means over batches and cut the best scores off: they reach as far
        up as down to the least score that the files tell apart.
        """
        detector = registry.build(recipe)
        quantizable = QuantizableNetwork(detector.network, detector.input.range)
        prefix = checkpoints.find(checkpoint)
        step, quantized = checkpoints.load(prefix, quantizable), checkpoints.quantized(prefix)
        if quantized is None and recipe.quantization:
            quantized = step > recipe.quantization.delay
        found = cls(detector, quantizable, recipe.quantization is not None and quantized, score_threshold)
        found.step = step
        if found.quantize:
            for name, (least, _) in detector.saturated().items():
                quantizable.ranges[name].assign([least, -least])
        return found

    def detect(self, image: np.ndarray) -> Faces:
        """image: RGB uint8 [H, W, 3] -> Faces in its pixels, best first."""
        return self.detect_batch([image])[0]

    def detect_batch(self, images: list[np.ndarray]) -> list[Faces]:
        prepared, placements = zip(*map(self.detector.input.prepare, images), strict=True)
        found = [None if values is None else values.numpy() for values in self._predict(np.stack(prepared))]
        limits, faces = self.detector.suppression, []
        for i, (image, placement) in enumerate(zip(images, placements, strict=True)):
            raw = [None if values is None else values[i] for values in found]
            least = max(self.score_threshold, limits.score_threshold)
            corners, scores, points = suppress(*raw, least, limits.iou_threshold, limits.max_detections)
            height, width = image.shape[:2]
            in_picture = boxes.clip_xyxy(placement.to_picture(corners, height, width), height, width).astype(np.float32)
            landmarks = None if points is None else placement.points_to_picture(points, height, width).astype(np.float32)
            faces.append(Faces(in_picture, scores, landmarks))
        return faces

    def _predictions(self, images):
        normalized = self.detector.input.normalize(tf.cast(images, tf.float32))
        forward = self.quantizable.simulate if self.quantize else self.quantizable.network
        return tuple(self.detector.decode(forward(normalized, training=False)))
