"""Damage to a .tflite: mutate(data, random) -> (what was done, damaged bytes); run(damaged bytes) -> what came of it, in a child process."""

import io
import json
import os
import pathlib
import random
import resource
import signal
import struct
import tempfile
import zipfile

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

SECONDS, BYTES = 20, 4 * 2**30  # of a child process
NUMBERS = (-(2**31), -1, 0, 1, 2, 3, 5, 127, 255, 256, 4096, 65536, 2**20, 2**31 - 1)
FLOATS = (float("nan"), float("inf"), -1.0, 0.0, 1e-45, 1e-30, 1e-9, 1e-4, 1.0, 300.0, 1e9, 3e38)


def mutate(data: bytes, source: random.Random) -> tuple[str, bytes]:
    """One random damage to a whole export: to bytes, to a number that the flatbuffer holds, to an option, to facedet.json."""
    kind = source.choice(KINDS)
    said, damaged = kind(data, source)
    return f"{kind.__name__[1:]}: {said}", damaged


def _flip(data, source):
    """Anywhere, the most of it weights."""
    places = [source.randrange(len(data)) for _ in range(source.choice((1, 4, 64)))]
    return str(places[:4]), _with_bytes(data, {at: source.randrange(256) for at in places})


def _flip_tables(data, source):
    """In the tables, which stand before and after the weights: a byte or four."""
    at = source.choice((source.randrange(2048), source.choice(_table_places(data))))
    new = source.choice((bytes([source.randrange(256)]), struct.pack("<i", source.choice(NUMBERS))))
    return f"{at}: {new.hex()}", data[:at] + new + data[at + len(new) :]


def _cut(data, source):
    """The end is gone; the zip at the end is put back, so that the rest is looked at."""
    at = source.randrange(8, len(data))
    return str(at), data[:at] + (_details_zip(data) if source.random() < 0.8 else b"")


def _field(data, source):
    """A number of a table is set in place, the flatbuffer whole otherwise."""
    model = schema.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    table, fields = source.choice((
        (graph.Tensors(source.randrange(graph.TensorsLength())), TENSOR),
        (graph.Operators(source.randrange(graph.OperatorsLength())), OPERATOR),
        (graph.Operators(graph.OperatorsLength() - 1), OPERATOR),
        (model.OperatorCodes(source.randrange(model.OperatorCodesLength())), OPERATOR_CODE),
        (graph, GRAPH),
    ))  # fmt: skip
    name, place, size = source.choice(fields)
    tab = table._tab
    at = tab.Offset(4 + 2 * place)
    if not at:
        return f"{name} absent", data
    at += tab.Pos
    if size < 0:  # a vector: one of its values
        count, start = tab.VectorLen(at - tab.Pos), tab.Vector(at - tab.Pos)
        if not count:
            return f"{name} empty", data
        size = -size
        at = start + size * source.randrange(count)
    value = source.choice((*NUMBERS, graph.TensorsLength(), source.randrange(graph.TensorsLength())))
    return f"{name}: {value}", data[:at] + struct.pack("<q", value)[:size] + data[at + size :]


def _options(data, source):
    """A number of an operator's builtin options."""
    graph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
    operators = [o for o in map(graph.Operators, range(graph.OperatorsLength())) if o.BuiltinOptions()]
    operator = source.choice(operators)
    table = operator.BuiltinOptions()
    offsets = [table.Offset(4 + 2 * place) for place in range(7)]
    at = table.Pos + source.choice([o for o in offsets if o] or [0])
    value, size = source.choice(NUMBERS), source.choice((1, 4))
    return f"type {operator.BuiltinOptionsType()}: {value}", data[:at] + struct.pack("<q", value)[:size] + data[at + size :]


def _quantization(data, source):
    """A scale or a zero point."""
    graph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
    tensors = [t for t in map(graph.Tensors, range(graph.TensorsLength())) if t.Quantization() and t.Quantization().ScaleLength()]
    if not tensors:
        return "none", data
    tab = source.choice(tensors).Quantization()._tab
    place, size, new = source.choice((
        (2, 4, struct.pack("<f", source.choice(FLOATS))),
        (3, 8, struct.pack("<q", source.choice(NUMBERS))),
    ))  # fmt: skip
    at = tab.Vector(tab.Offset(4 + 2 * place)) + size * source.randrange(tab.VectorLen(tab.Offset(4 + 2 * place)))
    return f"{place}: {new.hex()}", data[:at] + new + data[at + size :]


def _constant(data, source):
    """A value of a small constant: a shape, a padding, a slice."""
    model = schema.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    tensors = [t for t in map(graph.Tensors, range(graph.TensorsLength())) if 0 < model.Buffers(t.Buffer()).DataLength() <= 64]
    at, value = _value_of(model, source.choice(tensors), source), source.choice(NUMBERS)
    return str(value), data[:at] + struct.pack("<i", value) + data[at + 4 :]


def _value_of(model, tensor, source) -> int:
    """Where one of its constant's values of four bytes stands."""
    tab = model.Buffers(tensor.Buffer())._tab
    return tab.Vector(tab.Offset(4)) + 4 * source.randrange(max(tab.VectorLen(tab.Offset(4)) // 4, 1))


def _nms_v4(data, source):
    """An input of the built-in operator of suppression: its constants are set, or another tensor stands in its place; the same of what gathers."""
    model = schema.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    operators = [o for o in map(graph.Operators, range(graph.OperatorsLength())) if _code(model, o) in (NMS_V4, GATHER)]
    if not operators:
        return "none", data
    operator = source.choice(operators)
    which = source.randrange(operator.InputsLength())
    tensor = graph.Tensors(operator.Inputs(which))
    if model.Buffers(tensor.Buffer()).DataLength() and source.random() < 0.7:
        at = _value_of(model, tensor, source)
        new = source.choice((struct.pack("<i", source.choice(NUMBERS)), struct.pack("<f", source.choice(FLOATS))))
        return f"constant {which}: {new.hex()}", data[:at] + new + data[at + 4 :]
    at, other = operator._tab.Vector(operator._tab.Offset(6)) + 4 * which, source.randrange(graph.TensorsLength())
    return f"input {which}: {other}", data[:at] + struct.pack("<i", other) + data[at + 4 :]


def _code(model, operator) -> int:
    code = model.OperatorCodes(operator.OpcodeIndex())
    return max(code.BuiltinCode(), code.DeprecatedBuiltinCode())


def _nms(data, source):
    """The options of the operator of suppression, in place or written anew in the same place; of the built-in one, its inputs."""
    graph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
    operator = graph.Operators(graph.OperatorsLength() - 1)
    if not operator.CustomOptionsLength():
        return _nms_v4(data, source)
    tab = operator._tab
    start, count = tab.Vector(tab.Offset(14)), operator.CustomOptionsLength()
    if source.random() < 0.5:
        at = start + source.randrange(count)
        return f"byte {at - start}", _with_bytes(data, {at: source.randrange(256)})
    options = flexbuffers.Loads(data[start : start + count])
    name = source.choice(sorted(options))
    was = options[name]
    options[name] = (
        source.choice(FLOATS) if isinstance(was, float) else source.random() < 0.5 if isinstance(was, bool) else source.choice(NUMBERS)
    )
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in options.items():
            builder.Key(key)
            {bool: builder.Bool, int: builder.Int, float: builder.Float}[type(value)](value)
    new = bytes(builder.Finish())
    if len(new) > count:
        return "too long", data
    # the root of a flexbuffer stands at its end: its length is set, and it stands first in the room of the old one
    return f"{name}: {options[name]}", data[: start - 4] + struct.pack("<I", len(new)) + new + data[start + len(new) :]


def _details(data, source):
    """facedet.json holds something else."""
    key = source.choice(("precision", "with_nms", "max_detections", "score_threshold", "iou_threshold", "landmarks", "padding"))
    value = source.choice(("null", "NaN", "-1", "1e999", '"int8"', "true", "[]", "{}", str(10**400), "0", "300", "0.5", "5", PADDING))
    whole = source.choice((None, None, "", "[]", "nul", '{"a":' * 3000, "\x00"))
    return f"{key}: {value[:12]}, {whole and whole[:5]}", data + _details_zip(data, whole, **{key: value})


KINDS = (_flip, _flip_tables, _flip_tables, _cut, _field, _field, _field, _options, _quantization, _constant, _nms, _details)
GATHER, NMS_V4 = schema.BuiltinOperator.GATHER, schema.BuiltinOperator.NON_MAX_SUPPRESSION_V4
PADDING = '{"place":"end","fill":[0,0,0]}'
# name, place in the table, bytes of a value (negative: of one in a vector; 4 for the vector's own offset)
TENSOR = (("shape", 0, -4), ("shape's offset", 0, 4), ("type", 1, 1), ("buffer", 2, 4), ("quantization's offset", 4, 4), ("has_rank", 8, 1))
OPERATOR = (("opcode", 0, 4), ("input", 1, -4), ("output", 2, -4), ("options' type", 3, 1), ("options' offset", 4, 4))
OPERATOR_CODE = (("deprecated code", 0, 1), ("name's offset", 1, 4), ("version", 2, 4), ("code", 3, 4))
GRAPH = (("tensors' offset", 0, 4), ("input", 1, -4), ("output", 2, -4), ("operators' offset", 3, 4))


def _with_bytes(data: bytes, changes: dict[int, int]) -> bytes:
    changed = bytearray(data)
    for at, value in changes.items():
        changed[at] = value
    return bytes(changed)


def _details_zip(data: bytes, whole: str | None = None, **changes: str) -> bytes:
    """The zip that an export ends with, of its own details with changes; a later one hides those before it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        values = {key: json.dumps(value) for key, value in json.loads(archive.read("facedet.json")).items()} | changes
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        text = "{" + ",".join(f'"{key}":{value}' for key, value in values.items()) + "}"
        archive.writestr("facedet.json", text if whole is None else whole)
    return packed.getvalue()


def _table_places(data: bytes) -> np.ndarray:
    """Where offsets and numbers of the tensors' and operators' tables stand."""
    graph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
    tables = [*map(graph.Tensors, range(graph.TensorsLength())), *map(graph.Operators, range(graph.OperatorsLength()))]
    return np.concatenate([np.arange(t._tab.Pos - 24, t._tab.Pos + 40) for t in tables]).clip(8, len(data) - 8).tolist()


def _address_space() -> int:
    """Bytes that this process has mapped: what was imported before the fork does not count as the model's."""
    statm = pathlib.Path("/proc/self/statm")
    return int(statm.read_text().split()[0]) * resource.getpagesize() if statm.is_file() else 0


def run(data: bytes) -> str:
    """Opens a .tflite of these bytes and detects in one picture: 'works', 'refused', 'bare exception: ...', 'signal 11', 'hang'."""
    import ai_edge_litert.interpreter  # noqa: F401  in the parent, once

    from facedet import DetectorError, FaceDetector

    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(data)
        file.flush()
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            said = "works"
            try:
                os.close(reading)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                signal.alarm(SECONDS)
                limit = _address_space() + BYTES
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                FaceDetector(file.name, 0.05).detect(np.full((60, 80, 3), 127, np.uint8))
            except DetectorError as error:
                said = "refused " + str(error).replace(file.name, "FILE")
            except BaseException as error:
                said = f"bare exception: {type(error).__name__}: {error}"
            os.write(writing, said.encode()[:4000])
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "hang" if os.WTERMSIG(status) == signal.SIGALRM else f"signal {os.WTERMSIG(status)}"
    return said
