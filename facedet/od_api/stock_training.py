"""The OD API's own training loop, unchanged, to measure ours against."""

import logging
import re
import tempfile

from absl import logging as absl_logging
from object_detection import model_lib_v2


def seconds_per_step(config_path: str, num_steps: int, steps_per_report: int = 5) -> list[float]:
    """Trains with model_lib_v2.train_loop and returns the seconds a step that it reports, a value a report."""
    reported: list[float] = []

    class Listener(logging.Handler):
        def emit(self, record):
            found = re.search(r"per-step time ([\d.]+)s", record.getMessage())
            if found:
                reported.append(float(found.group(1)))

    logger, listener = absl_logging.get_absl_logger(), Listener()
    logger.addHandler(listener)
    level = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.INFO)
    try:
        with tempfile.TemporaryDirectory() as directory:
            model_lib_v2.train_loop(
                pipeline_config_path=config_path,
                model_dir=directory,
                train_steps=num_steps,
                checkpoint_every_n=10**6,
                num_steps_per_iteration=steps_per_report,
                record_summaries=False,
            )
    finally:
        logger.removeHandler(listener)
        absl_logging.set_verbosity(level)
    return reported
