"""Kills at every change of a file, and disks that fill: the final names hold the old whole set or the new one, never a mixture."""

import contextlib
import functools
import io
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys

from attacks import MODEL, ROOT, convert, load_script, make_checkpoint, same_files
from hypothesis import strategies as st
from kill_at import Changes
from torture import Attack, Lost, Refused, Silent

KILL_AT = pathlib.Path(__file__).with_name("kill_at.py")


def prepare(work: pathlib.Path) -> dict[str, Attack]:
    data, old, new = work / "sample", work / "old", work / "new"
    convert(data, new, min_face_px=30)
    moments, sizes = st.integers(1, 24), st.tuples(st.booleans(), st.integers(0, 1_200_000))
    return {
        "killed: converter": Attack(moments, functools.partial(_killed_converter, data, old, new)),
        "killed: backup": Attack(moments, _killed_backup),
        "killed: restore": Attack(moments, _killed_restore),
        "full disk: converter": Attack(sizes, functools.partial(_full_converter, data, old, new)),
        "full disk: backup": Attack(st.tuples(st.booleans(), st.integers(0, 30_000)), _full_backup),
        "full disk: model card": Attack(st.tuples(st.booleans(), st.integers(0, 40_000)), _full_card),
        "killed: trainer": Attack(_moments(25), functools.partial(_killed_trainer, data), takes_long=True),
        "killed: export": Attack(_moments(25), functools.partial(_killed_export, data), takes_long=True),
    }


def _moments(most: int) -> st.SearchStrategy:
    """kill_at.py's flags."""
    seconds = st.floats(0, 30).map(lambda seconds: ("--after", f"{seconds:.1f}"))
    return st.one_of(st.integers(1, most).map(lambda at: ("--at", str(at))), seconds)


def _killed(work, under: pathlib.Path, at: int) -> None:
    """Does `work` in a child process that is killed before its `at`-th change below `under`, if there are so many."""
    child = os.fork()
    if not child:
        code = 1
        try:
            Changes(under, at)
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if status and not os.WIFSIGNALED(status):
        raise RuntimeError("ended by an exception before it was killed")


def _killed_converter(data, old, new, at: int, folder: pathlib.Path) -> None:
    from facedet.data import records

    output = folder / "out"
    shutil.copytree(old, output)
    _killed(lambda: convert(data, output, min_face_px=30), folder, at)
    with contextlib.suppress(records.RecordsError):
        records.read_manifest(output)  # as every reader does first; it ends an exchange that had begun
    if not any(_final(output) == _final(whole) for whole in (old, new)):
        raise Lost(f"killed at change {at}: {sorted(p.name for p in folder.rglob('*'))}")
    convert(data, output, min_face_px=30)
    if not same_files(output, new):
        raise Silent(f"after a kill at change {at} the same command gives {sorted(p.name for p in output.rglob('*'))}")
    if left := [path.name for path in folder.iterdir() if path != output]:
        raise Silent(f"a kill at change {at} leaves {left} for ever")


def _final(folder: pathlib.Path) -> dict[str, bytes]:
    """What readers take: names that do not begin with a dot."""
    files = [path for path in folder.rglob("*") if path.is_file() and not any(n.startswith(".") for n in path.relative_to(folder).parts)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _killed_backup(at: int, folder: pathlib.Path) -> None:
    from facedet.training import backup

    model, drive = folder / "model", folder / "drive"
    make_checkpoint(model, 100)
    backup.save(model, drive)
    make_checkpoint(model, 200)
    _killed(lambda: backup.save(model, drive, keep=1), drive, at)
    if backup.restore(drive, folder / "other", say=lambda text: None) not in (100, 200):
        raise Lost("no whole copy is left")
    backup.save(model, drive, keep=1)
    if backup.restore(drive, folder / "third", say=lambda text: None) != 200:
        raise Lost("the same command does not complete the copy")
    if left := list(drive.glob(".*")):
        raise Silent(f"{left[0].name} stays for ever")


def _killed_restore(at: int, folder: pathlib.Path) -> None:
    from facedet.training import backup

    model, drive, other = folder / "model", folder / "drive", folder / "other"
    make_checkpoint(model, 200)
    backup.save(model, drive)
    make_checkpoint(other, 50)
    _killed(lambda: backup.restore(drive, other, say=lambda text: None), other, at)
    step = backup.newest_step(other)
    if step not in (50, 200) or not all((other / f"ckpt-{step}.{part}").is_file() for part in ("index", "data-00000-of-00001")):
        raise Lost(f"step {step} after a kill at change {at}")
    backup.restore(drive, other, say=lambda text: None)
    if backup.newest_step(other) != 200 or (other / "ckpt-200.index").read_bytes() != (model / "ckpt-200.index").read_bytes():
        raise Lost("the same command does not complete")


@contextlib.contextmanager
def _full_disk(folder: pathlib.Path, on_tmpfs: bool, size: int):
    """`folder` takes `size` bytes more: a tmpfs where one may be mounted, else no file grows past them."""
    mounted = False
    if on_tmpfs and os.geteuid() == 0 and sys.platform == "linux":
        content = folder.with_name(folder.name + ".content")
        shutil.copytree(folder, content)
        needed = sum(-(-path.stat().st_size // 4096) * 4096 + 8192 for path in content.rglob("*"))
        mount = ["mount", "-t", "tmpfs", "-o", f"size={needed + size + 4096}", "tmpfs", str(folder)]
        mounted = subprocess.run(mount, stderr=subprocess.DEVNULL).returncode == 0
        if mounted:
            shutil.copytree(content, folder, dirs_exist_ok=True)
        shutil.rmtree(content)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        if mounted:
            kept = folder.with_name(folder.name + ".kept")
            shutil.copytree(folder, kept)
            subprocess.run(["umount", "-l", str(folder)], check=True)
            shutil.copytree(kept, folder, dirs_exist_ok=True)
            shutil.rmtree(kept)


def _full_converter(data, old, new, case, folder: pathlib.Path) -> None:
    disk, said = folder / "disk", io.StringIO()
    disk.mkdir()
    shutil.copytree(old, disk / "out")
    command = load_script("dataset_tools/create_widerface_tf_record.py").main
    flags = ["--data_dir", data, "--output_dir", disk / "out", "--landmarks", data / "landmarks" / "train_label.txt", "--min_face_px", "30"]
    with _full_disk(disk, *case), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = command([*map(str, flags), "--num_workers", "1", "--allow_missing_images"])
    if not any(_final(disk / "out") == _final(whole) for whole in (old, new)):
        raise Lost(f"{sorted(p.name for p in disk.rglob('*'))}")
    _one_sentence(code, said.getvalue())


def _one_sentence(code: int, said: str) -> None:
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if code and len(errors) == 1 and "Traceback" not in said:
        raise Refused(errors[0])
    if code:
        raise RuntimeError(f"ended with {code}: {said[-2000:]}")


def _full_backup(case, folder: pathlib.Path) -> None:
    from facedet.training import backup

    model, drive, other = folder / "model", folder / "drive", folder / "other"
    drive.mkdir()
    make_checkpoint(model, 100)
    backup.save(model, drive)
    make_checkpoint(model, 200)
    failed = None
    with _full_disk(drive, *case):
        try:
            backup.save(model, drive)
        except OSError as error:  # what train_with_backup.py says in one sentence
            failed = error
    step = backup.restore(drive, other, say=lambda text: None)
    if step != (100 if failed else 200):
        raise Lost(f"step {step} came back")
    if failed:
        raise Refused(str(failed))


def _full_card(case, folder: pathlib.Path) -> None:
    from facedet.export import card

    out = folder / "out"
    out.mkdir()
    before = json.loads((MODEL.parent / "model_card.json").read_text())
    card.write(before, out)
    after = {**before, "step": before["step"] + 1}
    failed = None
    with _full_disk(out, *case):
        try:
            card.write(after, out)
        except OSError as error:
            failed = error
    with contextlib.suppress(ValueError):
        told = json.loads((out / "model_card.json").read_text())
        if told == (before if failed else after) or (failed and told == after):
            if (out / "model_card.md").read_text() not in (card.markdown(before), card.markdown(after)):
                raise Lost("half a model_card.md")
            if failed:
                raise Refused(str(failed))
            return
    raise Lost("half a model_card.json")


def _killed_command(moment, under: pathlib.Path, *command) -> None:
    killed = subprocess.run(
        [sys.executable, str(KILL_AT), "--under", str(under), *moment, *map(str, command)], capture_output=True, text=True
    )
    if killed.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"ended with {killed.returncode}: {killed.stderr[-2000:]}")


def _again(*command) -> str:
    again = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
    if again.returncode:
        raise Lost(f"the same command ends with {again.returncode}: {again.stderr[-2000:]}")
    return again.stdout


def _records_and_config(data: pathlib.Path, folder: pathlib.Path, **train) -> pathlib.Path:
    sys.path.append(str(ROOT / "tests"))
    import conftest

    records = folder / "records"
    convert(data, records)
    text = conftest.config_text(records, **train).replace('  fine_tune_checkpoint: "imagenet"\n', "")
    path = folder / conftest.BOXES_CONFIG.name
    path.write_text(text)
    return path


def _killed_trainer(data, moment, folder: pathlib.Path) -> None:
    from facedet.training import backup

    config = _records_and_config(data, folder, batch_size=2, num_steps=6, total_steps=6, warmup_steps=1, delay=3)
    config.write_text(config.read_text().replace("height: 224 width: 224", "height: 96 width: 96"))
    model = folder / "model"
    command = [ROOT / "scripts" / "model_main.py", f"--pipeline_config_path={config}", f"--model_dir={model}", "--checkpoint_every_n=1"]
    _killed_command(moment, model, *command)
    step = backup.newest_step(model)
    said = _again(*command)
    if step and f"at step {step}" not in said and "Nothing to train" not in said:
        raise Lost(f"step {step} is not gone on from: {said[-500:]}")
    if backup.newest_step(model) != 6:
        raise Silent(f"the run ended at step {backup.newest_step(model)} of 6")
    if left := [path.name for path in model.glob("*_temp")]:
        raise Silent(f"{left} stays for ever")


def _killed_export(data, moment, folder: pathlib.Path) -> None:
    config = _records_and_config(data, folder)
    output = folder / "deep" / "out"
    shutil.copytree(ROOT / "exported_models" / config.stem, output)
    before = _final(output)
    command = [ROOT / "scripts" / "export_tflite.py", "--pipeline_config_path", config, "--parity_images", "2"]
    command += ["--checkpoint_dir", ROOT / "exported_models" / config.stem / "checkpoint", "--output_dir", output]
    _killed_command(moment, output.parent, *command)
    if _final(output) != before:
        _require_one_export(output)
    _again(*command)
    _require_one_export(output)
    if left := [path.name for path in output.parent.iterdir() if path != output]:
        raise Silent(f"{left} stays for ever")


def _require_one_export(output: pathlib.Path) -> None:
    import hashlib

    card = json.loads((output / "model_card.json").read_text()) if (output / "model_card.json").is_file() else {"files": []}
    stated = {file["file"]: file["sha256"] for file in card["files"]}
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in output.glob("*.tflite")}
    if not stated or stated != there or not list(output.glob("checkpoint/*.index")):
        raise Lost(f"files of two exports, or a card without its files: {sorted(p.name for p in output.rglob('*'))}")
