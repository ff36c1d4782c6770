"""What a backend is to FaceDetector: the one that opens a kind of file and runs the network in it; found by the file's suffix."""

import importlib
import pathlib
from typing import NamedTuple, Protocol

import numpy as np

DETAILS_FILE = "facedet.json"  # packed into every exported file
MAX_DETAILS_BYTES = 64 * 2**10
# {suffix: its module here, the class in it, what pip installs for it}. Imported when a file asks for it: nobody needs the packages of all.
_BACKENDS = {
    ".onnx": ("onnx_runtime", "OnnxRuntime", "onnxruntime"),
    ".param": ("ncnn", "NCNN", "ncnn"),
    ".tflite": ("litert", "LiteRT", "ai-edge-litert"),
}


class BackendError(Exception):
    """A file that a backend cannot take, or a network that fails; the message says why, and the caller which file."""


class Output(NamedTuple):
    """shape: of every dimension.  dtype: of numpy."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Backend(Protocol):
    """An opened network, of the files whose `suffixes` these are: the one that FaceDetector is given first, others beside it.

    `input_size`: height, width.  `outputs`: {name: Output}, in the file's order.
    """

    suffixes: tuple[str, ...]
    input_size: tuple[int, int]
    outputs: dict[str, Output]

    @staticmethod
    def read_details(files: dict[str, bytes]) -> bytes:
        """files: {suffix: a whole file}. The bytes of DETAILS_FILE in them, at most MAX_DETAILS_BYTES; BackendError where there are none."""

    def __init__(self, files: dict[str, bytes], num_threads: int):
        """files: {suffix: a whole file}, from anywhere; BackendError where it cannot be opened."""

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """image: RGB uint8 [height, width, 3] -> {name: array of its Output}; BackendError where the network fails."""


def backend_of(path: pathlib.Path) -> type[Backend]:
    """By the suffix. Raises BackendError for one that is of no backend, or whose package is missing."""
    if path.suffix.lower() not in _BACKENDS:
        raise BackendError(f"{path.suffix or 'a name without suffix'} is of no format that is known here: {', '.join(_BACKENDS)}.")
    module, name, package = _BACKENDS[path.suffix.lower()]
    try:
        return getattr(importlib.import_module(f"facedet.runtime.backends.{module}"), name)
    except ImportError as error:
        raise BackendError(f"{path.suffix} needs a package that cannot be imported ({error}): pip install {package}") from error
