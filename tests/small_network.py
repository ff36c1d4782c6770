"""A recipe that trains in seconds, for the tests."""

from conftest import CONFIGS

from facedet.recipe import adapt, pipeline_config


def small(records_dir, num_steps: int):
    """The config, as a message, of a small network with two pictures a step, without quantization and evaluation."""
    (path,) = (path for path in CONFIGS if path.name.startswith("slim_320"))
    message = pipeline_config.message(str(path))
    message.train_config.fine_tune_checkpoint = ""
    message.ClearField("graph_rewriter")
    message.ClearField("eval_input_reader")
    return adapt.adapt(message, num_steps, batch_size=2, records_dir=str(records_dir), height=48, width=64)
