"""Who may know whom (facedet's modules know only what stands before them), read from the imports."""

import ast
import os
import pathlib
import subprocess
import sys

from conftest import ROOT, run

FACEDET = ROOT / "facedet"
# Each package knows itself and those before it; errors and keras2 are everyone's.
ORDER = (
    "runtime", "data", "od_api", "recipe", "augment", "layers", "assign", "detectors", "quantization", "weights", "evaluation", "training", "export",
    "commands",
)  # fmt: skip
LIGHT = ("runtime", "data/widerface", "data/mat_file", "data/official_files", "data/jpeg", "evaluation/protocol", "evaluation/dataset",
         "evaluation/report", "evaluation/scoring", "evaluation/landmarks", "evaluation/rotation", "evaluation/false_faces", "evaluation/ties",
         "evaluation/groups", "training/run_record", "training/backup")  # fmt: skip


def imports_of(path: pathlib.Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(path: pathlib.Path) -> str:
    return path.relative_to(FACEDET).parts[0].removesuffix(".py")


def modules():
    return [(part_of(path), path) for path in sorted(FACEDET.rglob("*.py"))]


def test_only_od_api_imports_object_detection():
    for part, path in modules():
        if part != "od_api":
            assert not [name for name in imports_of(path) if name.startswith("object_detection")], path


def test_keras_comes_from_one_place():
    """It is Keras 2 only for those who ask there first, and a process that only detects keeps its own."""
    for part, path in modules():
        if part != "keras2":
            assert not [name for name in imports_of(path) if name.startswith(("tensorflow.keras", "tf_keras", "keras"))], path


def test_importing_facedet_leaves_another_keras_alone():
    code = "import os, facedet; from facedet.data import records; from facedet.runtime import boxes; assert 'TF_USE_LEGACY_KERAS' not in os.environ"
    environment = {**os.environ}
    environment.pop("TF_USE_LEGACY_KERAS", None)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


def test_light_modules_import_no_tensorflow():
    for _, path in modules():
        if path.relative_to(FACEDET).as_posix().startswith(LIGHT):
            heavy = [name for name in imports_of(path) if name.split(".")[0] in ("tensorflow", "tf_keras", "object_detection")]
            assert not heavy, (path, heavy)


def test_packages_know_only_those_before_them():
    for part, path in modules():
        if path.parent == FACEDET:
            continue
        known = {name.split(".")[1] for name in imports_of(path) if name.startswith("facedet.")} & set(ORDER)
        wrong = {other for other in known if other != part and ORDER.index(other) > ORDER.index(part)}
        assert not wrong, (path, wrong)


def test_importing_facedet_brings_no_tensorflow():
    code = "import sys, facedet; assert not {'tensorflow', 'tf_keras', 'object_detection', 'scipy', 'cv2'} & set(sys.modules)"
    run("-c", code)


def test_scripts_hold_no_machine_paths():
    for path in [*ROOT.glob("scripts/*.py"), *ROOT.glob("dataset_tools/*.py"), *FACEDET.rglob("*.py")]:
        assert "/work/" not in path.read_text() and "/root/" not in path.read_text(), path
