"""The OD API's own training loop, unchanged, to measure ours against."""

import tempfile

from object_detection import model_lib_v2


def seconds_per_step(config_path: str, num_steps: int) -> float:
    """Trains with model_lib_v2.train_loop and returns the median seconds of a step, as it reports them."""
    reported: dict = {}
    with tempfile.TemporaryDirectory() as directory:
        model_lib_v2.train_loop(
            pipeline_config_path=config_path,
            model_dir=directory,
            train_steps=num_steps,
            checkpoint_every_n=10**6,
            num_steps_per_iteration=1,
            record_summaries=False,
            performance_summary_exporter=lambda metrics, mixed_precision: reported.update(metrics),
        )
    return 1.0 / reported["steps_per_sec_p50"]
