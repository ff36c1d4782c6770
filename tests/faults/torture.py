#!/usr/bin/env python3
"""Attacks every input of the project and prints what became of it; ends with 1 unless nothing crashed, was lost or went silent.

    python tests/faults/torture.py --minutes 30     random seeds, printed, until the time is spent; also what takes long
    python tests/faults/torture.py --count 20       the same 20 cases of each attack every time, as CI runs them

Each case ends in one of: works; refused by name (one of the project's own errors, or a command's one sentence); crashed (any other
exception, a signal, a hang, a GiB of memory); lost (what was whole before is not); silent (wrong, and nobody said so).
"""

import argparse
import collections
import dataclasses
import faulthandler
import json
import os
import pathlib
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator

import hypothesis
from hypothesis import strategies
from tabulate import tabulate

WORKS, REFUSED, CRASHED, LOST, SILENT = OUTCOMES = ("works", "refused by name", "crashed", "lost", "silent")
BAD = (CRASHED, LOST, SILENT)
SECONDS = 60  # a case that takes longer hangs
MEMORY_KB = 2**20


class Lost(Exception):
    """What was whole before the attack is not whole now."""


class Silent(Exception):
    """Something is wrong, and nobody said so."""


class Refused(Exception):
    """A command ended with its one sentence."""


@dataclasses.dataclass(frozen=True)
class Attack:
    """cases: a strategy of what is tried.  attempt(case, folder): tries one in an empty folder; returns if it works.

    takes_long: one case takes many seconds; left out of CI.
    """

    cases: strategies.SearchStrategy
    attempt: Callable
    takes_long: bool = False


def draw(cases: strategies.SearchStrategy, count: int, seed: int | None) -> list:
    """`count` cases, or all where there are fewer; the same ones every time without a seed."""
    drawn = []
    quiet = dict(database=None, deadline=None, phases=[hypothesis.Phase.generate], suppress_health_check=list(hypothesis.HealthCheck))

    @hypothesis.settings(max_examples=count, derandomize=seed is None, **quiet)
    @hypothesis.given(cases)
    def collect(case):
        drawn.append(case)

    (hypothesis.seed(seed)(collect) if seed is not None else collect)()
    return drawn[:count]


def run(attack: Attack, cases: list) -> Iterator[tuple[object, str, str]]:
    """(case, outcome, what was said) of each, tried in child processes: one that dies or hangs takes only its case along."""
    done = 0
    while done < len(cases):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            _child(attack, cases[done:], write)
        os.close(write)
        with open(read, "rb", buffering=0) as answers:
            text = b""
            while select.select([answers], [], [], SECONDS * (20 if attack.takes_long else 1))[0] and (chunk := answers.read(65536)):
                text += chunk
                *lines, text = text.split(b"\n")
                for line in lines:
                    outcome, said = json.loads(line)
                    yield cases[done], outcome, said
                    done += 1
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            time.sleep(0.1)  # the pipe closes a little before the process ends
            ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        if done < len(cases) and status:
            said = f"hang of {SECONDS} s" if not ended else f"died: {os.waitstatus_to_exitcode(status)}"
            yield cases[done], CRASHED, said
            done += 1


def _child(attack: Attack, cases: list, write: int) -> None:
    code = 1
    try:
        faulthandler.disable()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for case in cases:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                outcome, said = judge(attack.attempt, case, pathlib.Path(folder))
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            if grown > MEMORY_KB and outcome in (WORKS, REFUSED):
                outcome, said = CRASHED, f"took {grown // 1024} MiB"
            os.write(write, json.dumps([outcome, said]).encode() + b"\n")
            if grown > MEMORY_KB:
                break  # the next one starts afresh
        code = 0
    finally:
        os._exit(code)


def judge(attempt: Callable, case, folder: pathlib.Path) -> tuple[str, str]:
    try:
        attempt(case, folder)
    except Lost as error:
        return LOST, str(error)
    except Silent as error:
        return SILENT, str(error)
    except (Exception, SystemExit) as error:
        own = isinstance(error, Refused) or type(error).__module__.startswith("facedet")
        if own and str(error):
            return REFUSED, str(error)
        return CRASHED, "".join(traceback.format_exception(error)[-3:])
    return WORKS, ""


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="try random cases for so long, those that take long too")
    parser.add_argument("--count", type=int, default=20, help="of cases an attack, without --minutes (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="ATTACK")
    parser.add_argument("--seed", type=int, help="of --minutes; printed where it is not given")
    parser.add_argument("--json", type=pathlib.Path, help="writes {attack: {outcome: count}, ...} and what was said of bad ones")
    args = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.modules["torture"] = sys.modules[__name__]  # one Lost, Silent and Refused for all
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    import attacks
    import kills

    table = collections.defaultdict(collections.Counter)
    said = collections.defaultdict(list)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        tempfile.tempdir = work  # what killed cases leave goes with it
        known = {**attacks.prepare(pathlib.Path(work)), **kills.prepare(pathlib.Path(work))}
        chosen = {name: a for name, a in known.items() if name in (args.only or known) and (args.only or args.minutes or not a.takes_long)}
        if args.minutes:
            generator = random.Random(seed := args.seed if args.seed is not None else random.SystemRandom().getrandbits(32))
            print(f"seed {seed}", flush=True)
            end = time.monotonic() + 60 * args.minutes
            rounds = ((attack, generator.getrandbits(32)) for _ in iter(int, 1) for attack in chosen)
        else:
            end, rounds = float("inf"), ((attack, None) for attack in chosen)
        for name, seed in rounds:
            attack = chosen[name]
            count = (2 if attack.takes_long else 50) if args.minutes else args.count
            begin = time.monotonic()
            for case, outcome, message in run(attack, draw(attack.cases, count, seed)):
                table[name][outcome] += 1
                if outcome in BAD:
                    said[name].append(f"{outcome}: {message}")
                    if len(said[name]) <= 3:
                        print(
                            f"{name}{f', seed {seed}' if seed else ''}: {outcome}\n  {str(case)[:300]}\n  {message.strip()[:1500]}",
                            flush=True,
                        )
                if time.monotonic() > end:
                    break
            print(f"{name}: {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
            if time.monotonic() > end:
                break
        tempfile.tempdir = None
    total = sum(table.values(), collections.Counter())
    rows = [[name, sum(row.values()), *(row[o] for o in OUTCOMES)] for name, row in [*table.items(), ("all", total)]]
    print(tabulate(rows, ["what", "tried", *OUTCOMES], "github"))
    if args.json:
        args.json.write_text(json.dumps({"table": table, "said": said}, indent=1))
    return int(any(total[outcome] for outcome in BAD))


if __name__ == "__main__":
    sys.exit(main())
