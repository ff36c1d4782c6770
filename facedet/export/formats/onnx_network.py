"""A network as an ONNX graph, from its steps: in float, or in the 8 bits of its quantization-aware training (QDQ).

Operations of the opset's plainest form, which every runtime knows: convolutions with their batch norms and pads inside, maps [B, c, h, w].
The shapes but the batch are fixed, so that no node computes one.

QDQ: each rounding of the training is a pair of QuantizeLinear (uint8) and DequantizeLinear with the scale and zero point that LiteRT has,
kernels are int8 with a scale a channel, biases int32; onnxruntime makes integer operations of them.
"""

from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from facedet.export.formats.base import NotConvertibleError
from facedet.keras2 import keras
from facedet.layers.channel_padding import ChannelPadding
from facedet.quantization import arithmetic
from facedet.quantization.network import QuantizableNetwork
from facedet.quantization.plan import RUN_AS_CONVOLUTIONS, Step, plan
from facedet.runtime.input_spec import InputSpec

layers = keras.layers
INPUT, OPSET, IR_VERSION = "image", 17, 8  # IR 8 is of opset 17's time: older runtimes take it
_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
_AXIS_OF = {0: 0, 1: 2, 2: 3, 3: 1}  # of a map: where Keras has it -> where it is here
_LEAST_WEIGHT = np.float32(5e-7)  # the grid of a channel that is all but zero is that of this greatest weight, as the .tflite has it
_MADE = (*RUN_AS_CONVOLUTIONS, layers.Add, layers.Concatenate, layers.ReLU)  # new values; all others move or pick some


class Grid(NamedTuple):
    """The 256 values of a uint8 tensor: (q - zero_point) * scale."""

    scale: np.float32
    zero_point: int

    @classmethod
    def of_range(cls, least: float, greatest: float) -> "Grid":
        """As FakeQuantWithMinMaxVars shifts a range, so that it holds zero."""
        scale = (float(greatest) - float(least)) / 255
        return cls(np.float32(scale), int(np.clip(np.floor(-float(least) / scale + 0.5), 0, 255)))


class Value(NamedTuple):
    """A tensor of the graph. shape: behind the batch, of a map (c, h, w).  grid: that it is rounded to; None: to none.

    pads: of a map, zeros around it that no node has put there yet: top, left, bottom, right.
    """

    name: str
    shape: tuple[int, ...]
    grid: Grid | None = None
    pads: tuple[int, int, int, int] | None = None


class GraphWriter:
    """Nodes and initializers of a graph to be."""

    def __init__(self, half_kernels: bool = False):
        self.nodes, self.initializers, self._half_kernels, self._kept = [], [], half_kernels, {}

    def node(self, kind: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, values: np.ndarray) -> str:
        """A name that is there already keeps what it has: a layer that is used twice has its weights once."""
        if name not in self._kept:
            self._kept[name] = values
            self.initializers.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def kernel(self, name: str, values: np.ndarray) -> str:
        if not self._half_kernels:
            return self.constant(name, values)
        if f"{name}/half" in self._kept:
            return name
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise NotConvertibleError(f"{name} holds {np.abs(values).max():.3g}, which float16 has not: take float32.")
        return self.node("Cast", [self.constant(f"{name}/half", values.astype(np.float16))], name, to=TensorProto.FLOAT)

    def dequantized(self, name: str, values: np.ndarray, scales: np.ndarray) -> str:
        """Integers with a scale for each entry of the first axis, as floats."""
        constants = [("q", values), ("scale", scales.astype(np.float32)), ("zero_point", np.zeros(len(scales), values.dtype))]
        return self.node("DequantizeLinear", [self.constant(f"{name}/{part}", array) for part, array in constants], name, axis=0)

    def rounded(self, name: str, grid: Grid) -> str:
        """A tensor on its grid, in float."""
        scale, zero_point = self._constants(name, grid)
        return self.node(
            "DequantizeLinear", [self.node("QuantizeLinear", [name, scale, zero_point], f"{name}/q"), scale, zero_point], f"{name}/dq"
        )

    def from_bytes(self, name: str, grid: Grid) -> str:
        return self.node("DequantizeLinear", [name, *self._constants(name, grid)], f"{name}/dq")

    def _constants(self, name: str, grid: Grid) -> tuple[str, str]:
        return self.constant(f"{name}/scale", grid.scale), self.constant(f"{name}/zero_point", np.uint8(grid.zero_point))


def write(quantizable: QuantizableNetwork, spec: InputSpec, precision: str, batch: int | str) -> onnx.ModelProto:
    """Image -> the heads' maps by their names, float32 [B, h, w, c].

    The image: RGB 0..255 [B, height, width, 3], uint8 for int8 and float32 else; normalization is inside.
    precision: float16 stores the kernels so, and computes in float32.  batch: a number, or the name of one that is left open.
    NotConvertibleError names a layer that is not known here.
    """
    quantize = precision == "int8"
    writer = GraphWriter(half_kernels=precision == "float16")
    values = _Steps(writer, quantizable, spec, quantize).run()
    outputs = []
    for name, tensor in quantizable.network.output.items():
        value = values[name]
        turned = _TO_CHANNELS_LAST if len(value.shape) == 3 else []
        writer.node("Transpose" if turned else "Identity", [value.name], name, **({"perm": turned} if turned else {}))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *tensor.shape[1:]]))
    size, kind = [batch, *spec.size, 3], TensorProto.UINT8 if quantize else TensorProto.FLOAT
    image = helper.make_tensor_value_info(INPUT, kind, size)
    graph = helper.make_graph(writer.nodes, "facedet", [image], outputs, writer.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="facedet")


class _Steps:
    """Runs the steps of a network, as facedet.quantization does, in nodes."""

    def __init__(self, writer: GraphWriter, quantizable: QuantizableNetwork, spec: InputSpec, quantize: bool):
        self.writer, self.network, self.spec, self.quantize = writer, quantizable.network, spec, quantize
        self.steps, self.values = plan(quantizable.network), {}
        self.grids = _grids(self.steps, quantizable, self._input_grid) if quantize else {}

    @property
    def _input_grid(self) -> Grid:
        least, greatest = self.spec.range
        return Grid.of_range(min(least, 0), max(greatest, 0))

    def run(self) -> dict[int, Value]:
        """{name of a head: Value}"""
        name = self.writer.node("Transpose", [INPUT], "channels_first", perm=_TO_CHANNELS_FIRST)
        self.values[id(self.network.inputs[0])] = self._normalized(Value(name, (3, *self.spec.size)))
        for index, step in enumerate(self.steps):
            name = step.name or f"{step.layer.name}_{index}"
            value = self._operation(step, [self.values[id(source)] for source in step.sources], f"network/{name}")
            if step.activation is not None:
                value = value._replace(name=self._relu(step.activation, value.name))
            grid = self.grids.get(id(step.target))
            if grid is not None and value.grid is None:
                value = value._replace(name=self.writer.rounded(value.name, grid), grid=grid)
            self.values[id(step.target)] = value
        return {name: self._padded(self.values[id(head)], f"{name}/padded") for name, head in self.network.output.items()}

    def _normalized(self, image: Value) -> Value:
        spec, writer = self.spec, self.writer
        grid = self._input_grid if self.quantize else None
        if spec.is_uniform:
            if self.quantize:
                return image._replace(name=writer.from_bytes(image.name, grid), grid=grid)
            scale, offset = (
                writer.constant(f"normalized/{key}", np.float32(x)) for key, x in (("scale", spec.scale[0]), ("offset", spec.offset[0]))
            )
            return image._replace(name=writer.node("Add", [writer.node("Mul", [image.name, scale], "scaled"), offset], "normalized"))
        kernel = np.zeros((3, 3, 1, 1), np.float32)
        for channel, (source, scale) in enumerate(zip(map("RGB".index, spec.colour_order), spec.scale, strict=True)):
            kernel[channel, source] = scale
        if self.quantize:
            bytes_grid = Grid.of_range(0, 255)
            image = image._replace(name=writer.from_bytes(image.name, bytes_grid), grid=bytes_grid)
        name = self._convolved("normalized", image, kernel, np.asarray(spec.offset, np.float32))
        return image._replace(name=writer.rounded(name, grid) if self.quantize else name, grid=grid)

    def _operation(self, step: Step, sources: list[Value], name: str) -> Value:
        layer, node, constant = step.layer, self.writer.node, self.writer.constant
        if isinstance(layer, layers.ZeroPadding2D):
            (top, bottom), (left, right) = layer.padding
            return self._padded(sources[0], f"{name}/inner")._replace(pads=(top, left, bottom, right))
        if isinstance(layer, RUN_AS_CONVOLUTIONS):
            return self._convolution(step, sources[0], name)
        sources = [self._padded(source, f"{name}/padded") for source in sources]
        first, shape = sources[0], _shape(step.target)
        names = [source.name for source in sources]
        if isinstance(layer, layers.Dropout):
            return first
        if isinstance(layer, layers.Add):
            node("Add", names, name)
        elif isinstance(layer, layers.ReLU):
            return Value(self._relu(layer, names[0], name), shape)
        elif isinstance(layer, layers.Concatenate):
            axis = layer.axis % step.target.shape.rank
            node("Concat", names, name, axis=_AXIS_OF[axis] if len(shape) == 3 else axis)
        elif isinstance(layer, layers.MaxPooling2D):
            pads = _pads(layer.padding, first.shape[1:], layer.pool_size, layer.strides)
            node("MaxPool", names, name, kernel_shape=list(layer.pool_size), strides=list(layer.strides), pads=pads)
        elif isinstance(layer, layers.UpSampling2D):
            scales = constant(f"{name}/scales", np.asarray([1, 1, *layer.size], np.float32))
            linear = layer.interpolation == "bilinear"
            how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"} if linear else {
                "mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}  # fmt: skip
            node("Resize", [*names, "", scales], name, **how)
        elif isinstance(layer, layers.Cropping2D):
            (top, _), (left, _) = layer.cropping
            parts = {"starts": [top, left], "ends": [top + shape[1], left + shape[2]], "axes": [2, 3]}
            node("Slice", [*names, *(constant(f"{name}/{part}", np.asarray(at, np.int64)) for part, at in parts.items())], name)
        elif isinstance(layer, ChannelPadding):
            pads = constant(f"{name}/pads", np.asarray([0, 0, 0, 0, 0, shape[0] - first.shape[0], 0, 0], np.int64))
            node("Pad", [*names, pads], name)
        elif isinstance(layer, layers.Reshape):
            return self._reshaped(step, first, name)
        else:
            raise NotConvertibleError(f"Layer {layer.name!r} ({type(layer).__name__}) has no form in ONNX here.")
        return Value(name, shape)

    def _convolution(self, step: Step, source: Value, name: str) -> Value:
        layer, alone = step.layer, isinstance(step.layer, layers.BatchNormalization)
        depthwise = alone or isinstance(layer, layers.DepthwiseConv2D)
        kernel, bias = arithmetic.folded(layer, step.batch_norm)
        if self.quantize:
            kernel = arithmetic.fake_quant_weights(kernel, depthwise)
        kernel = kernel.numpy().transpose(2, 3, 0, 1) if depthwise else kernel.numpy().transpose(3, 2, 0, 1)
        strides, dilations, padding = ((1, 1), (1, 1), "valid") if alone else (layer.strides, layer.dilation_rate, layer.padding)
        if padding == "valid" and source.pads is not None:
            pads = list(source.pads)
        else:
            source = self._padded(source, f"{name}/padded")
            pads = _pads(padding, source.shape[1:], kernel.shape[2:], strides, dilations)
        groups = kernel.shape[0] if depthwise else source.shape[0] // kernel.shape[1]
        how = {"strides": list(strides), "dilations": list(dilations), "pads": pads, "group": groups}
        weights = "/".join(["weights", layer.name, *([step.batch_norm.name] if step.batch_norm else [])])
        self._convolved(name, source, kernel, bias.numpy(), weights, **how)
        return Value(name, _shape(step.target))

    def _convolved(
        self, name: str, source: Value, kernel: np.ndarray, bias: np.ndarray, weights: str = "weights/normalized", **attributes
    ) -> str:
        """kernel: [out, in / groups, h, w], on its grid where the network is quantized."""
        writer = self.writer
        if source.grid is None:
            inputs = [writer.kernel(weights, kernel), writer.constant(f"{weights}/bias", bias)]
        else:
            scales = np.maximum(np.abs(kernel).max((1, 2, 3)), _LEAST_WEIGHT) / np.float32(127)
            # Next to a bias of more than 30 bits in so fine a unit the weights are nothing: they take a coarser one.
            scales = np.maximum(scales, np.abs(bias) / (source.grid.scale * np.float32(2**30)))
            products = scales * source.grid.scale
            whole = np.rint(kernel / scales[:, None, None, None]).astype(np.int8)
            whole_bias = np.rint(bias / products.astype(np.float64)).astype(np.int32)
            # Of each use: onnxruntime's precise way without VNNI fails on kernels that two convolutions share.
            inputs = [writer.dequantized(f"{name}/weights", whole, scales), writer.dequantized(f"{name}/bias", whole_bias, products)]
        return writer.node("Conv", [source.name, *inputs], name, kernel_shape=list(kernel.shape[2:]), **attributes)

    def _relu(self, layer, name: str, result: str | None = None) -> str:
        result = result or f"{name}/relu"
        if layer.max_value is None:
            return self.writer.node("Relu", [name], result)
        bounds = [self.writer.constant(f"bound_{bound:g}", np.float32(bound)) for bound in (0, float(layer.max_value))]
        return self.writer.node("Clip", [name, *bounds], result)

    def _padded(self, value: Value, name: str) -> Value:
        """Where no convolution takes the pads into itself, a node does."""
        if value.pads is None:
            return value
        top, left, bottom, right = value.pads
        pads = self.writer.constant(f"{name}/pads", np.asarray([0, 0, top, left, 0, 0, bottom, right], np.int64))
        channels, height, width = value.shape
        padded = self.writer.node("Pad", [value.name, pads], name)
        if value.grid is not None:
            padded = self.writer.rounded(padded, value.grid)
        return Value(padded, (channels, height + top + bottom, width + left + right), value.grid)

    def _reshaped(self, step: Step, source: Value, name: str) -> Value:
        """In Keras' order of axes."""
        shape, writer = _shape(step.target), self.writer
        last = source.name if len(source.shape) != 3 else writer.node("Transpose", [source.name], f"{name}/from", perm=_TO_CHANNELS_LAST)
        new = writer.constant(f"{name}/shape", np.asarray([0, *step.target.shape[1:]], np.int64))
        if len(shape) != 3:
            return Value(writer.node("Reshape", [last, new], name), shape)
        writer.node("Transpose", [writer.node("Reshape", [last, new], f"{name}/to")], name, perm=_TO_CHANNELS_FIRST)
        return Value(name, shape)


def _grids(steps: list[Step], quantizable: QuantizableNetwork, of_input: Grid) -> dict[int, Grid | None]:
    """{id of a Keras tensor: its grid}.

    A range gives one; what is only joined has that of the whole; what is moved keeps that which it had.
    """
    grids = {id(step.target): Grid.of_range(*quantizable.ranges[step.name].numpy()) for step in steps if step.name}
    joined: dict[int, set] = {}
    for step in reversed(steps):
        if id(step.target) in joined:
            of_wholes = joined[id(step.target)]
            grids.setdefault(id(step.target), next(iter(of_wholes)) if len(of_wholes) == 1 else None)
        if isinstance(step.layer, layers.Concatenate):
            for source in step.sources:
                joined.setdefault(id(source), set()).add(grids.get(id(step.target)))
    grids[id(quantizable.network.inputs[0])] = of_input
    for step in steps:
        if not isinstance(step.layer, _MADE):
            grids[id(step.target)] = grids.get(id(step.sources[0]))
    return grids


def _shape(tensor) -> tuple[int, ...]:
    """Behind the batch, of a map its channels first."""
    shape = tuple(tensor.shape[1:])
    return (shape[2], *shape[:2]) if len(shape) == 3 else shape


def _pads(padding: str, sides, kernel, strides, dilations=(1, 1)) -> list[int]:
    """Top, left, bottom, right, as TensorFlow pads: what is odd goes to the end."""
    if padding == "valid":
        return [0, 0, 0, 0]
    begin, end = [], []
    for side, size, stride, dilation in zip(sides, kernel, strides, dilations, strict=True):
        whole = max((-(-side // stride) - 1) * stride + (size - 1) * dilation + 1 - side, 0)
        begin.append(whole // 2)
        end.append(whole - whole // 2)
    return [*begin, *end]
