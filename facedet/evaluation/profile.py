"""What a network costs before it is run: parameters, multiply-adds, memory of activations, bytes, operators.

Multiply-adds are those of the convolutions, of one picture; what a layer computes more than once counts each time. The memory is that of
the tensors that are alive together: what an operation takes, what it gives, what a later one will take. Moves of names alone (a reshape,
dropout) hold no tensor of their own. What a runtime adds, its arena's alignment and packed weights, is not in it.
"""

import collections
import dataclasses
import math
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from facedet.errors import ConfigError
from facedet.runtime import flatbuffer_reader, model_file
from facedet.runtime.model_operators import INT8, OPERATORS

ITEM_BYTES = {"float32": 4, "int8": 1}  # of an activation
_MAGIC = b"TFL3"  # at byte 4 of a .tflite
_TYPE_BYTES = (4, 2, 4, 1, 8, 1, 1, 2, 8, 1)  # by a tensor's type in the schema
_ACTIVATIONS = ("", "ReLU", "ReLU -1 to 1", "ReLU6")  # fused, by their number in the schema
_CONVOLUTION, _DEPTHWISE, _RESHAPE, _CUSTOM, _SUPPRESSION = 3, 4, 22, 32, 120  # operators by their number


class ProfileError(Exception):
    """What cannot be profiled; the message names the file and the way out."""


class Layer(NamedTuple):
    """An operation as it runs: a convolution with the batch norm and activation fused into it is one.

    sources: names of the layers that it takes from; the picture is 'image'.  shape: of what it gives, without the batch.
    detail: window, stride, dilation and what is fused.  parameters: batch norm's statistics with them; weights that an earlier layer has
    are counted there.  output: the network's output that it gives, or ''.
    """

    name: str
    kind: str
    detail: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int
    statistics: int
    multiply_adds: int
    output: str


@dataclasses.dataclass(frozen=True)
class Profile:
    """input: [height, width].  peak_activation_bytes, weight_bytes: {precision: bytes}; a file has one precision, a config two.

    weight_bytes: with batch norms folded in; biases are 4 bytes in each.  anchors: rows of boxes that it gives, before suppression.
    file_bytes and published are None for what has none; published: {multiply-adds of a normalized element: zineos' "flops"}.
    """

    name: str
    input: tuple[int, int]
    layers: tuple[Layer, ...]
    anchors: int
    peak_activation_bytes: dict[str, int]
    weight_bytes: dict[str, int]
    file_bytes: int | None = None
    published: dict[int, int] | None = None

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def statistics(self) -> int:
        return sum(layer.statistics for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def operators(self) -> dict[str, int]:
        """{kind: how many}, the most first."""
        return dict(collections.Counter(layer.kind for layer in self.layers).most_common())

    def as_dict(self, with_layers: bool) -> dict:
        """For JSON."""
        made = {
            "name": self.name,
            "input": {"height": self.input[0], "width": self.input[1]},
            "parameters": self.parameters,
            "trainable": self.parameters - self.statistics,
            "statistics": self.statistics,
            "multiply_adds": self.multiply_adds,
            "peak_activation_bytes": self.peak_activation_bytes,
            "weight_bytes": self.weight_bytes,
            "file_bytes": self.file_bytes,
            "anchors": self.anchors,
            "operators": self.operators,
            "published_flops": self.published,
        }
        return {**made, "layers": [layer._asdict() for layer in self.layers]} if with_layers else made


def read(path: str) -> Profile:
    """Of a pipeline config, with random weights, or of an exported .tflite. Raises ProfileError and ConfigError."""
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ProfileError(
            f"{path} cannot be read ({error.strerror}): name a pipeline config (configs/) or an exported .tflite."
        ) from error
    if data[4:8] == _MAGIC or str(path).endswith(".tflite"):
        return of_file(path, data)
    # TensorFlow, for a config alone
    from facedet.detectors import registry
    from facedet.evaluation import network_profile
    from facedet.quantization.plan import NotQuantizableError
    from facedet.recipe import pipeline_config

    try:
        recipe = pipeline_config.parse(data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path} is neither a pipeline config nor a .tflite: it is no text.") from error
    except ConfigError as error:
        if str(path).endswith(".config"):
            raise
        raise ProfileError(f"{path} is neither an exported .tflite nor a pipeline config that can be used: {error}") from error
    try:
        return network_profile.of_detector(registry.build(recipe), pathlib.Path(path).stem)
    except NotQuantizableError as error:
        raise ProfileError(f"{path}: its network cannot be followed as TFLite would run it. {error}") from error


def convolution_multiply_adds(output_shape: Iterable[int], taps: int) -> int:
    """output_shape: [height, width, filters].  taps: values of the input that one value of the output takes: dilation adds none."""
    return math.prod(output_shape) * taps


def convolution_detail(window, strides, dilation, fused: Iterable[str]) -> str:
    """'3x3/2, dilation 2, BN, ReLU6'. window, strides, dilation: of height and width."""

    def both(pair):
        return f"{pair[0]}" if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"

    text = f"{window[0]}x{window[1]}" + (f"/{both(strides)}" if tuple(strides) != (1, 1) else "")
    return ", ".join([text, *([f"dilation {both(dilation)}"] if tuple(dilation) != (1, 1) else []), *filter(None, fused)])


def peak(steps: list[tuple[list, list]], outputs: Iterable, sizes: dict) -> int:
    """The largest sum of the sizes of the tensors that are alive during a step.

    steps: [(tensors taken, tensors made)] in the order in which they run.  outputs: alive to the end.  sizes: {tensor: size}.
    """
    last = {tensor: i for i, (taken, _) in enumerate(steps) for tensor in taken} | dict.fromkeys(outputs, len(steps))
    alive = last.keys() - {tensor for _, made in steps for tensor in made}  # what is given from outside
    largest = 0
    for i, (_, made) in enumerate(steps):
        alive |= {*made}
        largest = max(largest, sum(sizes[tensor] for tensor in alive))
        alive = {tensor for tensor in alive if last.get(tensor, i) > i}
    return largest


def of_file(path: str, data: bytes) -> Profile:
    """data: the whole .tflite. Raises ProfileError."""
    try:
        model_file.check(data)
    except model_file.ModelFileError as error:
        raise ProfileError(f"{path} is damaged, or not one of this project's exports: {error}") from error
    return _of_graph(pathlib.Path(path).name, len(data), flatbuffer_reader.read(data))


def _of_graph(name: str, file_bytes: int, model) -> Profile:
    graph = model.subgraphs[0]
    tensors, shapes = graph.tensors, [tensor.shape.tolist() for tensor in graph.tensors]
    constant = {i for i, tensor in enumerate(tensors) if len(model.buffers[tensor.buffer].data)}
    stored = {i: i for i in constant}  # a float16 weight is widened by an operator of its own: {tensor: the constant it comes from}
    names, seen = dict.fromkeys(graph.inputs.tolist(), "image"), collections.Counter()
    alias, counted, steps, layers, anchors = {}, set(), [], [], 0
    for operator in graph.operators:
        code = model.operator_codes[operator.opcode]
        number = max(code.code, code.deprecated_code)
        kind = OPERATORS[number].name if number in OPERATORS else code.custom_code.decode()
        inputs, outputs = operator.inputs.tolist(), operator.outputs.tolist()
        made = outputs[0]
        if constant.issuperset(inputs):
            constant |= {*outputs}
            stored |= dict.fromkeys(outputs, stored[inputs[0]])
            continue
        taken = [alias.get(i, i) for i in inputs if i not in constant]
        if number == _RESHAPE:
            alias[made] = taken[0]
        else:
            steps.append((taken, outputs))
        detail, parameters, multiply_adds = "", 0, 0
        if number in (_CONVOLUTION, _DEPTHWISE):
            kernel, options = shapes[inputs[1]], operator.options
            multiply_adds = convolution_multiply_adds(shapes[made][1:], math.prod(kernel[1:] if number == _CONVOLUTION else kernel[1:3]))
            strides, dilation = (options.stride_h, options.stride_w), (options.dilation_h, options.dilation_w)
            detail = convolution_detail(kernel[1:3], strides, dilation, [_ACTIVATIONS[options.activation]])
            weights = {stored[i] for i in inputs[1:]} - counted
            parameters = sum(math.prod(shapes[i]) for i in weights)
            counted |= weights
        elif number == _SUPPRESSION:
            anchors = shapes[inputs[0]][0]
        elif number == _CUSTOM:
            anchors = shapes[inputs[2]][0]
        label = tensors[made].name.decode().split(";")[0]
        seen[label] += 1
        names |= dict.fromkeys(outputs, f"{label} ({seen[label]})" if seen[label] > 1 else label)
        given = ", ".join(tensors[i].name.decode() for i in outputs if i in graph.outputs)
        sources = tuple(names[i] for i in inputs if i not in constant)
        layers.append(Layer(names[made], kind, detail, sources, tuple(shapes[made][1:]), parameters, 0, multiply_adds, given))
    rows = [shapes[i][1] for i in graph.outputs if tensors[i].name == b"raw_boxes"]
    image = shapes[graph.inputs[0]]
    sizes = {i: math.prod(shape) * _TYPE_BYTES[tensors[i].type] for i, shape in enumerate(shapes)}
    # what the convolutions compute in: a float16 file keeps its weights so, and computes in float32
    precision = "int8" if INT8 in (tensors[i].type for _, made in steps for i in made) else "float32"
    kept = "float16" if counted and np.all([tensors[i].type == 1 for i in counted]) else precision
    return Profile(
        name,
        (image[1], image[2]),
        tuple(layers),
        anchors or sum(rows),
        {precision: peak(steps, [alias.get(i, i) for i in graph.outputs.tolist()], sizes)},
        {kept: sum(sizes[i] for i in counted)},
        file_bytes,
    )
