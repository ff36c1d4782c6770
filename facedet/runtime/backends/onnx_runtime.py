""".onnx by onnxruntime on the CPU."""

import pathlib
from collections.abc import Iterator

import numpy as np
import onnxruntime

from facedet.runtime.backends.base import DETAILS_FILE, MAX_DETAILS_BYTES, BackendError, Output

_METADATA, _KEY, _VALUE = 14, 1, 2  # numbers of fields in onnx.proto3: metadata_props of a model, key and value of each
_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}  # kinds of fields in a protocol buffer
_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int32)": np.int32}


class OnnxRuntime:
    """A Backend. One input [1 or any, height, width, 3], float32 or uint8."""

    suffixes = (".onnx",)

    @staticmethod
    def read_details(files: dict[str, bytes]) -> bytes:
        """From the model's metadata_props."""
        try:
            for number, entry in _fields(memoryview(files[".onnx"])):
                if number == _METADATA and isinstance(entry, memoryview):
                    pair = {field: value for field, value in _fields(entry) if isinstance(value, memoryview)}
                    if bytes(pair.get(_KEY, b"")) == DETAILS_FILE.encode():
                        return bytes(pair.get(_VALUE, b"")[:MAX_DETAILS_BYTES])
        except ValueError as error:
            raise BackendError(f"it is no ONNX file, or a damaged one ({error}).") from error
        raise BackendError(f"it holds no {DETAILS_FILE}: it was not made by scripts/export_onnx.py.")

    def __init__(self, files: dict[str, bytes], num_threads: int):
        options = session_options(num_threads)
        try:
            self._session = onnxruntime.InferenceSession(files[".onnx"], options, providers=["CPUExecutionProvider"], enable_fallback=0)
            taken, given = self._session.get_inputs(), self._session.get_outputs()
        except Exception as error:  # of classes that have no other base
            raise BackendError(_first_line(error)) from error
        shape = taken[0].shape if len(taken) == 1 else []
        fits = len(shape) == 4 and (shape[0] == 1 or not isinstance(shape[0], int)) and shape[3] == 3
        if not fits or taken[0].type not in ("tensor(float)", "tensor(uint8)") or not all(isinstance(side, int) for side in shape[1:]):
            raise BackendError(
                f"it takes {', '.join(f'{x.name} {x.shape} {x.type}' for x in taken)}; one image [1, height, width, 3] is expected."
            )
        self._input, self._input_dtype, self.input_size = taken[0].name, _DTYPES[taken[0].type], tuple(shape[1:3])
        self.outputs = {output.name: _output(output) for output in given}

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        try:
            given = self._session.run(None, {self._input: image[None].astype(self._input_dtype)})
        except Exception as error:
            raise BackendError(f"the network fails: {_first_line(error)}") from error
        found = dict(zip(self.outputs, given, strict=True))
        for name, expected in self.outputs.items():
            if found[name].shape != expected.shape:  # a graph may say one thing and give another
                raise BackendError(f"the network fails: {name} is {list(found[name].shape)}, not {list(expected.shape)} as the file says.")
        return found


def session_options(num_threads: int) -> onnxruntime.SessionOptions:
    """With these an int8 file gives the same on every processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    options.log_severity_level = 4  # what is wrong is raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait take nobody's time
    if not _multiplies_int8():  # its sums of int8 products then end at 16 bits, but for this slower way
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _multiplies_int8() -> bool:
    """Whether the processor has instructions for it, as far as the system tells; others than x86 have no use for the question."""
    try:
        return "vnni" in pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def _output(told) -> Output:
    """What a session tells of an output; the batch may be left open."""
    shape = [1 if i == 0 and not isinstance(side, int) else side for i, side in enumerate(told.shape)]
    if told.type not in _DTYPES or not all(isinstance(side, int) for side in shape):
        raise BackendError(f"its output {told.name} is {told.shape} {told.type}; fixed shapes of numbers are expected.")
    return Output(tuple(shape), np.dtype(_DTYPES[told.type]))


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protocol buffer's message, numbers and bytes. ValueError where it is none."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
        elif kind == _BYTES:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        elif kind in _FIXED:
            value, at = message[at : at + _FIXED[kind]], at + _FIXED[kind]
        else:
            raise ValueError(f"a field of kind {kind} at byte {at}")
        if at > len(message):
            raise ValueError(f"it ends within field {number}")
        yield number, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at + shift // 7 >= len(message):
            raise ValueError("it ends within a number")
        byte = message[at + shift // 7]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + shift // 7 + 1
    raise ValueError(f"no number at byte {at}")


def _first_line(error: Exception) -> str:
    """onnxruntime's messages go on with what concerns its own source."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
