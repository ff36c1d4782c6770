"""requirements-gpu.txt pins what the installed TensorFlow asks for on a GPU, no more and no less."""

import importlib.metadata

from conftest import ROOT
from packaging.requirements import Requirement


def test_the_pins_are_those_of_tensorflows_extra():
    lines = (ROOT / "requirements-gpu.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    asked = [Requirement(line) for line in importlib.metadata.requires("tensorflow")]
    wanted = {r.name: r.specifier for r in asked if r.marker and r.marker.evaluate({"extra": "and-cuda"}) and r.name.startswith("nvidia-")}
    assert set(pins) == set(wanted) and len(pins) > 8
    for name, version in pins.items():
        assert wanted[name].contains(version), (name, version, str(wanted[name]))
