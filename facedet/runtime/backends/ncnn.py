""".param and the .bin beside it by ncnn on the CPU."""

import ctypes
import json

import ncnn
import numpy as np

from facedet.runtime import ncnn_file
from facedet.runtime.backends import packed_details
from facedet.runtime.backends.base import BackendError, Output

MADE_BY = "scripts/export_ncnn.py"
_address = ctypes.pythonapi.PyCapsule_GetPointer
_address.restype, _address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class NCNN:
    """A Backend. Both files are checked before ncnn opens them (facedet.runtime.ncnn_file), for ncnn trusts what it reads.

    It computes in float32, whatever the weights are stored in.
    """

    suffixes = (".param", ".bin")

    @staticmethod
    def read_details(files: dict[str, bytes]) -> bytes:
        """From the zip behind the weights."""
        return packed_details.read(files[".bin"], MADE_BY)

    def __init__(self, files: dict[str, bytes], num_threads: int):
        param, data = files[".param"], files[".bin"]
        try:
            text = param.decode()
            layers = ncnn_file.parse(text)
            weights = data[: ncnn_file.check(layers, data)]
            self.input_size = ncnn_file.input_size(layers)
            expected = json.loads(self.read_details(files)).get("digest")
        except (ncnn_file.NcnnFileError, UnicodeDecodeError) as error:
            raise BackendError(str(error)) from error
        if ncnn_file.digest(param, weights) != expected:
            raise BackendError(f"one of .param and .bin is damaged or changed since {MADE_BY} made them, or they are of two exports.")
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads, options.use_vulkan_compute = num_threads, False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = options.use_bf16_storage = False
        if self._net.load_param_mem(text) or self._net.load_model(_Reader(weights)):
            raise BackendError("ncnn refuses the network.")
        consumed = {blob for layer in layers for blob in layer.inputs}
        given = {blob for layer in layers for blob in layer.outputs if blob not in consumed}
        order = json.loads(self.read_details(files)).get("outputs", [])
        if not isinstance(order, list) or set(order) != given or len(order) != len(given):
            raise BackendError(f"its outputs are {', '.join(sorted(given))}.")
        self._names = order
        blank = self.run(np.zeros((*self.input_size, 3), np.uint8))
        self.outputs = {name: Output(values.shape, values.dtype) for name, values in blank.items()}

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)  # ncnn's images are [c, h, w]
        found = {}
        with self._net.create_extractor() as extractor:
            fault = extractor.input("image", ncnn.Mat(planes).clone())
            for name in self._names:
                code, values = extractor.extract(name)
                if fault or code:
                    raise BackendError(f"the network fails: ncnn gives {fault or code} for {name}.")
                found[name] = np.array(values)[None]
        return found


class _Reader(ncnn.DataReader):
    """The bytes that were checked; at their end it gives less than is asked for, which ncnn takes for an error."""

    def __init__(self, data: bytes):
        super().__init__()
        self._data, self._at = data, 0

    def read(self, buffer, size: int) -> int:
        part = self._data[self._at : self._at + size]
        ctypes.memmove(_address(buffer, None), part, len(part))
        self._at += len(part)
        return len(part)
