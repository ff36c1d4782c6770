"""What a training run took, kept beside its checkpoints as training.json: it goes into the model card."""

import json
import os
import pathlib
import shlex
import sys
import time

from facedet.data.places import place

NAME = "training.json"


class RunRecord:
    """Adds up over all the processes that went on with a run.

    model_dir: of the run.  facts: what does not change while it runs.
    """

    def __init__(self, model_dir: pathlib.Path, facts: dict):
        self._path, self._facts = place(model_dir) / NAME, facts
        earlier = read(model_dir) or {}
        self._earlier = {key: earlier.get(key, 0.0) for key in ("wall_minutes", "cpu_minutes")}
        self._begin = time.perf_counter(), time.process_time()

    def write(self, step: int, undecodable: int = 0) -> None:
        """undecodable: pictures that were left out."""
        now = time.perf_counter(), time.process_time()
        spent = [round((end - begin) / 60, 1) for begin, end in zip(self._begin, now, strict=True)]
        wall, cpu = (earlier + more for earlier, more in zip(self._earlier.values(), spent, strict=True))
        told = {**self._facts, "steps": step, "wall_minutes": round(wall, 1), "cpu_minutes": round(cpu, 1), "cores": os.cpu_count()}
        if undecodable:
            told["pictures_left_out"] = undecodable
        temporary = self._path.with_name(f".{NAME}.tmp")
        temporary.write_text(json.dumps(told, indent=1) + "\n")
        temporary.replace(self._path)


def this_command() -> str:
    """The command line of this process, as it is typed in the project's folder."""
    script = pathlib.Path(sys.argv[0]).resolve()
    return shlex.join(["python", f"{script.parent.name}/{script.name}", *sys.argv[1:]])


def read(path: str | os.PathLike) -> dict | None:
    """The record in a folder of checkpoints, or beside the checkpoint of a prefix; None where there is none."""
    is_prefix = place(f"{path}.index").is_file()
    path = (place(path).parent if is_prefix else place(path)) / NAME
    return json.loads(path.read_text()) if path.is_file() else None
