"""Says in words what is wrong with this machine for facedet, and how to mend it. Needs nothing installed.

python scripts/doctor.py [--data_dir DIR]
"""

import argparse
import importlib.metadata
import importlib.util
import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
GIB = 2**30


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--data_dir", help="WIDER FACE, to be looked at as well")
    args = parser.parse_args(argv)
    checks = [_python(), _packages(), _opencv(), _disk(), _memory()] + ([_data(pathlib.Path(args.data_dir))] if args.data_dir else [])
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
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return "Python", found, None
    mend = "TensorFlow 2.20 with the Object Detection API needs Python 3.11 or 3.12: install one, then make PYTHON=/path/to/it demo"
    return "Python", found, mend


def _packages():
    wrong, count = [], 0
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        requirement, _, marker = line.partition(";")
        if "==" not in requirement or line.startswith("#"):
            continue
        if marker and ("<" in marker and ">=" not in marker) != (sys.version_info[:2] < (3, 12)):
            continue
        name, _, wanted = requirement.strip().partition("==")
        count += 1
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = None
        if found != wanted:
            wrong.append(f"{name} {found or 'absent'} (wanted {wanted})")
    if not wrong:
        return "packages", f"all {count} as pinned", None
    some = ", ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
    return "packages", some, "Run: make demo (it makes .venv), or in an environment of your own: pip install --no-deps -r requirements.txt"


def _opencv():
    """opencv-python and opencv-python-headless write the same files: the last one installed is imported, whatever pip lists."""
    found = importlib.util.find_spec("cv2")
    version = pathlib.Path(found.origin).with_name("version.py") if found and found.origin else None
    if version is None or not version.is_file():
        return "OpenCV", "absent", "Run: pip install --no-deps -r requirements.txt"
    if "headless = True" in version.read_text():
        return "OpenCV", f"headless, in {version.parent}", None
    mend = "Run: pip uninstall -y opencv-python opencv-python-headless && pip install --no-deps -r requirements.txt"
    return "OpenCV", f"{version.parent} is opencv-python's, which needs a screen's libraries (libGL)", mend


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
