"""How fast steps follow each other, and how long the remaining ones will take."""

import time

TIMED_STEPS, LEAST_REMAINING = 20, 100  # the steps an estimate is made from, and those it is worth making for


class Pace:
    """An estimate of a run's time, made once, of TIMED_STEPS steps that nothing interrupts."""

    def __init__(self, batch_size: int, num_steps: int):
        self.batch_size, self.num_steps, self.estimated = batch_size, num_steps, False
        self.interrupted()

    def interrupted(self) -> None:
        """An evaluation came between, or the next step is traced: the time until that step is over is not a step's."""
        self.steps = -1

    def after(self, reached: int) -> str | None:
        """To be called after each step; images a second and the remaining time, where enough is timed and enough remains."""
        self.steps += 1
        if self.steps == 0:
            self.begin = time.perf_counter()
        remaining = self.num_steps - reached
        if self.estimated or self.steps < TIMED_STEPS or remaining < LEAST_REMAINING:
            return None
        self.estimated = True
        seconds = (time.perf_counter() - self.begin) / self.steps
        return f"{self.batch_size / seconds:.1f} img/s; about {_readable(remaining * seconds)} for the remaining {remaining:,} steps, evaluations not counted."


def _readable(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
