"""How fast steps follow each other, and how long the remaining ones will take."""

import time

TIMED_STEPS, LEAST_REMAINING = 20, 100  # the steps an estimate is made from, and those it is worth making for


class Pace:
    """How fast the latest steps were and, once, from TIMED_STEPS that nothing interrupts, the time of the remaining ones."""

    def __init__(self, batch_size: int, num_steps: int):
        self.batch_size, self.num_steps, self.estimated = batch_size, num_steps, False
        self.interrupted()

    def interrupted(self) -> None:
        """An evaluation came between, or the next step is traced: the time until that step is over is not a step's."""
        self.steps, self.since = -1, time.perf_counter()

    def images_per_second(self, steps: int) -> float:
        """Of so many steps, all since it was last asked or interrupted."""
        begin, self.since = self.since, time.perf_counter()
        return steps * self.batch_size / (self.since - begin)

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
