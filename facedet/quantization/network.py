"""graph_rewriter.quantization: quantization-aware training of a functional Keras network, and the same arithmetic for export.

What TFLite computes is simulated (Jacob et al. 2017, arXiv:1712.05877): weights on a symmetric 8-bit grid a channel,
depthwise ones too, after their batch norm is folded in; activations on an asymmetric 8-bit grid a tensor, after their
activation. The ranges of the activations are collected from the first step on; from `delay` on batch norms keep their
statistics and values are rounded, in the forward pass only (straight-through gradients).

The network's own layers and variables are used: nothing is copied, a checkpoint is the float network's plus the ranges.
"""

import collections
import dataclasses

import tensorflow as tf

from facedet.keras2 import keras

layers = keras.layers
INPUT_RANGE = (-1.0, 1.0)  # of normalized pictures
_OBSERVED_IMAGES = 4  # of a batch: its ranges are averaged over many batches
_MOMENTUM = 0.99


class NotQuantizableError(ValueError):
    """A network that cannot be quantized: the message names the layer and why."""


@dataclasses.dataclass(frozen=True)
class _Step:
    """One operation as TFLite runs it: a convolution with its batch norm and activation, a sum, or a move of values.

    sources and target are Keras tensors; `name` is that of the last layer fused and of the range of its output.
    """

    layer: layers.Layer
    batch_norm: layers.Layer | None
    activation: layers.Layer | None
    sources: tuple
    target: object
    name: str | None  # None: not rounded, as its values are those of its input, or as what follows rounds them


_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)
_MOVES = (
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.UpSampling2D,
    layers.Reshape,
    layers.MaxPooling2D,
    layers.Dropout,
)  # what they give are values of their input, or lie between them
_MIXES = (layers.Add, layers.Concatenate, layers.ReLU)


class QuantizableNetwork:
    """A network with the ranges of its activations.

    network: functional Keras model, image [B, H, W, 3] in -1..1 -> list of outputs.  Raises NotQuantizableError.
    ranges: {name: variable [2], least and greatest value}.
    """

    def __init__(self, network: keras.Model):
        self.network = network
        self._steps = _plan(network)
        names = [step.name for step in self._steps if step.name]
        self.ranges = {name: tf.Variable([0.0, 0.0], trainable=False, name=f"range_{name}") for name in names}
        observed = {step.name: step.target for step in self._steps if step.name}
        self._observer = keras.Model(network.inputs, [network.outputs, observed])

    def observe(self, images, training: bool):
        """The float network's outputs; the ranges learn from the activations on the way."""
        outputs, activations = self._observer(images, training=training)
        for name, values in activations.items():
            self._observe(name, values)
        return outputs

    def simulate(self, images, training: bool):
        """The outputs of the network as it will be quantized; while training the ranges go on learning."""
        return self._run(images, quantize=True, training=training, constant=False)

    def inference_graph(self, images, quantize: bool, outputs: list | None = None):
        """The network for export, traced inside a tf.function: batch norms folded into constants, ranges constant.

        quantize: weights on their grid and fake quantization of activations; otherwise plain float arithmetic.
        outputs: Keras tensors of the network to give instead of its own outputs.
        """
        return self._run(images, quantize=quantize, training=False, constant=True, outputs=outputs)

    def check_ranges(self) -> None:
        """Raises NotQuantizableError where a range was never collected."""
        empty = [name for name, variable in self.ranges.items() if variable[0] == variable[1]]
        if empty:
            raise NotQuantizableError(f"No range was ever collected for {', '.join(empty[:3])} ({len(empty)} in all): calibrate first.")

    def _observe(self, name, values):
        seen = values[:_OBSERVED_IMAGES]
        latest = tf.stack([tf.minimum(tf.reduce_min(seen), 0.0), tf.maximum(tf.reduce_max(seen), 1e-6)])
        variable = self.ranges[name]
        first = tf.equal(variable[0], variable[1])
        variable.assign(tf.where(first, latest, _MOMENTUM * variable + (1 - _MOMENTUM) * tf.stop_gradient(latest)))

    def _run(self, images, quantize, training, constant, outputs=None):
        tensors = {id(self.network.inputs[0]): _fake_quant(images, *INPUT_RANGE) if quantize else images}
        for step in self._steps:
            inputs = [tensors[id(source)] for source in step.sources]
            if isinstance(step.layer, _CONVOLUTIONS):
                values = _convolve(step, inputs[0], quantize, constant)
            elif isinstance(step.layer, layers.Dropout):
                values = step.layer(inputs[0], training=training)
            else:
                values = step.layer(inputs if len(inputs) > 1 else inputs[0])
            if step.activation is not None:
                values = step.activation(values)
            if step.name and training:
                self._observe(step.name, values)
            if step.name and quantize:
                bounds = self.ranges[step.name]
                if constant:
                    with tf.init_scope():
                        bounds = bounds.numpy()
                values = _fake_quant(values, bounds[0], bounds[1])
            tensors[id(step.target)] = values
        return [tensors[id(output)] for output in outputs or self.network.outputs]


def folded(convolution, batch_norm):
    """Kernel and bias of a convolution with its batch norm's scale and offset folded in, as tensors."""
    depthwise = isinstance(convolution, layers.DepthwiseConv2D)
    kernel = convolution.depthwise_kernel if depthwise else convolution.kernel
    channels = kernel.shape[2] * kernel.shape[3] if depthwise else kernel.shape[3]
    bias = convolution.bias if convolution.use_bias else tf.zeros([channels])
    if batch_norm is None:
        return tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)
    scale = batch_norm.gamma * tf.math.rsqrt(batch_norm.moving_variance + batch_norm.epsilon)
    shaped = tf.reshape(scale, [1, 1, *kernel.shape[2:]]) if depthwise else scale
    return kernel * shaped, batch_norm.beta + (bias - batch_norm.moving_mean) * scale


def fake_quant_weights(kernel, depthwise: bool):
    """A kernel rounded to TFLite's symmetric 8-bit grid, one scale an output channel."""
    flat = tf.reshape(kernel, [-1, kernel.shape[2] * kernel.shape[3]]) if depthwise else kernel
    greatest = tf.reduce_max(tf.abs(tf.stop_gradient(flat)), axis=list(range(flat.shape.rank - 1)))
    greatest = tf.maximum(greatest, 1e-8)
    rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(flat, -greatest, greatest, 8, narrow_range=True)
    return tf.reshape(rounded, kernel.shape)


def _convolve(step: _Step, x, quantize: bool, constant: bool):
    depthwise = isinstance(step.layer, layers.DepthwiseConv2D)

    def weights():
        kernel, bias = folded(step.layer, step.batch_norm)
        return (fake_quant_weights(kernel, depthwise) if quantize else kernel), bias

    if constant:
        with tf.init_scope():
            kernel, bias = (value.numpy() for value in weights())
    else:
        kernel, bias = weights()
    strides, padding = step.layer.strides, step.layer.padding.upper()
    if depthwise:
        x = tf.nn.depthwise_conv2d(x, kernel, [1, *strides, 1], padding)
    else:
        x = tf.nn.conv2d(x, kernel, strides, padding, dilations=step.layer.dilation_rate)
    return tf.nn.bias_add(x, bias)


def _fake_quant(values, least, greatest):
    return tf.quantization.fake_quant_with_min_max_vars(values, tf.stop_gradient(least), tf.stop_gradient(greatest), 8)


def _plan(network: keras.Model) -> list[_Step]:
    """The network's layers in the order in which they run, fused as TFLite fuses them."""
    nodes = [node for depth in sorted(network._nodes_by_depth, reverse=True) for node in network._nodes_by_depth[depth]]
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
        _require_quantized_form(layer)
        batch_norm = activation = None

        def follower(kind, output):
            users = consumers.get(id(output), [])
            return users[0] if len(users) == 1 and isinstance(users[0].layer, kind) else None

        if isinstance(layer, _CONVOLUTIONS) and (after := follower(layers.BatchNormalization, output)):
            fused.add(id(after))
            batch_norm, output, name = after.layer, after.outputs, names[id(after)]
        if isinstance(layer, (*_CONVOLUTIONS, layers.Add)) and (after := follower(layers.ReLU, output)):
            fused.add(id(after))
            activation, output, name = after.layer, after.outputs, names[id(after)]
        if isinstance(layer, _MOVES) or joins_outputs(node) or all(map(joins, consumers.get(id(output), [None]))):
            name = None
        steps.append(_Step(layer, batch_norm, activation, tuple(node.keras_inputs), output, name))
    return steps


def _names_of_uses(nodes) -> dict[int, str]:
    """{id of a node: name of its range}: a layer that is used more than once has one for each use, and its weights once."""
    names, uses = {}, collections.Counter()
    for node in nodes:
        count = uses[node.layer.name]
        names[id(node)] = f"{node.layer.name}_use_{count}" if count else node.layer.name
        uses[node.layer.name] += 1
    return names


def _require_quantized_form(layer) -> None:
    said = f"Layer {layer.name!r} ({type(layer).__name__})"
    if not isinstance(layer, (*_CONVOLUTIONS, *_MOVES, *_MIXES)):
        raise NotQuantizableError(f"{said} has no quantized form here; take graph_rewriter out of the config.")
    if isinstance(layer, _CONVOLUTIONS):
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        if layer.activation is not None and layer.activation is not keras.activations.linear:
            raise NotQuantizableError(f"{said}: a built-in activation is not supported; put a ReLU layer behind it.")
        if depthwise and (layer.depth_multiplier != 1 or layer.dilation_rate != (1, 1)):
            raise NotQuantizableError(f"{said}: depth multiplier and dilation of a depthwise convolution are not supported.")
    elif isinstance(layer, layers.Add) and len(layer.input_shape) > 2:
        raise NotQuantizableError(f"{said}: a sum of {len(layer.input_shape)} has no range in between; add two at a time.")
    elif isinstance(layer, layers.ReLU) and (layer.negative_slope or layer.threshold or layer.max_value not in (None, 6.0)):
        raise NotQuantizableError(f"{said}: only ReLU and ReLU6 are supported.")
    elif isinstance(layer, layers.UpSampling2D) and layer.interpolation not in ("nearest", "bilinear"):
        raise NotQuantizableError(f"{said}: interpolation {layer.interpolation!r}: only nearest and bilinear are supported.")
