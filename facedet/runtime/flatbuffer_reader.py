"""Reads a TFLite flatbuffer and verifies every offset of it on the way: LiteRT follows them unchecked, out of the file if need be.

Schema: tensorflow/compiler/mlir/lite/schema/schema.fbs, of which only what this project's exports hold; any other field is refused.
"""

import struct
import types

import numpy as np

MAX_COUNT = 4096  # of the tables in a vector; an export has a few hundred


class ModelFileError(Exception):
    """A .tflite that is damaged, or holds what no export of this project does; the message says what and where."""


# {table: its fields by their place in the vtable}. A kind: a struct code, "s" a string, a table's name; "[" a vector of it.
_FIELDS = {
    "Model": {0: ("version", "I"), 1: ("operator_codes", "[OperatorCode"), 2: ("subgraphs", "[SubGraph"), 3: ("description", "s"),
              4: ("buffers", "[Buffer"), 5: ("metadata_buffer", "[i"), 6: ("metadata", "[Metadata"), 7: ("signatures", "[SignatureDef")},
    "OperatorCode": {0: ("deprecated_code", "b"), 1: ("custom_code", "s"), 2: ("version", "i"), 3: ("code", "i")},
    "SubGraph": {0: ("tensors", "[Tensor"), 1: ("inputs", "[i"), 2: ("outputs", "[i"), 3: ("operators", "[Operator"), 4: ("name", "s")},
    "Tensor": {0: ("shape", "[i"), 1: ("type", "b"), 2: ("buffer", "I"), 3: ("name", "s"), 4: ("quantization", "Quantization"),
               8: ("has_rank", "?")},
    "Quantization": {0: ("min", "[f"), 1: ("max", "[f"), 2: ("scale", "[f"), 3: ("zero_point", "[q"), 6: ("dimension", "i")},
    "Operator": {0: ("opcode", "I"), 1: ("inputs", "[i"), 2: ("outputs", "[i"), 3: ("options_type", "B"), 4: ("options", "Options"),
                 5: ("custom_options", "[B")},
    "Buffer": {0: ("data", "[B")},
    "Metadata": {0: ("name", "s"), 1: ("buffer", "I")},
    "SignatureDef": {0: ("inputs", "[TensorMap"), 1: ("outputs", "[TensorMap"), 2: ("key", "s"), 4: ("subgraph", "I")},
    "TensorMap": {0: ("name", "s"), 1: ("tensor", "I")},
}  # fmt: skip

_ACTIVATION = ("activation", "b")
# {type of an operator's options: their fields}
_OPTIONS = {
    1: {0: ("padding", "b"), 1: ("stride_w", "i"), 2: ("stride_h", "i"), 3: _ACTIVATION, 4: ("dilation_w", "i"), 5: ("dilation_h", "i")},
    2: {0: ("padding", "b"), 1: ("stride_w", "i"), 2: ("stride_h", "i"), 3: ("multiplier", "i"), 4: _ACTIVATION, 5: ("dilation_w", "i"),
        6: ("dilation_h", "i")},
    5: {0: ("padding", "b"), 1: ("stride_w", "i"), 2: ("stride_h", "i"), 3: ("window_w", "i"), 4: ("window_h", "i"), 5: _ACTIVATION},
    9: {0: ("beta", "f")},
    10: {0: ("axis", "i"), 1: _ACTIVATION},
    11: {0: _ACTIVATION},
    15: {2: ("align_corners", "?"), 3: ("half_pixel_centers", "?")},
    21: {0: _ACTIVATION},
    22: {},
    23: {0: ("axis", "i"), 1: ("batch_dims", "i")},
    28: {0: _ACTIVATION},
    29: {0: _ACTIVATION},
    32: {0: ("begin_mask", "i"), 1: ("end_mask", "i"), 4: ("shrink_mask", "i")},
    33: {},
    35: {0: ("parts", "i")},
    59: {0: ("count", "i"), 1: ("axis", "i")},
    64: {0: ("count", "i"), 1: ("axis", "i")},
    74: {0: ("align_corners", "?"), 1: ("half_pixel_centers", "?")},
    79: {0: ("parts", "i")},
}  # fmt: skip
_DEFAULTS = {"dilation_w": 1, "dilation_h": 1}
_STRUCTS = {code: struct.Struct("<" + code) for code in "?bBHiIqf"}
_SIZES = {code: packed.size for code, packed in _STRUCTS.items()}
_DTYPES = {code: np.dtype("<" + code) if code not in "bB" else np.dtype(code) for code in "bBiIqf"}
_EMPTY = {code: np.empty(0, dtype) for code, dtype in _DTYPES.items()}
_FIELDS |= {f"Options {number}": fields for number, fields in _OPTIONS.items()}


def read(data: bytes) -> types.SimpleNamespace:
    """The root table, its fields by name: numbers, bytes of strings, arrays of numbers, tables, lists of tables; absent: 0 or None.

    What is absent of vectors is empty. Arrays are views of `data`. Raises ModelFileError.
    """
    if data[4:8] != b"TFL3":
        raise ModelFileError("it does not begin as a TFLite file does.")
    reader = _Reader(data)
    return reader.table("Model", reader.offset(0), "model")


class _Reader:
    def __init__(self, data: bytes):
        self.data = data

    def number(self, code: str, at: int):
        size = _SIZES[code]
        if at < 0 or at % size or at + size > len(self.data):
            raise ModelFileError(f"an offset leads to byte {at} of {len(self.data)}.")
        return _STRUCTS[code].unpack_from(self.data, at)[0]

    def offset(self, at: int) -> int:
        return at + self.number("I", at)

    def table(self, kind: str, at: int, where: str) -> types.SimpleNamespace:
        fields = _FIELDS.get(kind)
        if fields is None:
            raise ModelFileError(f"{where}: {kind} are of no operator that an export holds.")
        vtable = at - self.number("i", at)
        vtable_size, size = self.number("H", vtable), self.number("H", vtable + 2)
        if vtable_size < 4 or vtable_size % 2 or vtable + vtable_size > len(self.data) or at + size > len(self.data):
            raise ModelFileError(f"{where}: its table at byte {at} is damaged.")
        offsets = struct.unpack_from(f"<{vtable_size // 2 - 2}H", self.data, vtable + 4)
        if any(offsets[place] for place in range(len(offsets)) if place not in fields):
            raise ModelFileError(f"{where}: it has a field that no export holds.")
        read = {}
        for place, (name, code) in fields.items():
            offset = offsets[place] if place < len(offsets) else 0
            scalar = len(code) == 1 and code != "s"
            if offset and offset + (_SIZES[code] if scalar else 4) > size:
                raise ModelFileError(f"{where}: {name} lies outside of its table.")
            if code == "Options":
                code = f"Options {read['options_type']}"
            read[name] = self.value(code, at + offset, f"{where}.{name}") if offset else _absent(code, name)
        return types.SimpleNamespace(**read)

    def value(self, code: str, at: int, where: str):
        if code == "s":
            return self.vector("B", self.offset(at), where, text=True).tobytes()
        if code[0] == "[":
            if len(code) == 2:
                return self.vector(code[1], self.offset(at), where)
            start = self.offset(at)
            count = self.number("I", start)
            if count > MAX_COUNT:
                raise ModelFileError(f"{where}: {count} of them; at most {MAX_COUNT} are read.")
            return [self.table(code[1:], self.offset(start + 4 + 4 * i), f"{where}[{i}]") for i in range(count)]
        return self.number(code, at) if len(code) == 1 else self.table(code, self.offset(at), where)

    def vector(self, code: str, at: int, where: str, text: bool = False) -> np.ndarray:
        count, start, dtype = self.number("I", at), at + 4, _DTYPES[code]
        end = start + count * dtype.itemsize
        if start % dtype.itemsize or end + text > len(self.data) or (text and self.data[end]):
            raise ModelFileError(f"{where}: {count} values from byte {start} on lie outside of the file.")
        if not count:
            return _EMPTY[code]
        return np.frombuffer(self.data, dtype, count, start)


def _absent(code: str, name: str):
    if code[0] == "[":
        return _EMPTY[code[1]] if len(code) == 2 else []
    if code == "s":
        return b""
    return _DEFAULTS.get(name, 0) if len(code) == 1 else None
