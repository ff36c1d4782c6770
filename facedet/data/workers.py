"""Jobs on all cores, in processes that end with the one that started them."""

import concurrent.futures
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator


class WorkerDiedError(Exception):
    """A worker process was ended from outside; the message names the way out."""


def run(function: Callable, tasks: list[tuple], num_workers: int = 0) -> Iterator:
    """Yields function(*task) of each task as it is done, in any order. num_workers: 0 is one a core; 1 starts no process.

    An exception of a task ends the others. Raises WorkerDiedError where the system ends a worker.
    """
    num_workers = min(num_workers or os.cpu_count() or 1, len(tasks))
    if num_workers <= 1:
        yield from (function(*task) for task in tasks)
        return
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with concurrent.futures.ProcessPoolExecutor(num_workers, context, _end_with, (os.getpid(),)) as pool:
        futures = [pool.submit(function, *task) for task in tasks]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise WorkerDiedError("A worker process was killed, for want of memory perhaps: take fewer, --num_workers 1.") from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _end_with(parent: int) -> None:
    """Ends this worker soon after its parent: a pool's workers wait for work for ever where the parent is killed."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
