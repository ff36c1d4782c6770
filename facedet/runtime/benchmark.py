"""Latency, memory and size of detectors, side by side in one run. No TensorFlow."""

import json
import os
import pathlib
import platform
import random
import subprocess
import sys
import time

import numpy as np

from facedet.runtime.backends.base import backend_of

# as /proc/cpuinfo calls them
INT8_INSTRUCTIONS = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")

_MEMORY = """
import json, pathlib, re, resource, sys
import numpy as np
from facedet import FaceDetector
from facedet.runtime.backends.base import backend_of

def peak():
    try:  # the kernel's own peak of this process; getrusage's begins with that of the parent
        return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

backend_of(pathlib.Path(sys.argv[1]))  # the runtime's own code is no part of it
image = np.zeros((480, 640, 3), np.uint8)
before = peak()
detector = FaceDetector(sys.argv[1], num_threads=int(sys.argv[2]))
for _ in range(3):
    detector.detect(image)
print(json.dumps(peak() - before))
"""


def latency(detectors: dict, images: list[np.ndarray], rounds: int, progress=lambda: None) -> dict[str, dict]:
    """{name: {wall_ms_p50, wall_ms_p95, cpu_ms_p50}} of detect(image), all of it: resize, network, suppression.

    detectors: {name: object with detect(image)}.  images: RGB uint8 [H, W, 3].  The detectors take turns in a new order for
    each picture of each round, so that a noisy machine is noisy for all of them; the first round warms up and is not counted.
    cpu_ms counts all threads of the process, and not what other processes take.
    """
    wall, cpu = ({name: [] for name in detectors} for _ in range(2))
    order = list(detectors)
    for counted in range(rounds + 1):
        for image in images:
            random.shuffle(order)
            for name in order:
                begin, begin_cpu = time.perf_counter(), time.process_time()
                detectors[name].detect(image)
                if counted:
                    cpu[name].append((time.process_time() - begin_cpu) * 1e3)
                    wall[name].append((time.perf_counter() - begin) * 1e3)
        progress()
    return {
        name: {
            "wall_ms_p50": float(np.percentile(wall[name], 50)),
            "wall_ms_p95": float(np.percentile(wall[name], 95)),
            "cpu_ms_p50": float(np.percentile(cpu[name], 50)),
        }
        for name in detectors
    }


def processor() -> str:
    """The kind of processor, and which of its instructions multiply int8: times of int8 files depend on them."""
    try:
        words = set(pathlib.Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return platform.machine()
    return f"{platform.machine()}, {', '.join(name for name in INT8_INSTRUCTIONS if name in words) or 'without int8 instructions'}"


def size_bytes(path: str) -> int:
    """Of a file, and of those that it needs beside it."""
    first = pathlib.Path(path)
    return sum(os.path.getsize(first if i == 0 else first.with_suffix(suffix)) for i, suffix in enumerate(backend_of(first).suffixes))


def memory_bytes(path: str, num_threads: int = 1) -> int:
    """By how much opening a file and detecting raises the peak memory of a process of its own; the runtime's code is not counted."""
    root = pathlib.Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _MEMORY, str(pathlib.Path(path).resolve()), str(num_threads)]
    return json.loads(subprocess.run(command, cwd=root, text=True, capture_output=True, check=True).stdout.splitlines()[-1])
