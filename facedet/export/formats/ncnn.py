"""ncnn: .param and .bin, raw, with kernels stored in float32 or float16. The raw ONNX graph, converted by pnnx.

pnnx comes as a program inside its Python package, of which nothing else is used. It writes what it does not know into the .param and leaves
by 0: pads become ncnn's Padding here, all else is an error.
"""

import ast
import importlib.util
import pathlib
import re
import subprocess
import tempfile

import onnx

from facedet.detectors.base import Detector
from facedet.export.formats import metadata
from facedet.export.formats.base import RAW, Kind, NotConvertibleError, details
from facedet.export.formats.onnx import raw_model
from facedet.quantization.network import QuantizableNetwork
from facedet.runtime import ncnn_file
from facedet.runtime.detector import FaceDetector
from facedet.runtime.ncnn_file import Layer

INPUT = "image"
_MINUTES = 5


class NCNN:
    """A formats.base.Format."""

    suffixes = (".param", ".bin")

    def kinds(self, detector: Detector) -> list[Kind]:
        return [Kind(precision, RAW) for precision in ("float32", "float16")]

    def hardware(self, kind: Kind) -> str:
        return "CPU with ncnn" + (", half the size" if kind.precision == "float16" else "; the reference")

    def write(self, detector: Detector, quantizable: QuantizableNetwork, kind: Kind) -> dict[str, bytes]:
        """Input 'image', w x h x 3, RGB 0..255 as Mat::from_pixels gives it; normalization is inside.

        Outputs, in fractions of the input, a row of the Mat each: raw_boxes (ycenter, xcenter, height, width), raw_scores, and
        raw_landmarks (y, x of each point).
        NotConvertibleError names the layer that ncnn has no form of.
        """
        model = raw_model(detector, quantizable)
        _take_planes(model.graph)
        names = [output.name for output in model.graph.output]
        said, text, weights = _converted(model, detector.input.size, kind.precision == "float16")
        layers = _renamed(ncnn_file.parse(text), {"in0": INPUT} | {f"out{i}": name for i, name in enumerate(names)})
        layers = [_padding(layer, said) if layer.kind == "Pad" else layer for layer in layers]
        _check(layers, weights, said)
        height, width = detector.input.size
        layers = [
            layer._replace(options={"0": f"{width}", "1": f"{height}", "2": "3"}) if layer.kind == "Input" else layer for layer in layers
        ]
        param = ncnn_file.write(layers).encode()
        told = details(detector, kind) | {"outputs": names, "digest": ncnn_file.digest(param, weights)}
        return {".param": param, ".bin": metadata.append_files(weights, told)}

    def open(self, path: pathlib.Path, score_threshold: float) -> FaceDetector:
        return FaceDetector(path, score_threshold)  # on a busy machine threads of ncnn that wait for each other take minutes


def _take_planes(graph: onnx.GraphProto) -> None:
    """Image [1, 3, H, W], as ncnn has pictures, in place of [1, H, W, 3]: the transposition that begins the graph is gone."""
    (given,) = graph.input
    (first,) = [node for node in graph.node if given.name in node.input]
    graph.node.remove(first)
    for node in graph.node:
        node.input[:] = [given.name if name == first.output[0] else name for name in node.input]
    sides = [dimension.dim_value for dimension in given.type.tensor_type.shape.dim]
    for dimension, side in zip(given.type.tensor_type.shape.dim, (1, 3, *sides[1:3]), strict=True):
        dimension.dim_value = side


def _converted(model: onnx.ModelProto, size: tuple[int, int], half: bool) -> tuple[str, str, bytes]:
    """What pnnx says, the .param and the .bin that it writes."""
    spec = importlib.util.find_spec("pnnx")
    if spec is None:
        raise NotConvertibleError("ncnn files are made by pnnx, which is not installed: pip install --no-deps pnnx==20261020")
    program = pathlib.Path(spec.origin).parent / "pnnx"
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, pathlib.Path(folder) / "model.onnx")
        command = [str(program), "model.onnx", f"inputshape=[1,3,{size[0]},{size[1]}]", f"fp16={half:d}"]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=60 * _MINUTES)
        files = [pathlib.Path(folder) / f"model.ncnn{suffix}" for suffix in (".param", ".bin")]
        if run.returncode or not all(path.is_file() for path in files):
            raise NotConvertibleError(f"pnnx fails ({run.returncode}): {run.stderr.strip()[-300:] or 'it says nothing'}")
        return run.stdout + run.stderr, files[0].read_text(), files[1].read_bytes()


def _renamed(layers: list[Layer], names: dict[str, str]) -> list[Layer]:
    return [
        layer._replace(inputs=tuple(names.get(b, b) for b in layer.inputs), outputs=tuple(names.get(b, b) for b in layer.outputs))
        for layer in layers
    ]


def _padding(layer: Layer, said: str) -> Layer:
    """A Pad of ONNX, whose sizes pnnx tells and forgets, as ncnn's Padding of zeros."""
    told = dict(re.findall(rf"^ignore Pad {re.escape(layer.name)} param (\w+)=(\S+)", said, re.MULTILINE))
    pads = ast.literal_eval(told["pads"]) if re.fullmatch(r"\([0-9,]+\)", told.get("pads", "")) else ()
    if told.keys() != {"pads"} or len(pads) != 8 or pads[0] or pads[4]:
        raise NotConvertibleError(f"ncnn has no form of layer {layer.name}, a Pad of {told or 'what pnnx does not tell'}.")
    _, front, top, left, _, behind, bottom, right = pads
    options = {"0": top, "1": bottom, "2": left, "3": right, "7": front, "8": behind}
    return layer._replace(kind="Padding", options={key: str(value) for key, value in options.items() if value})


def _check(layers: list[Layer], weights: bytes, said: str) -> None:
    """Nothing may be left that pnnx passed over or ncnn does not know."""
    padded = {layer.name for layer in layers if layer.kind == "Padding"}
    for kind, name, option in re.findall(r"^ignore (\S+) (\S+) param (.*)", said, re.MULTILINE):
        if name not in padded:
            raise NotConvertibleError(f"ncnn has no form of layer {name}, {kind}: pnnx would leave out {option}.")
    try:
        count = ncnn_file.check(layers, weights)
    except ncnn_file.NcnnFileError as error:
        raise NotConvertibleError(f"What pnnx makes of the network is none that ncnn runs here: {error}") from error
    if count != len(weights):
        raise NotConvertibleError(f"pnnx wrote {len(weights):,} bytes of weights, the layers of its .param take {count:,}.")
