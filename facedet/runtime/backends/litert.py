""".tflite by LiteRT on the CPU."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from facedet.runtime import model_file
from facedet.runtime.backends import packed_details
from facedet.runtime.backends.base import BackendError, Output


class LiteRT:
    """A Backend. The file is checked before LiteRT opens it (facedet.runtime.model_file), for LiteRT trusts what it reads."""

    suffixes = (".tflite",)

    @staticmethod
    def read_details(files: dict[str, bytes]) -> bytes:
        """From the zip that an exported .tflite ends with."""
        return packed_details.read(files[".tflite"], "scripts/export_tflite.py")

    def __init__(self, files: dict[str, bytes], num_threads: int):
        data = files[".tflite"]
        try:
            model_file.check(data)
            self._interpreter = Interpreter(model_content=data, num_threads=num_threads)  # the bytes that were checked
            self._interpreter.allocate_tensors()
            (taken,), given = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (model_file.ModelFileError, ValueError, RuntimeError) as error:
            raise BackendError(str(error)) from error
        self._input, self._input_dtype = taken["index"], taken["dtype"]
        self.input_size = tuple(map(int, taken["shape"][1:3]))
        self._indices = {output["name"]: output["index"] for output in given}
        self.outputs = {output["name"]: Output(tuple(map(int, output["shape"])), np.dtype(output["dtype"])) for output in given}

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        interpreter = self._interpreter
        interpreter.set_tensor(self._input, image[None].astype(self._input_dtype))
        try:
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"the network fails: {error}") from error
        return {name: interpreter.get_tensor(index) for name, index in self._indices.items()}
