"""A convolutional network as operations and what feeds them: the same whoever wrote the file, so that layers are told by their place.

Names of layers differ from exporter to exporter, and many layers have one shape. What tells a layer of a network is what it is, what
feeds it and what it feeds: labels are refined by those of the neighbours until each operation has its own (Weisfeiler and Leman 1968).
"""

import collections
import dataclasses

import numpy as np

from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.quantization.plan import CONVOLUTIONS, plan

layers = keras.layers
PICTURE = -1  # as a source
_KINDS = {layers.Add: "add", layers.Concatenate: "concat", layers.ReLU: "relu", layers.MaxPooling2D: "max_pool"}


class WeightsError(ConfigError):
    """Weights that cannot be taken over; the message names the file, the layer and why."""


@dataclasses.dataclass
class Norm:
    """A batch norm, each [channels]."""

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float


@dataclasses.dataclass
class Weights:
    """kernel: [h, w, in, out], of a depthwise convolution [h, w, channels, 1].  bias: [out] or None."""

    kernel: np.ndarray
    bias: np.ndarray | None
    norm: Norm | None


@dataclasses.dataclass
class Operation:
    """kind: 'convolution', 'depthwise', 'relu', 'relu6', 'add', 'concat' or 'max_pool'.

    sources: indices of the operations before it that it takes, or PICTURE.  form: of convolutions, the kernel's shape, stride, dilation.
    weights: of a file's convolutions.
    """

    name: str
    kind: str
    sources: tuple[int, ...]
    form: tuple = ()
    weights: Weights | None = None

    def __str__(self) -> str:
        if not self.form:
            return self.name
        (height, width, inputs, outputs), stride, dilation = self.form
        channels = f"{inputs}" if self.kind == "depthwise" else f"{inputs}>{outputs}"
        more = (f" stride {stride[0]}" if stride != (1, 1) else "") + (f" dilation {dilation[0]}" if dilation != (1, 1) else "")
        return f"{self.name} ({self.kind} {height}x{width} {channels}{more})"


def of_network(network: keras.Model) -> list[Operation]:
    """The operations of a network here; a convolution has its layer's name."""
    at, found = {id(network.inputs[0]): PICTURE}, []
    for step in plan(network):
        layer, sources = step.layer, tuple(at[id(source)] for source in step.sources)
        if isinstance(layer, CONVOLUTIONS):
            depthwise = isinstance(layer, layers.DepthwiseConv2D)
            kernel = layer.depthwise_kernel if depthwise else layer.kernel
            form = (tuple(kernel.shape), tuple(layer.strides), tuple(layer.dilation_rate))
            found.append(Operation(layer.name, "depthwise" if depthwise else "convolution", sources, form))
        elif type(layer) in _KINDS:
            found.append(Operation(layer.name, _kind(layer), sources))
        else:  # values go through
            at[id(step.target)] = sources[0]
            continue
        if step.activation is not None:
            found.append(Operation(step.activation.name, _kind(step.activation), (len(found) - 1,)))
        at[id(step.target)] = len(found) - 1
    return found


def match(theirs: list[Operation], ours: list[Operation]) -> list[tuple[Operation, Operation]]:
    """[(their convolution, ours)], every one of both. WeightsError where the networks are not the same."""
    graphs = [_up_to_convolutions(theirs), _up_to_convolutions(ours)]
    numbers: dict[tuple, int] = {}  # one table for both: equal labels are equal places
    labels = [[_number(numbers, (o.kind, o.form)) for o in graph] for graph in graphs]
    _require_same(graphs, labels, "has other layers than")
    count = 0
    while len(set(labels[0])) > count:
        count = len(set(labels[0]))
        labels = [_refined(graph, known, numbers) for graph, known in zip(graphs, labels, strict=True)]
        _require_same(graphs, labels, "connects its layers otherwise than")
    by_label = {label: operation for operation, label in zip(graphs[1], labels[1], strict=True)}
    if len(by_label) < len(graphs[1]):
        raise WeightsError("two layers of the network have the same place: they cannot be told apart.")
    return [(theirs, by_label[label]) for theirs, label in zip(graphs[0], labels[0], strict=True) if theirs.form]


def _kind(layer) -> str:
    return "relu6" if isinstance(layer, layers.ReLU) and layer.max_value == 6.0 else _KINDS[type(layer)]


def _up_to_convolutions(operations: list[Operation]) -> list[Operation]:
    """Without what no convolution comes after: how heads are joined to outputs differs from file to file."""
    needed = [bool(operation.form) for operation in operations]
    for i in reversed(range(len(operations))):
        if needed[i]:
            for source in operations[i].sources:
                if source != PICTURE:
                    needed[source] = True
    kept = np.cumsum(needed) - 1
    return [
        dataclasses.replace(operation, sources=tuple(PICTURE if source == PICTURE else int(kept[source]) for source in operation.sources))
        for operation, wanted in zip(operations, needed, strict=True)
        if wanted
    ]


def _refined(graph: list[Operation], labels: list[int], numbers: dict[tuple, int]) -> list[int]:
    followers = collections.defaultdict(list)
    for operation, label in zip(graph, labels, strict=True):
        for position, source in enumerate(operation.sources):
            followers[source].append((label, 0 if operation.kind == "add" else position))
    refined = []
    for i, (operation, label) in enumerate(zip(graph, labels, strict=True)):
        before = [PICTURE if source == PICTURE else labels[source] for source in operation.sources]
        before = tuple(sorted(before) if operation.kind == "add" else before)
        refined.append(_number(numbers, (label, before, tuple(sorted(followers[i])))))
    return refined


def _number(numbers: dict[tuple, int], label: tuple) -> int:
    return numbers.setdefault(label, len(numbers))


def _require_same(graphs: list[list[Operation]], labels: list[list[int]], how: str) -> None:
    counts = [collections.Counter(of_graph) for of_graph in labels]
    if counts[0] == counts[1]:
        return
    left_over = []
    for graph, of_graph, more in zip(graphs, labels, (counts[0] - counts[1], counts[1] - counts[0]), strict=True):
        operations = []
        for operation, label in zip(reversed(graph), reversed(of_graph), strict=True):
            if more[label] > 0:
                operations.insert(0, operation)
                more[label] -= 1
        operations.sort(key=lambda operation: not operation.form)  # convolutions say most
        left_over.append(f"{', '.join(map(str, operations[:3])) or 'none'} ({len(operations)} in all)")
    raise WeightsError(f"it {how} the config's network. In the file alone: {left_over[0]}. In the network alone: {left_over[1]}.")
