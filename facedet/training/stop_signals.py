"""SIGTERM and Ctrl-C as a request to stop at the next good moment."""

import contextlib
import signal


@contextlib.contextmanager
def stop_signals():
    """A list that receives the signal which asks the process to stop; a second one stops it at once."""
    received: list[signal.Signals] = []

    def note(number, frame):
        if received:
            raise KeyboardInterrupt
        received.append(signal.Signals(number))

    previous = {}
    with contextlib.suppress(ValueError):  # not in the main thread: signals are not ours
        previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
