"""Every attack of torture.py with cases that are the same every time."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torture
from conftest import ROOT
from conftest import run as run_command

from facedet.data.widerface import WiderFaceError

ATTACKS = ("annotation", "landmarks", "JPEG", "zip", ".mat", "config", "record shard", "manifest.json", "facedet.json", ".tflite", ".tflite, its structure",
           "backup mark", "model card", "web path", "killed: converter", "killed: backup", "killed: restore",
           "full disk: converter", "full disk: backup", "full disk: model card")  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """{table: {attack: {outcome: count}}, said: {attack: [what was said of bad ones]}}"""
    path = tmp_path_factory.mktemp("torture") / "table.json"
    try:
        run_command(ROOT / "tests" / "faults" / "torture.py", "--count", "24", "--json", path)
    except AssertionError:
        if not path.is_file():
            raise
    return json.loads(path.read_text())


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_crashes_is_lost_or_goes_silent(told, attack):
    assert sum(told["table"][attack].values()) >= 10
    assert told["said"].get(attack, []) == []
    assert told["table"][attack]["works"] >= 1  # one case at least is no damage, or too late to be any


def test_every_attack_has_its_test(told):
    assert set(told["table"]) == set(ATTACKS)


def _attempt(case, folder):
    if case == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if case == "hang":
        time.sleep(30)
    if case == "memory":
        bytearray(3 * 2**30 // 2).find(1)
    if case == "bare":
        raise KeyError("x")
    if case == "own":
        raise WiderFaceError("list.txt:3: no number")
    if case == "lost":
        raise torture.Lost("a checkpoint")


def test_the_suite_sees_what_happens(monkeypatch):
    """A child that dies takes its own case along, none before or after it."""
    monkeypatch.setattr(torture, "SECONDS", 3)
    cases = ["fine", "signal", "own", "hang", "bare", "memory", "lost", "fine"]
    outcomes = [outcome for _, outcome, _ in torture.run(torture.Attack(None, _attempt), cases)]
    assert outcomes == ["works", "crashed", "refused by name", "crashed", "crashed", "crashed", "lost", "works"]


def test_a_process_is_killed_before_the_change_that_was_asked_for(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nfor n in '123': open(sys.argv[1] + n, 'w').write(n)\nos.replace(sys.argv[1] + '1', sys.argv[1] + '4')\n"
    )
    (tmp_path / "work").mkdir()
    for at, left in ((1, ""), (3, "12"), (4, "123"), (5, "234")):
        command = [sys.executable, ROOT / "tests/faults/kill_at.py", "--under", tmp_path / "work", "--at", at, script, f"{tmp_path}/work/"]
        code = subprocess.run([*map(str, command)]).returncode
        assert code == (0 if at == 5 else -signal.SIGKILL)
        assert "".join(sorted(path.name for path in (tmp_path / "work").iterdir())) == left
        for path in (tmp_path / "work").iterdir():
            path.unlink()
