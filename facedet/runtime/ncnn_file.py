"""What an ncnn .param says, and whether it and its .bin hold together: ncnn trusts what it reads. No ncnn needed.

A .param is text: 7767517, the numbers of layers and blobs, and a line a layer: kind, name, numbers of inputs and outputs, their blobs, and
options key=value. A .bin is the weights of those layers, one behind the other, float32 or, behind a mark, float16.
"""

import hashlib
import re
from typing import NamedTuple

MAGIC = "7767517"
HALF = 0x01306B47  # the mark of weights in float16; 0 is that of float32
MAX_SIDE = 4096  # of an input, px
# What scripts/export_ncnn.py writes.
KINDS = (
    "Input", "MemoryData", "Convolution", "ConvolutionDepthWise", "BinaryOp", "UnaryOp", "ReLU", "Clip", "Sigmoid", "Softmax", "Padding",
    "Pooling", "Interp", "Concat", "Slice", "Crop", "Split", "Permute", "Reshape",
)  # fmt: skip
_OUTPUTS, _BIAS, _WEIGHTS = "0", "5", "6"  # options of a convolution: how many it has of each, or whether


class NcnnFileError(ValueError):
    """Files that ncnn must not be given; the message says why."""


class Layer(NamedTuple):
    """A line of a .param. options: {key: value}, as they are written."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: dict[str, str]

    def number(self, key: str, default: int = 0) -> int:
        """A whole number that is not negative; NcnnFileError where the option is none."""
        value = self.options.get(key, str(default))
        if not re.fullmatch("[0-9]{1,9}", value):
            raise NcnnFileError(f"layer {self.name} has {key}={value[:20]}.")
        return int(value)


def parse(text: str) -> list[Layer]:
    """The layers of a .param. Raises NcnnFileError for what is none, and for one that was cut."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise NcnnFileError("it does not begin as a .param does.")
    counts = lines[1].split() if len(lines) > 1 else []
    layers = [_layer(line) for line in lines[2:] if line.strip()]
    blobs = sum(len(layer.outputs) for layer in layers)
    if counts != [str(len(layers)), str(blobs)]:
        raise NcnnFileError(f"it says {' '.join(counts)[:40] or 'nothing'} of its layers and blobs, and has {len(layers)} and {blobs}.")
    return layers


def write(layers: list[Layer]) -> str:
    """What parse() reads."""
    rows = [
        " ".join([f"{layer.kind:<24} {layer.name:<24} {len(layer.inputs)} {len(layer.outputs)}", *layer.inputs, *layer.outputs,
                  *(f"{key}={value}" for key, value in layer.options.items())])
        for layer in layers
    ]  # fmt: skip
    return "\n".join([MAGIC, f"{len(layers)} {sum(len(layer.outputs) for layer in layers)}", *rows, ""])


def check(layers: list[Layer], data: bytes) -> int:
    """Whether the layers are of kinds that are known here, each fed by one before it, and `data`, a .bin, holds their weights.

    Returns how many of its bytes they are. Raises NcnnFileError.
    """
    known: set[str] = set()
    for layer in layers:
        if layer.kind not in KINDS:
            raise NcnnFileError(f"layer {layer.name} is of a kind, {layer.kind[:40]}, that no detector of this project has.")
        unfed = [blob for blob in layer.inputs if blob not in known]
        if unfed or set(layer.outputs) & known or len(set(layer.outputs)) < len(layer.outputs):
            raise NcnnFileError(f"layer {layer.name} takes or gives a blob that another one should.")
        known.update(layer.outputs)
    at = 0
    for layer in layers:
        at = _past_weights(layer, data, at)
    return at


def input_size(layers: list[Layer]) -> tuple[int, int]:
    """Height, width. Raises NcnnFileError where there is not one input of three channels."""
    inputs = [layer for layer in layers if layer.kind == "Input"]
    if len(inputs) != 1 or inputs[0].number("2") != 3:
        raise NcnnFileError(f"it has {len(inputs)} inputs; one of 3 channels is expected.")
    height, width = inputs[0].number("1"), inputs[0].number("0")
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise NcnnFileError(f"its input is {width}x{height}.")
    return height, width


def digest(param: bytes, weights: bytes) -> str:
    """Of both files' networks: what was changed or does not belong together has another."""
    return hashlib.sha256(hashlib.sha256(param).digest() + hashlib.sha256(weights).digest()).hexdigest()


def _layer(line: str) -> Layer:
    words = line.split()
    try:
        given, made = int(words[2]), int(words[3])
        blobs, options = words[4 : 4 + given + made], [word.split("=", 1) for word in words[4 + given + made :]]
        if given < 0 or made < 0 or len(blobs) != given + made or max(map(len, words[:2])) > 255:
            raise ValueError
        return Layer(words[0], words[1], tuple(blobs[:given]), tuple(blobs[given:]), {key: value for key, value in options})
    except (IndexError, ValueError) as error:
        raise NcnnFileError(f"a line of it is no layer: {line[:60]!r}.") from error


def _past_weights(layer: Layer, data: bytes, at: int) -> int:
    """Where the weights of a layer end that begin `at`."""
    if layer.kind.startswith("Convolution"):
        count = layer.number(_WEIGHTS)
        mark = int.from_bytes(data[at : at + 4], "little")
        if mark not in (0, HALF):
            raise NcnnFileError(f"the weights of layer {layer.name} do not stand where they should in the .bin.")
        at += 4 + (-(-count // 2) * 4 if mark else count * 4)
        at += 4 * layer.number(_OUTPUTS) * bool(layer.number(_BIAS))
    elif layer.kind == "MemoryData":
        count = 1
        for side in ("0", "1", "11", "2"):
            count *= max(layer.number(side), 1)
        at += 4 * count
    if at > len(data):
        raise NcnnFileError(f"the .bin ends at {len(data):,} bytes, within the weights of layer {layer.name}.")
    return at
