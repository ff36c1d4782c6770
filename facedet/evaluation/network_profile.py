"""The profile of a Keras network, by the plan in which TFLite runs it."""

import collections
import math

import tensorflow as tf

from facedet.detectors.base import Detector
from facedet.evaluation.profile import ITEM_BYTES, Layer, Profile, convolution_detail, convolution_multiply_adds, peak
from facedet.keras2 import keras
from facedet.quantization.plan import CONVOLUTIONS, Step, plan

layers = keras.layers
PUBLISHED_RULES = (2, 4)  # what a normalized element counts as: BlazeFace's row, and slim's, RFB's, RetinaFace's


def of_detector(detector: Detector, name: str) -> Profile:
    """Raises NotQuantizableError for a layer that the plan does not know."""
    heads = {head: tf.zeros([1, *tensor.shape[1:]]) for head, tensor in detector.network.output.items()}
    return of_network(detector.network, name, anchors=detector.decode(heads).boxes_yxhw.shape[1])


def of_network(network: keras.Model, name: str, anchors: int = 0) -> Profile:
    """network: functional, image [B, H, W, 3] -> {name: output}, sides known."""
    steps = plan(network)
    (image,) = network.inputs
    names, uses, counted, rows = {id(image): "image"}, collections.Counter(), set(), []
    given = {id(tensor): output for output, tensor in network.output.items()} if isinstance(network.output, dict) else {}
    for step in steps:
        uses[step.layer.name] += 1
        count = uses[step.layer.name]
        names[id(step.target)] = f"{step.layer.name} (use {count})" if count > 1 else step.layer.name
        parameters, statistics = _parameters(step, counted)
        sources, shape = tuple(names[id(source)] for source in step.sources), tuple(step.target.shape[1:])
        row = Layer(names[id(step.target)], type(step.layer).__name__, _detail(step), sources, shape, parameters, statistics,
                    _step_multiply_adds(step), given.get(id(step.target), ""))  # fmt: skip
        rows.append(row)
    elements = _peak_elements(steps, network)
    return Profile(
        name,
        tuple(image.shape[1:3]),
        tuple(rows),
        anchors,
        {precision: size * elements for precision, size in ITEM_BYTES.items()},
        {precision: _weight_bytes(steps, size) for precision, size in ITEM_BYTES.items()},
        published={rule: published_flops(network, rule) for rule in PUBLISHED_RULES},
    )


def multiply_adds(network: keras.Model) -> int:
    """Of the convolutions, for one picture; a layer that is used more than once counts each time."""
    return sum(map(_step_multiply_adds, plan(network)))


def published_flops(network: keras.Model, normalized: int) -> int:
    """The "flops" of zineos/blazeface's table: multiply-adds, and one for each bias added, and `normalized` for each value of a batch norm.

    Its rows count by two rules and do not compare with each other: 2 for BlazeFace, 4 for slim, RFB and RetinaFace.
    """
    total = 0
    for step in plan(network):
        values = math.prod(step.target.shape[1:])
        biased = isinstance(step.layer, CONVOLUTIONS) and step.layer.use_bias
        total += _step_multiply_adds(step) + values * (biased + normalized * _is_normalized(step))
    return total


def _is_normalized(step: Step) -> bool:
    return step.batch_norm is not None or isinstance(step.layer, layers.BatchNormalization)


def _step_multiply_adds(step: Step) -> int:
    if not isinstance(step.layer, CONVOLUTIONS):
        return 0
    depthwise = isinstance(step.layer, layers.DepthwiseConv2D)  # no Conv2D to Keras
    height, width, depth, _ = step.layer.weights[0].shape
    return convolution_multiply_adds(step.target.shape[1:], height * width * (1 if depthwise else depth))


def _parameters(step: Step, counted: set[int]) -> tuple[int, int]:
    """(all, statistics among them) of the weights that are not in `counted`, which they join."""
    total = statistics = 0
    for layer in filter(None, (step.layer, step.batch_norm, step.activation)):
        moving = {id(layer.moving_mean), id(layer.moving_variance)} if isinstance(layer, layers.BatchNormalization) else ()
        for weight in layer.weights:
            if id(weight) not in counted:
                counted.add(id(weight))
                size = math.prod(weight.shape)
                total, statistics = total + size, statistics + size * (id(weight) in moving)
    return total, statistics


def _detail(step: Step) -> str:
    activation = step.activation if step.activation is not None else step.layer if isinstance(step.layer, layers.ReLU) else None
    fused = ["BN" if step.batch_norm is not None else "", _activation(activation)]
    if isinstance(step.layer, CONVOLUTIONS):
        return convolution_detail(step.layer.kernel_size, step.layer.strides, step.layer.dilation_rate, fused)
    return ", ".join(filter(None, fused))


def _activation(layer) -> str:
    return "" if layer is None else "ReLU6" if layer.max_value is not None else "ReLU"


def _peak_elements(steps: list[Step], network: keras.Model) -> int:
    alias, sizes, moves = {}, {id(network.inputs[0]): math.prod(network.inputs[0].shape[1:])}, []
    for step in steps:
        taken, made = [alias.get(id(source), id(source)) for source in step.sources], id(step.target)
        if isinstance(step.layer, (layers.Reshape, layers.Dropout)):
            alias[made] = taken[0]
        else:
            sizes[made] = math.prod(step.target.shape[1:])
            moves.append((taken, [made]))
    return peak(moves, [alias.get(id(output), id(output)) for output in network.outputs], sizes)


def _weight_bytes(steps: list[Step], size: int) -> int:
    """Kernels of `size` bytes a value and biases of 4; a batch norm alone has a kernel of 1x1. What is used twice is stored once."""
    stored = {(id(step.layer), id(step.batch_norm)): step for step in steps if isinstance(step.layer, CONVOLUTIONS) or _is_normalized(step)}
    return sum(math.prod(step.layer.weights[0].shape) * size + step.target.shape[-1] * 4 for step in stored.values())
