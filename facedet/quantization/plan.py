"""The steps in which TFLite runs a network, and what is refused as it has no quantized form."""

import collections
import dataclasses

from facedet.keras2 import keras
from facedet.layers.channel_padding import ChannelPadding

layers = keras.layers


class NotQuantizableError(ValueError):
    """A network that cannot be quantized: the message names the layer and why."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation as TFLite runs it: a convolution with its batch norm and activation, a sum, or a move of values.

    A batch norm that follows no convolution, or not at once, is run as a depthwise convolution of 1x1: as `layer`.

    sources and target are Keras tensors; `name` is that of the last layer fused and of the range of its output.
    """

    layer: layers.Layer
    batch_norm: layers.Layer | None
    activation: layers.Layer | None
    sources: tuple
    target: object
    name: str | None  # None: not rounded, as its values are those of its input, or as what follows rounds them


CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)
RUN_AS_CONVOLUTIONS = (*CONVOLUTIONS, layers.BatchNormalization)
_MOVES = (
    layers.ZeroPadding2D,
    ChannelPadding,
    layers.Cropping2D,
    layers.UpSampling2D,
    layers.Reshape,
    layers.MaxPooling2D,
    layers.Dropout,
)  # what they give are values of their input, or lie between them
_MIXES = (layers.Add, layers.Concatenate, layers.ReLU)


def plan(network: keras.Model) -> list[Step]:
    """The network's layers in the order in which they run, fused as TFLite fuses them."""
    nodes = [node for depth in sorted(network._nodes_by_depth, reverse=True) for node in network._nodes_by_depth[depth]]
    ends = {id(output) for output in network.outputs}
    consumers: dict[int, list] = {}
    for node in nodes:
        for tensor in node.keras_inputs:
            consumers.setdefault(id(tensor), []).append(node)

    def joins_outputs(node) -> bool:
        """What joins the outputs of the network belongs to the float tail."""
        return isinstance(node.layer, layers.Concatenate) and id(node.outputs) not in consumers

    def joins(node) -> bool:
        """TFLite rounds all that is joined alike: by the range of the whole."""
        return node is not None and isinstance(node.layer, layers.Concatenate) and not joins_outputs(node)

    steps, fused = [], set()
    names = _names_of_uses(nodes)
    for node in nodes:
        layer, output, name = node.layer, node.outputs, names[id(node)]
        if isinstance(layer, layers.InputLayer) or id(node) in fused:
            continue
        _require_quantized_form(node)
        batch_norm = activation = None

        def follower(kind, output):
            users = consumers.get(id(output), [])
            alone = len(users) == 1 and id(output) not in ends
            return users[0] if alone and isinstance(users[0].layer, kind) else None

        if isinstance(layer, CONVOLUTIONS) and (after := follower(layers.BatchNormalization, output)):
            fused.add(id(after))
            batch_norm, output, name = after.layer, after.outputs, names[id(after)]
        if isinstance(layer, (*RUN_AS_CONVOLUTIONS, layers.Add)) and (after := follower(layers.ReLU, output)):
            fused.add(id(after))
            activation, output, name = after.layer, after.outputs, names[id(after)]
        if (
            isinstance(layer, _MOVES)
            or joins_outputs(node)
            or (id(output) not in ends and all(map(joins, consumers.get(id(output), [None]))))
        ):
            name = None
        steps.append(Step(layer, batch_norm, activation, tuple(node.keras_inputs), output, name))
    return steps


def _names_of_uses(nodes) -> dict[int, str]:
    """{id of a node: name of its range}: a layer that is used more than once has one for each use, and its weights once."""
    names, uses = {}, collections.Counter()
    for node in nodes:
        count = uses[node.layer.name]
        names[id(node)] = f"{node.layer.name}_use_{count}" if count else node.layer.name
        uses[node.layer.name] += 1
    return names


def _require_quantized_form(node) -> None:
    layer = node.layer
    said = f"Layer {layer.name!r} ({type(layer).__name__})"
    if not isinstance(layer, (*RUN_AS_CONVOLUTIONS, *_MOVES, *_MIXES)):
        raise NotQuantizableError(f"{said} has no quantized form here; take graph_rewriter out of the config.")
    if isinstance(layer, CONVOLUTIONS):
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        if layer.activation is not None and layer.activation is not keras.activations.linear:
            raise NotQuantizableError(f"{said}: a built-in activation is not supported; put a ReLU layer behind it.")
        if depthwise and (layer.depth_multiplier != 1 or layer.dilation_rate != (1, 1)):
            raise NotQuantizableError(f"{said}: depth multiplier and dilation of a depthwise convolution are not supported.")
    elif isinstance(layer, layers.Add) and len(node.keras_inputs) > 2:
        raise NotQuantizableError(f"{said}: a sum of {len(node.keras_inputs)} has no range in between; add two at a time.")
    elif isinstance(layer, layers.ReLU) and (layer.negative_slope or layer.threshold or layer.max_value not in (None, 6.0)):
        raise NotQuantizableError(f"{said}: only ReLU and ReLU6 are supported.")
    elif isinstance(layer, layers.UpSampling2D) and layer.interpolation not in ("nearest", "bilinear"):
        raise NotQuantizableError(f"{said}: interpolation {layer.interpolation!r}: only nearest and bilinear are supported.")
