"""Checkpoints on a folder that fails."""

import json
import pathlib

import pytest
from conftest import run

from facedet.training import backup


def checkpoint(model_dir: pathlib.Path, step: int) -> None:
    """What a training run leaves after `step`."""
    (model_dir / "best").mkdir(parents=True, exist_ok=True)
    (model_dir / f"ckpt-{step}.index").write_bytes(b"index %d" % step)
    (model_dir / f"ckpt-{step}.data-00000-of-00001").write_bytes(b"weights %d" % step * 1000)
    (model_dir / "best" / "ckpt-1.index").write_bytes(b"best")
    (model_dir / "training.json").write_text(json.dumps({"steps": step}))
    (model_dir / "checkpoint").write_text(f'model_checkpoint_path: "ckpt-{step}"\nall_model_checkpoint_paths: "ckpt-{step}"\n')


def test_the_newest_goes_there_and_comes_back(tmp_path):
    model, drive, other = tmp_path / "model", tmp_path / "drive", tmp_path / "other"
    assert backup.save(model, drive) is None  # nothing yet
    for step in (100, 200, 300):
        checkpoint(model, step)
        assert backup.save(model, drive) == step
        assert backup.save(model, drive) is None  # once is enough
    assert sorted(path.name for path in drive.iterdir()) == ["ckpt-200", "ckpt-300"]
    assert backup.restore(drive, other, say=lambda text: None) == 300
    assert backup.newest_step(other) == 300
    for name in ("ckpt-300.index", "ckpt-300.data-00000-of-00001", "best/ckpt-1.index", "training.json"):
        assert (other / name).read_bytes() == (model / name).read_bytes()


def test_half_copied_and_damaged_copies_are_passed_over(tmp_path):
    model, drive, said = tmp_path / "model", tmp_path / "drive", []
    for step in (100, 200):
        checkpoint(model, step)
        backup.save(model, drive, keep=5)
    (drive / "ckpt-200" / "ckpt-200.index").write_bytes(b"damaged")
    (drive / "ckpt-300").mkdir()  # taken away while it was copied
    (drive / ".ckpt-400.tmp").mkdir()
    assert backup.restore(drive, tmp_path / "other", said.append) == 100
    assert [("ckpt-300 is not whole" in s, "ckpt-200 is not whole (ckpt-200.index)" in s) for s in said[:2]] == [
        (True, False),
        (False, True),
    ]
    assert "Going on from step 100" in said[2]


def test_a_later_local_step_wins(tmp_path):
    model, drive = tmp_path / "model", tmp_path / "drive"
    checkpoint(model, 100)
    backup.save(model, drive)
    checkpoint(model, 150)
    assert backup.restore(drive, model, say=lambda text: None) == 150
    assert backup.restore(tmp_path / "none", model, say=lambda text: None) == 150
    assert backup.restore(tmp_path / "none", tmp_path / "nothing", say=lambda text: None) is None


def test_a_folder_that_fails_leaves_what_was_whole(tmp_path, monkeypatch):
    model, drive = tmp_path / "model", tmp_path / "drive"
    checkpoint(model, 100)
    backup.save(model, drive)
    checkpoint(model, 200)
    copied = []

    def full(source, target):
        copied.append(source)
        if len(copied) > 1:
            raise OSError(28, "No space left on device")
        pathlib.Path(target).write_bytes(pathlib.Path(source).read_bytes())

    monkeypatch.setattr(backup.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        backup.save(model, drive)
    assert [path.name for path in drive.iterdir()] == ["ckpt-100"]
    monkeypatch.undo()
    drive_gone = tmp_path / "file"
    drive_gone.write_text("not a folder")
    with pytest.raises(OSError):
        backup.save(model, drive_gone)
    assert backup.save(model, drive) == 200


def test_a_run_does_not_begin_again_while_the_backup_holds_its_steps(tmp_path, monkeypatch):
    """A full local disk: the command stops, names both folders, and no final name holds half a file."""
    model, drive, other = tmp_path / "model", tmp_path / "drive", tmp_path / "other"
    checkpoint(model, 160)
    backup.save(model, drive)

    def full(source, target):
        pathlib.Path(target).write_bytes(pathlib.Path(source).read_bytes()[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup.shutil, "copyfile", full)
    with pytest.raises(backup.BackupError, match=f"step 160 in {drive}.* copied to {other}.*No space"):
        backup.restore(drive, other)
    assert not [path for path in other.rglob("*") if path.is_file()]
    monkeypatch.undo()
    assert backup.restore(drive, other, say=lambda text: None) == 160


def test_the_command_stops_where_the_copy_cannot_be_brought(tmp_path):
    checkpoint(tmp_path / "model", 160)
    backup.save(tmp_path / "model", tmp_path / "drive")
    (tmp_path / "file").write_text("no folder")
    command = ["scripts/train_with_backup.py", "--backup_dir", tmp_path / "drive", "--", f"--model_dir={tmp_path / 'file'}"]
    said = run(*command, code=1)
    assert said.startswith("error: step 160 in ") and str(tmp_path / "file") in said and "Traceback" not in said


def _mark(copy: pathlib.Path, **changes) -> None:
    mark = json.loads((copy / backup.MARK).read_text())
    (copy / backup.MARK).write_text(json.dumps({**mark, **changes}))


def test_a_mark_leads_nowhere_else(tmp_path):
    model, drive = tmp_path / "model", tmp_path / "drive"
    checkpoint(model, 100)
    backup.save(model, drive)
    (drive / "evil").write_text("evil")
    copy, digest = drive / "ckpt-100", backup._sha256(drive / "evil")
    sums = json.loads((copy / backup.MARK).read_text())["sha256"]
    for name in ("../evil", str(drive / "evil"), "best/../../evil"):
        _mark(copy, sha256={**sums, name: digest})
        said = []
        assert backup.restore(drive, tmp_path / "deep" / "other", said.append) is None
        assert "is not whole" in said[0]
        assert not list(tmp_path.glob("**/deep/**/evil")), name


@pytest.mark.parametrize(
    "mark", ["", "[]", "{}", "7", '{"sha256": 3}', '{"sha256": {"a": 1}}', '{"step": 7, "sha256": {}}', "\xff", "[" * 9999]
)
def test_marks_of_another_shape_are_passed_over(tmp_path, mark):
    model, drive, said = tmp_path / "model", tmp_path / "drive", []
    for step in (100, 200):
        checkpoint(model, step)
        backup.save(model, drive)
    (drive / "ckpt-200" / backup.MARK).write_bytes(mark.encode("latin-1"))
    assert backup.restore(drive, tmp_path / "other", said.append) == 100
    assert "ckpt-200 is not whole" in said[0]


def test_a_step_whose_files_are_gone_is_none(tmp_path):
    """TensorFlow begins at step 0 where the `checkpoint` file names files that are not there: the backup is newer."""
    model, drive = tmp_path / "model", tmp_path / "drive"
    checkpoint(model, 100)
    backup.save(model, drive)
    for path in model.glob("ckpt-*"):
        path.unlink()
    assert backup.newest_step(model) is None
    assert backup.restore(drive, model, say=lambda text: None) == backup.newest_step(model) == 100


def test_what_a_killed_copy_left_goes(tmp_path):
    checkpoint(tmp_path / "model", 100)
    (tmp_path / "drive" / ".ckpt-60.tmp").mkdir(parents=True)
    backup.save(tmp_path / "model", tmp_path / "drive")
    assert [path.name for path in (tmp_path / "drive").iterdir()] == ["ckpt-100"]
