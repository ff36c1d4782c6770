"""facedet: from WIDER FACE to a quantized face detector on a phone."""

import os
from typing import TYPE_CHECKING

# Off by default on processors without int8 instructions, yet a training step is almost twice as fast with these kernels.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from facedet import _version

if TYPE_CHECKING:
    from facedet.errors import DetectorError
    from facedet.runtime.detector import FaceDetector
    from facedet.runtime.faces import Face, Faces

__all__ = ["DetectorError", "Face", "FaceDetector", "Faces"]
__version__ = _version.__version__


def __getattr__(name: str):
    """What is named above, when it is asked for: the doctor runs where nothing is installed yet."""
    if name not in __all__:
        raise AttributeError(f"module 'facedet' has no attribute '{name}'")
    from facedet.runtime import detector, faces

    return getattr(faces, name) if hasattr(faces, name) else getattr(detector, name)
