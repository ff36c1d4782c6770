"""An export's folder is replaced whole, wherever a process is killed, and nothing else is lost with it."""

import errno
import os
import pathlib
import signal

import pytest

from facedet.export import folder


def fill(where: pathlib.Path, text: str) -> None:
    (where / "checkpoint").mkdir(parents=True, exist_ok=True)
    for name in ("a.tflite", "model_card.json", "checkpoint/ckpt-1.index"):
        (where / name).write_text(text)


def content(where: pathlib.Path) -> set[str]:
    return {path.read_text() for path in where.rglob("*") if path.is_file()}


def replace(where: pathlib.Path, text: str) -> None:
    with folder.replacing(where) as made:
        fill(made, text)


@pytest.fixture
def no_exchange(monkeypatch):
    monkeypatch.setattr(folder, "_exchange", lambda one, other: False)


@pytest.mark.parametrize("there", [False, True])
def test_the_new_takes_the_place_of_the_old(tmp_path, there):
    out = tmp_path / "deep" / "out"
    if there:
        fill(out, "old")
    replace(out, "new")
    assert content(out) == {"new"} and os.listdir(out.parent) == ["out"]


@pytest.mark.parametrize("there", [False, True])
def test_what_fails_leaves_all_as_it_was(tmp_path, there):
    out = tmp_path / "out"
    if there:
        fill(out, "old")
    with pytest.raises(ZeroDivisionError), folder.replacing(out) as made:
        fill(made, "new")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == (["out"] if there else []) and (not there or content(out) == {"old"})


def _killed_at(number: int, out: pathlib.Path, exchange: bool) -> bool:
    """Replaces `out` in a child that is killed before its number-th rename or removal; whether it was."""
    child = os.fork()
    if not child:
        seen = []

        def before(call):
            def counted(*arguments, **options):
                seen.append(call)
                if len(seen) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **options)

            return counted

        os.rename, os.unlink, os.rmdir = before(os.rename), before(os.unlink), before(os.rmdir)
        folder._exchange = before(folder._exchange if exchange else lambda one, other: False)
        replace(out, "new")
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("exchange", [True, False])
def test_a_kill_leaves_the_old_or_the_new_and_the_next_export_cleans(tmp_path, exchange):
    number, was_killed = 0, True
    while was_killed:
        number += 1
        out = tmp_path / str(number) / "out"
        fill(out, "old")
        was_killed = _killed_at(number, out, exchange)
        if exchange:  # at no moment is there none
            assert content(out) in ({"old"}, {"new"})
        folder.recover(out)
        assert content(out) in ({"old"}, {"new"}) and os.listdir(out.parent) == ["out"]
        replace(out, "third")
        assert content(out) == {"third"} and os.listdir(out.parent) == ["out"]
    assert number > 5


def test_without_exchange_two_renames_do(tmp_path, no_exchange):
    fill(tmp_path / "out", "old")
    replace(tmp_path / "out", "new")
    assert content(tmp_path / "out") == {"new"} and os.listdir(tmp_path) == ["out"]


def test_what_older_exports_left_is_cleaned_and_nothing_else(tmp_path):
    fill(tmp_path / ".out.k3_x9abc", "killed")
    (tmp_path / ".out.k3_x9abc" / "ckpt-7_temp").mkdir()
    for kept in (".out.v2.unfinished", ".other.k3_x9abc", ".out.d"):
        fill(tmp_path / kept, "kept")
    replace(tmp_path / "out", "new")
    assert sorted(os.listdir(tmp_path)) == [".other.k3_x9abc", ".out.d", ".out.v2.unfinished", "out"]


def test_a_folder_that_cannot_be_renamed_is_an_error_and_stays(tmp_path, monkeypatch):
    def busy(one, other):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(other))

    fill(tmp_path / "out", "old")
    monkeypatch.setattr(folder, "_exchange", busy)
    with pytest.raises(OSError, match="busy"):
        replace(tmp_path / "out", "new")
    assert content(tmp_path / "out") == {"old"} and os.listdir(tmp_path) == ["out"]


def test_a_link_to_a_folder_stays_one(tmp_path):
    fill(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    replace(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and content(tmp_path / "real") == {"new"}
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]
