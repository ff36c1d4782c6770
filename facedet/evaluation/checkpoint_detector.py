"""CheckpointDetector: the network of a pipeline config with a checkpoint's weights, behind FaceDetector's detect()."""

import numpy as np
import tensorflow as tf

from facedet.detectors import ssd
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
from facedet.runtime import boxes, detector
from facedet.weights import checkpoints


class CheckpointDetector:
    """model: the OD API's detection model.  quantizable: its network.  quantize: compute as the int8 file will.

    Post-processing is the OD API's, with the config's thresholds and cap.
    """

    def __init__(self, model, quantizable: QuantizableNetwork, quantize: bool, score_threshold: float = 0.5):
        self.model, self.quantizable, self.quantize, self.score_threshold = model, quantizable, quantize, score_threshold
        self.input_height, self.input_width = model.input_size
        spec = tf.TensorSpec([None, self.input_height, self.input_width, 3], tf.uint8)
        self._detect = tf.function(self._postprocessed, input_signature=[spec])

    @classmethod
    def from_checkpoint(cls, config, checkpoint: str, score_threshold: float = 0.5) -> "CheckpointDetector":
        """Builds the config's model and loads a folder's newest checkpoint; quantized where config and checkpoint are.

        A checkpoint from before it stored whether it is quantized counts as such where its step is past the config's delay.
        """
        model = ssd.build(config, is_training=False)
        quantizable = QuantizableNetwork(model.network)
        prefix = checkpoints.find(checkpoint)
        step, quantized = checkpoints.load(prefix, quantizable), checkpoints.quantized(prefix)
        asked = pipeline_config.quantization(config)
        if quantized is None and asked:
            quantized = step > asked.delay
        found = cls(model, quantizable, asked is not None and quantized, score_threshold)
        found.step = step
        return found

    def detect(self, image: np.ndarray) -> detector.Faces:
        """image: RGB uint8 [H, W, 3] -> Faces in its pixels, best first."""
        return self.detect_batch([image])[0]

    def detect_batch(self, images: list[np.ndarray]) -> list[detector.Faces]:
        resized = np.stack([detector.resize(image, self.input_height, self.input_width) for image in images])
        found, scores, counts = (value.numpy() for value in self._detect(resized))
        faces = []
        for image, image_boxes, image_scores, count in zip(images, found, scores, counts.astype(int), strict=True):
            keep = image_scores[:count] >= self.score_threshold
            height, width = image.shape[:2]
            corners = boxes.clip_xyxy(boxes.yxyx_norm_to_xyxy_px(image_boxes[:count][keep], height, width), height, width)
            faces.append(detector.Faces(corners.astype(np.float32), image_scores[:count][keep]))
        return faces

    def _postprocessed(self, images):
        preprocessed, shapes = self.model.preprocess(images)
        if self.quantize:
            encodings, logits = self.quantizable.simulate(preprocessed, training=False)
        else:
            encodings, logits = self.quantizable.network(preprocessed, training=False)
        prediction = {
            "preprocessed_inputs": preprocessed,
            "box_encodings": encodings,
            "class_predictions_with_background": logits,
            "anchors": self.model.anchors.get(),
        }
        result = self.model.postprocess(prediction, shapes)
        return result["detection_boxes"], result["detection_scores"], result["num_detections"]
