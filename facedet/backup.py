"""Checkpoints copied to a folder that may fail at any moment, such as a mounted Drive: whole, or not at all."""

import hashlib
import json
import os
import pathlib
import re
import shutil

from facedet import run_record

MARK = "complete.json"  # {file: SHA-256}, written last
_STATE = "checkpoint"  # TensorFlow's own note of the newest checkpoint, in a folder of checkpoints


def newest_step(model_dir: str | os.PathLike) -> int | None:
    """The step of the newest whole checkpoint of a training run, or None."""
    path = pathlib.Path(model_dir) / _STATE
    found = re.search(r'^model_checkpoint_path: "(?:.*/)?ckpt-(\d+)"', path.read_text(), re.MULTILINE) if path.is_file() else None
    return int(found[1]) if found else None


def save(model_dir: str | os.PathLike, backup_dir: str | os.PathLike, keep: int = 2) -> int | None:
    """Copies a run's newest checkpoint, with its best one, to backup_dir/ckpt-N; returns N, or None where there is nothing new.

    The copy has a temporary name until it was read back and fits. Older copies go when it is there, all but `keep`.
    Raises OSError where the folder fails; what was whole before stays whole.
    """
    model_dir, backup_dir = pathlib.Path(model_dir), pathlib.Path(backup_dir)
    step = newest_step(model_dir)
    if step is None:
        return None
    target = backup_dir / f"ckpt-{step}"
    if (target / MARK).is_file():
        return None
    temporary = backup_dir / f".ckpt-{step}.tmp"
    files = [
        *model_dir.glob(f"ckpt-{step}.*"),
        model_dir / "pipeline.config",
        model_dir / run_record.NAME,
        *(model_dir / "best").glob("c*"),
    ]
    try:
        backup_dir.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        sums = {}
        for file in files:
            if file.is_file():
                name = str(file.relative_to(model_dir))
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, temporary / name)
                sums[name] = _sha256(file)
        damaged = [name for name, expected in sums.items() if _sha256(temporary / name) != expected]
        if damaged:
            raise OSError(f"{temporary}: {damaged[0]} reads back differently from what was written")
        (temporary / MARK).write_text(json.dumps({"step": step, "sha256": sums}, indent=1) + "\n")
        shutil.rmtree(target, ignore_errors=True)  # one without its mark
        os.replace(temporary, target)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in _copies(backup_dir)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return step


def restore(backup_dir: str | os.PathLike, model_dir: str | os.PathLike, say=print) -> int | None:
    """Brings the newest whole copy to model_dir, unless that holds a later step; returns the step that a run goes on from.

    Copies without their mark, or whose checksums differ, are named and passed over.
    """
    backup_dir, model_dir = pathlib.Path(backup_dir), pathlib.Path(model_dir)
    local = newest_step(model_dir)
    for copy in _copies(backup_dir):
        step = _step_of(copy)
        if local is not None and local >= step:
            say(f"{model_dir} holds step {local}, {backup_dir} nothing newer: going on from the local one.")
            return local
        try:
            sums = json.loads((copy / MARK).read_text())["sha256"]
            fault = next((name for name, expected in sums.items() if _sha256(copy / name) != expected), None)
        except (OSError, ValueError, KeyError) as error:
            fault = error
        if fault is not None:
            say(f"{copy} is not whole ({fault}): passed over.")
            continue
        for name in sums:
            (model_dir / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy / name, model_dir / name)
        state = model_dir / f".{_STATE}.tmp"
        state.write_text(f'model_checkpoint_path: "ckpt-{step}"\nall_model_checkpoint_paths: "ckpt-{step}"\n')
        os.replace(state, model_dir / _STATE)
        say(f"Going on from step {step}, copied from {copy}.")
        return step
    if local is not None:
        say(f"{backup_dir} holds no whole checkpoint: going on from step {local} of {model_dir}.")
    else:
        say(f"Neither {backup_dir} nor {model_dir} holds a checkpoint: starting from the beginning.")
    return local


def _step_of(copy: pathlib.Path) -> int:
    return int(copy.name.removeprefix("ckpt-"))


def _copies(backup_dir: pathlib.Path) -> list[pathlib.Path]:
    """Newest first."""
    found = [path for path in backup_dir.glob("ckpt-*") if path.is_dir() and path.name.removeprefix("ckpt-").isdigit()]
    return sorted(found, key=_step_of, reverse=True)


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
