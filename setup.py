"""What pyproject.toml cannot say: the built package takes two detectors along from exported_models/, which stays their only place."""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("ssd_mobilenet_v2_quantized_224x224_widerface", "ssd_mobilenet_v2_narrow_quantized_224x224_widerface")


class BuildWithDetectors(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:  # a clone finds its own
            for source, target in self._files():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode=1):
        return [*super().get_outputs(include_bytecode), *(str(target) for _, target in self._files())]

    def _files(self):
        for name in SHIPPED:
            file = f"{name}_int8.tflite"
            yield pathlib.Path("exported_models", name, file), pathlib.Path(self.build_lib, "facedet", "models", file)


setup(cmdclass={"build_py": BuildWithDetectors})
