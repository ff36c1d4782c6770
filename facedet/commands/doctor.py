"""Says in words what is wrong with this machine for facedet, and how to mend it. Needs nothing installed.

    facedet doctor [--data_dir DIR]

In a clone of the repository it asks for what training needs, elsewhere for what detecting needs.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements.txt"  # there in a clone only
DEVICES = pathlib.Path("/dev")
PROCESSOR = pathlib.Path("/proc/cpuinfo")
GIB = 2**30


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="facedet doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data_dir", help="WIDER FACE, to be looked at as well")
    args = parser.parse_args(argv)
    checks = [_python(), _packages() if REQUIREMENTS.is_file() else _packages_to_detect(), _opencv(), _camera(), _gpu(), _node()]
    if REQUIREMENTS.is_file():
        checks += [_precision(), _disk(), _memory()]
    if args.data_dir:
        checks.append(_data(pathlib.Path(args.data_dir)))
    faults = 0
    for name, found, mend in checks:
        print(f"{'ok   ' if mend is None else 'WRONG'} {name}: {found}")
        if mend:
            faults += 1
            print(f"      {mend}")
    print("Nothing is wrong." if not faults else f"{faults} of {len(checks)} checks ask for something.")
    return 1 if faults else 0


def _python():
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info[:2] in ((3, 11), (3, 12)) or (sys.version_info >= (3, 11) and not REQUIREMENTS.is_file()):
        return "Python", found, None
    mend = "TensorFlow 2.20 with the Object Detection API needs Python 3.11 or 3.12: install one, then make PYTHON=/path/to/it demo"
    return "Python", found, mend


def _packages():
    wrong, count = [], 0
    for line in REQUIREMENTS.read_text().splitlines():
        requirement, _, marker = line.partition(";")
        if "==" not in requirement or line.startswith("#"):
            continue
        if marker and ("<" in marker and ">=" not in marker) != (sys.version_info[:2] < (3, 12)):
            continue
        name, _, wanted = requirement.strip().partition("==")
        count += 1
        found = _version(name)
        if found != wanted:
            wrong.append(f"{name} {found or 'absent'} (wanted {wanted})")
    if not wrong:
        return "packages", f"all {count} as pinned", None
    some = ", ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
    return "packages", some, "Run: make demo (it makes .venv), or in an environment of your own: pip install --no-deps -r requirements.txt"


def _packages_to_detect():
    try:
        wanted = [line for line in importlib.metadata.requires("facedet") or () if "extra" not in line]
    except importlib.metadata.PackageNotFoundError:
        return "packages", "this facedet is neither a clone nor an installed package", "Run in a clone: pip install ."
    absent = [name for name in (re.match(r"[\w.-]+", line)[0] for line in wanted) if _version(name) is None]
    if absent:
        return "packages", f"{', '.join(absent)} absent", f"Run: pip install {' '.join(absent)}"
    return "packages", f"all {len(wanted)} that detecting needs", None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _opencv():
    """opencv-python and opencv-python-headless write the same files: the last one installed is imported, whatever pip lists."""
    found = importlib.util.find_spec("cv2")
    version = pathlib.Path(found.origin).with_name("version.py") if found and found.origin else None
    if version is None or not version.is_file():
        if not REQUIREMENTS.is_file():
            return "OpenCV", "absent; films and the webcam need it: pip install opencv-python-headless", None
        return "OpenCV", "absent", "Run: pip install --no-deps -r requirements.txt"
    if "headless = True" in version.read_text():
        return "OpenCV", f"headless, in {version.parent}", None
    mend = "Run: pip uninstall -y opencv-python opencv-python-headless && pip install --no-deps -r requirements.txt"
    return "OpenCV", f"{version.parent} is opencv-python's, which needs a screen's libraries (libGL)", mend


def _camera():
    """Only looked for, not opened: that would light its lamp, or ask for a permission."""
    if importlib.util.find_spec("cv2") is None:
        return "camera", "not looked for: the webcam needs OpenCV", None
    if not sys.platform.startswith("linux"):
        return "camera", "this system tells of it when it is opened: facedet webcam", None
    found = sorted(str(path) for path in DEVICES.glob("video*"))
    if not found:
        return "camera", f"none (there is no {DEVICES / 'video*'}); only the webcam needs one, and it takes films as well", None
    if any(os.access(path, os.R_OK | os.W_OK) for path in found):
        return "camera", ", ".join(found), None
    return "camera", f"{', '.join(found)} may not be opened by this user", "Run: sudo usermod -aG video $USER, and log in again."


def _gpu():
    try:
        said = _said("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    except (OSError, subprocess.SubprocessError) as error:
        why = (getattr(error, "stdout", None) or str(error)).strip().splitlines()[0]
        return "GPU", f"nvidia-smi fails: {why}", "Mend the NVIDIA driver, or train on the CPU: CUDA_VISIBLE_DEVICES= before the command."
    if said is None:
        return "GPU", "none (there is no nvidia-smi): the CPU trains", None
    found = "; ".join(said.splitlines()) or "none"
    if said and REQUIREMENTS.is_file() and _version("nvidia-cudnn-cu12") is None:
        found += "; TensorFlow takes it with requirements-gpu.txt, whose first line says how"
    return "GPU", found, None


def _precision():
    """Which of a training's precisions the device has arithmetic for."""
    try:
        said = _said("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
        capability = min(map(float, said.split())) if said else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return "precision", "float32; nvidia-smi does not tell what else the GPU computes in", None
    if capability is not None:
        has = {"mixed_float16": capability >= 7, "mixed_bfloat16": capability >= 8}
    else:
        flags = set(PROCESSOR.read_text().split()) if PROCESSOR.is_file() else set()
        has = {"mixed_float16": "avx512_fp16" in flags, "mixed_bfloat16": bool(flags & {"avx512_bf16", "amx_bf16"})}
    found = " and ".join(name for name, there in has.items() if there)
    return (
        "precision",
        f"float32; {f'--precision {found} as well' if found else 'no arithmetic of 16 bits'}",
        None,
    )


def _node():
    try:
        said = _said("node", "--version")
    except (OSError, subprocess.SubprocessError):
        said = "v0 (it fails)"
    if said is None:
        return "Node", "absent; only the page needs it (make web)", None
    number = re.search(r"\d+", said)
    return "Node", said if number and int(number[0]) >= 18 else f"{said}; the page needs 18 or later (make web)", None


def _said(program: str, *arguments: str) -> str | None:
    """What a program prints; None where there is none.  Raises OSError or SubprocessError where it fails or hangs."""
    if not shutil.which(program):
        return None
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20, check=True).stdout.strip()


def _disk():
    free = shutil.disk_usage(ROOT).free
    mend = None if free > 8 * GIB else "The environment takes 4 GiB, the records of WIDER FACE 2 GiB: free some space, or move the project."
    return "disk", f"{free / GIB:.0f} GiB free", mend


def _memory():
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, AttributeError):
        return "memory", "unknown on this system", None
    mend = None if total > 7 * GIB else "Training takes about 6 GiB at batch_size 32: set train_config.batch_size to 8 in the config."
    return "memory", f"{total / GIB:.0f} GiB, {os.cpu_count()} cores", mend


def _data(path: pathlib.Path):
    wanted = {split: (path / f"WIDER_{split}" / "images", path / f"WIDER_{split}.zip") for split in ("train", "val")}
    absent = [str(folder) for folder, archive in wanted.values() if not folder.is_dir() and not archive.is_file()]
    lists = path / "wider_face_split"
    if not lists.is_dir() and not lists.with_suffix(".zip").is_file():
        absent.append(str(lists))
    if not (path / "eval_gt" / "wider_hard_val.mat").is_file():
        absent.append(f"{path / 'eval_gt'} (from eval_tools.zip, folder ground_truth)")
    if not absent:
        return "data", f"{path} holds WIDER FACE", None
    mend = "Download what is missing from the WIDER FACE page; folders or the zips as they are."
    return "data", f"missing: {', '.join(absent)}", mend


if __name__ == "__main__":
    sys.exit(main())
