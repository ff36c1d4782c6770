"""facedet: from WIDER FACE to a quantized face detector on a phone."""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # the OD API is written for Keras 2; TensorFlow reads this when it is imported

from facedet import _version
from facedet.detector import DetectorError, FaceDetector, Faces

__all__ = ["DetectorError", "FaceDetector", "Faces"]
__version__ = _version.__version__
