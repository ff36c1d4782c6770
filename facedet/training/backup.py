"""Checkpoints copied to a folder that may fail at any moment, such as a mounted Drive: whole, or not at all."""

import hashlib
import json
import os
import pathlib
import re
import shutil

from facedet.training import run_record

MARK = "complete.json"  # {"step": N, "sha256": {file: digest}}, written last
_STATE = "checkpoint"  # TensorFlow's own note of the newest checkpoint, in a folder of checkpoints
_CHECKPOINT = r"ckpt-\d+\.(index|data-\d{5}-of-\d{5})"
_NAME = re.compile(rf"(best/)?{_CHECKPOINT}|best/{_STATE}|pipeline\.config|{re.escape(run_record.NAME)}", re.ASCII)  # what a copy holds


class BackupError(Exception):
    """A backup that should be gone on from and cannot be now: the message says from where to where, why, and the way out."""


def newest_step(model_dir: str | os.PathLike) -> int | None:
    """The step of the newest checkpoint of a training run that is there, or None."""
    path = pathlib.Path(model_dir) / _STATE
    text = path.read_text(errors="replace") if path.is_file() else ""
    found = re.search(r'^model_checkpoint_path: "(?:.*/)?ckpt-(\d+)"', text, re.MULTILINE | re.ASCII)
    # TensorFlow starts afresh where the noted file is missing
    return int(found[1]) if found and path.with_name(f"ckpt-{found[1]}.index").is_file() else None


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
    beside = (model_dir / "pipeline.config", model_dir / run_record.NAME)
    found = [*model_dir.glob(f"ckpt-{step}.*"), *beside, *(model_dir / "best").glob("c*")]
    files = {file.relative_to(model_dir).as_posix(): file for file in found if file.is_file()}
    try:
        backup_dir.mkdir(parents=True, exist_ok=True)
        for left in backup_dir.glob(".ckpt-*.tmp"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        sums = {}
        for name, file in files.items():
            if _NAME.fullmatch(name):
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

    Copies without their mark, or whose checksums differ, are named and passed over. Raises BackupError where one that may be
    whole cannot be read or written now: beginning again would lose its steps. No file is then half written under its name.
    """
    backup_dir, model_dir = pathlib.Path(backup_dir), pathlib.Path(model_dir)
    local = newest_step(model_dir)
    for copy in _copies(backup_dir):
        step = _step_of(copy)
        if local is not None and local >= step:
            say(f"{model_dir} holds step {local}, {backup_dir} nothing newer: going on from the local one.")
            return local
        try:
            sums = _marked(copy)
            fault = next((name for name, expected in sums.items() if _sha256(copy / name) != expected), None)
        except (FileNotFoundError, ValueError) as error:
            fault = error
        except OSError as error:
            raise BackupError(_FAILED.format(step, copy, "read", error)) from error
        if fault is not None:
            say(f"{copy} is not whole ({fault}): passed over.")
            continue
        try:
            _bring(copy, sums, model_dir)
        except OSError as error:
            raise BackupError(_FAILED.format(step, copy, f"copied to {model_dir}", error)) from error
        say(f"Going on from step {step}, copied from {copy}.")
        return step
    if local is not None:
        say(f"{backup_dir} holds no whole checkpoint: going on from step {local} of {model_dir}.")
    else:
        say(f"Neither {backup_dir} nor {model_dir} holds a checkpoint: starting from the beginning.")
    return local


_FAILED = "step {} in {} could not be {} ({}). Repeat the command when that is mended; without the copy, name another folder for backups."


def _marked(copy: pathlib.Path) -> dict[str, str]:
    """{file: SHA-256} of a copy's mark. ValueError where it is not as save() writes it, so that no name leads out of the folder."""
    try:
        mark = json.loads((copy / MARK).read_bytes())
        sums = mark["sha256"]
        sound = all(_NAME.fullmatch(name) and isinstance(expected, str) for name, expected in sums.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{MARK} is damaged: {error!r}") from error
    if not sound or mark.get("step") != _step_of(copy) or f"{copy.name}.index" not in sums:
        raise ValueError(f"{MARK} is not that of a checkpoint of step {_step_of(copy)}")
    return sums


def _bring(copy: pathlib.Path, sums: dict[str, str], model_dir: pathlib.Path) -> None:
    """Copies beside the final names, checks, and only then renames; the note that makes the checkpoint the newest comes last."""
    temporary = model_dir / ".restore.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for name, expected in sums.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy / name, temporary / name)
            if _sha256(temporary / name) != expected:
                raise OSError(f"{name} reads back differently from what was written")
        (temporary / _STATE).write_text(f'model_checkpoint_path: "{copy.name}"\nall_model_checkpoint_paths: "{copy.name}"\n')
        for name in (*sums, _STATE):
            (model_dir / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / name, model_dir / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _step_of(copy: pathlib.Path) -> int:
    return int(copy.name.removeprefix("ckpt-"))


def _copies(backup_dir: pathlib.Path) -> list[pathlib.Path]:
    """Newest first."""
    found = [path for path in backup_dir.glob("ckpt-*") if re.fullmatch(r"ckpt-\d+", path.name, re.ASCII) and path.is_dir()]
    return sorted(found, key=_step_of, reverse=True)


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
