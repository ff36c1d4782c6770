"""The C library's memory, for long runs on a CPU. Imports nothing of TensorFlow, so that it can act before it."""

import contextlib
import ctypes


def keep_freed_memory() -> None:
    """Lets glibc keep what it frees. TensorFlow's activations are large: handing each back to the system and asking for it
    again costs a page fault a page, about a fifth of a training step on a CPU (scripts/benchmark_training.py shows it)."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8  # malloc.h
        for parameter, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 64 * 2**20), (arena_max, 1)):
            mallopt(parameter, value)
