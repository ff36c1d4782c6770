"""graph_rewriter.quantization: quantization-aware training of a functional Keras network, and the same arithmetic for export.

What TFLite computes is simulated (Jacob et al. 2017, arXiv:1712.05877): weights on a symmetric 8-bit grid a channel,
depthwise ones too, after their batch norm is folded in; activations on an asymmetric 8-bit grid a tensor, after their
activation. The ranges of the activations are collected from the first step on; from `delay` on batch norms keep their
statistics and values are rounded, in the forward pass only (straight-through gradients).

The network's own layers and variables are used: nothing is copied, a checkpoint is the float network's plus the ranges.
"""

import dataclasses

import tensorflow as tf
from tensorflow import keras

layers = keras.layers
INPUT_RANGE = (-1.0, 1.0)  # of normalized pictures
_OBSERVED_IMAGES = 4  # of a batch: its ranges are averaged over many batches
_MOMENTUM = 0.99


class NotQuantizableError(ValueError):
    """A network that cannot be quantized: the message names the layer and why."""


@dataclasses.dataclass(frozen=True)
class _Step:
    """One operation as TFLite runs it: a convolution with its batch norm and activation, a sum, or a move of values.

    sources and target are keys of tensors; `name` is that of the last layer fused and of the range of its output.
    """

    layer: layers.Layer
    batch_norm: layers.Layer | None
    activation: layers.Layer | None
    sources: tuple[int, ...]
    target: int
    name: str | None  # None: the operation keeps its input's range


_MOVES = (layers.ZeroPadding2D, layers.UpSampling2D, layers.Reshape, layers.Concatenate, layers.MaxPooling2D)


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
        observed = {step.name: step.activation or step.batch_norm or step.layer for step in self._steps if step.name}
        self._observer = keras.Model(network.inputs, [network.outputs, {n: layer.output for n, layer in observed.items()}])

    def observe(self, images, training: bool):
        """The float network's outputs; the ranges learn from the activations on the way."""
        outputs, activations = self._observer(images, training=training)
        for name, values in activations.items():
            self._observe(name, values)
        return outputs

    def simulate(self, images, training: bool):
        """The outputs of the network as it will be quantized; while training the ranges go on learning."""
        return self._run(images, quantize=True, observe=training, constant=False)

    def inference_graph(self, images, quantize: bool, outputs: list | None = None):
        """The network for export, traced inside a tf.function: batch norms folded into constants, ranges constant.

        quantize: weights on their grid and fake quantization of activations; otherwise plain float arithmetic.
        outputs: Keras tensors of the network to give instead of its own outputs.
        """
        return self._run(images, quantize=quantize, observe=False, constant=True, outputs=outputs)

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

    def _run(self, images, quantize, observe, constant, outputs=None):
        tensors = {id(self.network.inputs[0]): _fake_quant(images, *INPUT_RANGE) if quantize else images}
        for step in self._steps:
            inputs = [tensors[key] for key in step.sources]
            if isinstance(step.layer, (layers.Conv2D, layers.DepthwiseConv2D)):
                values = _convolve(step, inputs[0], quantize, constant)
            else:
                values = step.layer(inputs if len(inputs) > 1 else inputs[0])
            if step.activation is not None:
                values = step.activation(values)
            if step.name and observe:
                self._observe(step.name, values)
            if step.name and quantize:
                bounds = self.ranges[step.name]
                if constant:
                    with tf.init_scope():
                        bounds = bounds.numpy()
                values = _fake_quant(values, bounds[0], bounds[1])
            tensors[step.target] = values
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
        x = tf.nn.conv2d(x, kernel, strides, padding)
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

    steps, fused, seen = [], set(), set()
    for node in nodes:
        layer = node.layer
        if isinstance(layer, layers.InputLayer) or id(node) in fused:
            continue
        if layer.name in seen:
            raise NotQuantizableError(
                f"Layer {layer.name!r} is used twice: shared layers have no range of their own. Give each use a layer."
            )
        seen.add(layer.name)
        batch_norm = activation = None
        output = node.outputs
        name = layer.name

        def follower(kind, output):
            users = consumers.get(id(output), [])
            return users[0] if len(users) == 1 and isinstance(users[0].layer, kind) else None

        if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
            if (
                (isinstance(layer, layers.DepthwiseConv2D) and layer.depth_multiplier != 1)
                or layer.dilation_rate != (1, 1)
                or (layer.activation is not None and layer.activation is not keras.activations.linear)
            ):
                raise NotQuantizableError(f"Layer {layer.name!r}: dilation, depth multiplier and built-in activations are not supported.")
            after = follower(layers.BatchNormalization, output)
            if after:
                fused.add(id(after))
                batch_norm, output, name = after.layer, after.outputs, after.layer.name
        elif isinstance(layer, _MOVES):
            name = None
        elif not isinstance(layer, layers.Add):
            kind = type(layer).__name__
            raise NotQuantizableError(f"Layer {layer.name!r} ({kind}) has no quantized form here; take graph_rewriter out of the config.")
        after = follower(layers.ReLU, output) if name else None
        if after:
            fused.add(id(after))
            activation, output, name = after.layer, after.outputs, after.layer.name
        sources = tuple(id(tensor) for tensor in node.keras_inputs)
        steps.append(_Step(layer, batch_norm, activation, sources, id(output), name))
    return steps
