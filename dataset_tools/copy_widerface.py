#!/usr/bin/env python3
"""Brings WIDER FACE from a slow folder (a mounted Drive) to the local disk, once, as the zips or folders that are there.

    python dataset_tools/copy_widerface.py --from_dir DRIVE --to_dir data/WIDER

What is there already, whole, is left. The zips are read in place by the converter; eval_tools.zip is unpacked.
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from facedet.data import widerface

PARTS = ("WIDER_train", "WIDER_val", "wider_face_split")
LISTS = ("eval_gt", "eval_tools")
CHUNK = 2**22


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--from_dir", required=True)
    parser.add_argument("--to_dir", required=True)
    args = parser.parse_args(argv)
    source, target = pathlib.Path(args.from_dir), pathlib.Path(args.to_dir)
    try:
        target.mkdir(parents=True, exist_ok=True)
        absent = [part for part in PARTS if not _bring(source, target, part)]
        if absent:
            wanted = ", ".join(f"{part}.zip" for part in absent)
            print(
                f"error: {source} lacks {wanted} (or a folder of that name). Download them from the WIDER FACE page into it.",
                file=sys.stderr,
            )
            return 1
        if not any([_bring(source, target, part) for part in LISTS]):
            print(f"note: {source} has no eval_tools.zip: val will be scored as one set, not as Easy, Medium and Hard.")
        elif (target / "eval_tools.zip").is_file() and not (target / "eval_tools").is_dir():
            _unpack_lists(target / "eval_tools.zip", target / "eval_tools" / "ground_truth")
    except (OSError, widerface.WiderFaceError) as error:
        print(f"error: {error}. What was copied whole is kept; the same command goes on.", file=sys.stderr)
        return 1
    print(f"WIDER FACE is in {target}.")
    return 0


def _unpack_lists(archive: pathlib.Path, target: pathlib.Path) -> None:
    """The evaluation lists of eval_tools.zip, all or none. Raises WiderFaceError where it lacks one."""
    with widerface.open_zip(archive) as opened:
        found = {pathlib.PurePosixPath(name).name: name for name in opened.namelist()}
        absent = [name for name in widerface.EVAL_LISTS if name not in found]
        if absent:
            raise widerface.WiderFaceError(f"{archive} lacks {', '.join(absent)}: is it the official eval_tools.zip? Download it again.")
        lists = {name: widerface.read_member(opened, found[name]) for name in widerface.EVAL_LISTS}
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".unpacked") as directory:
        for name, content in lists.items():
            pathlib.Path(directory, name).write_bytes(content)
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(directory, target)


def _bring(source: pathlib.Path, target: pathlib.Path, part: str) -> bool:
    """Copies a part as zip or folder; False where the source has neither. Raises WiderFaceError for another zip of that name."""
    archive = source / f"{part}.zip"
    if archive.is_file():
        with widerface.open_zip(archive) as opened:  # another file of that name is found before gigabytes are copied
            if part in PARTS and not any(name.startswith(f"{part}/") for name in opened.namelist()):
                raise widerface.WiderFaceError(f"{archive} holds no folder {part}: is it the official file? Download it again.")
        _copy(archive, target / archive.name)
        return True
    if not (source / part).is_dir():
        return False
    for path in tqdm(sorted((source / part).rglob("*")), desc=part, unit="file"):
        if path.is_file():
            _copy(path, target / path.relative_to(source), show=False)
    return True


def _copy(source: pathlib.Path, target: pathlib.Path, show: bool = True) -> None:
    size = source.stat().st_size
    if target.is_file() and target.stat().st_size == size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        bar = tqdm(total=size, desc=source.name, unit="B", unit_scale=True, disable=not show)
        with bar, open(source, "rb") as read, open(temporary, "wb") as write:
            while chunk := read.read(CHUNK):
                write.write(chunk)
                bar.update(len(chunk))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
