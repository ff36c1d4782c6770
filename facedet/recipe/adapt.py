"""The same recipe over other numbers, in the message: steps (what counts them moves along), batch size, rate, folder of records."""

import pathlib

from facedet.errors import ConfigError
from facedet.od_api import protos

MOST_STEPS = 10**9
# The keys of each kind of schedule that count steps; those of a manual one stand in its entries.
_COUNTED = {
    "cosine_decay_learning_rate": ("total_steps", "warmup_steps", "hold_base_rate_steps"),
    "exponential_decay_learning_rate": ("decay_steps", "burnin_steps"),
}


def adapt(config, num_steps=None, batch_size=None, records_dir=None, learning_rate=None, name: str = "pipeline.config", eval_split=None):
    """Changes a TrainEvalPipelineConfig in place and returns it: over another number of steps (rate and delay of quantization in
    proportion), batch size, folder of records, highest learning rate, split of the records to evaluate on. ConfigError where the config states no steps to be in
    proportion to, and for a rate whose schedule has no single highest value. `name` stands in the errors."""
    train = config.train_config
    kind = train.optimizer.WhichOneof("optimizer")
    rate = getattr(train.optimizer, kind).learning_rate if kind else None
    if num_steps is not None:
        _move_steps(config, rate, num_steps, name)
    if batch_size is not None:
        if batch_size < 1:
            raise ConfigError(f"{name}: batch_size: {batch_size}: 1 at least is wanted.")
        train.batch_size = batch_size
    if learning_rate is not None:
        _set_highest_rate(config, rate, learning_rate, name)
    if records_dir is not None:
        for reader in (config.train_input_reader, *config.eval_input_reader):
            paths = reader.tf_record_input_reader.input_path
            paths[:] = [f"{records_dir}/{pathlib.PurePosixPath(path).name}" for path in paths]
    if eval_split is not None:
        for reader in config.eval_input_reader:
            paths = reader.tf_record_input_reader.input_path
            paths[:] = [str(pathlib.PurePosixPath(path).with_name(f"widerface_{eval_split}.tfrecord-*")) for path in paths]
    return config


def _set_highest_rate(config, rate, learning_rate: float, name: str) -> None:
    if protos.training(config).HasField("one_cycle"):
        cycle = protos.training(config).one_cycle
        cycle.max_learning_rate = learning_rate
        cycle.start_learning_rate = min(cycle.start_learning_rate, learning_rate)
        cycle.end_learning_rate = min(cycle.end_learning_rate, learning_rate)
        return
    if rate is None or not rate.HasField("cosine_decay_learning_rate"):
        raise ConfigError(f"{name}: --learning_rate: train_config.optimizer has no cosine_decay_learning_rate; edit its schedule by hand.")
    cosine = rate.cosine_decay_learning_rate
    cosine.learning_rate_base = learning_rate
    cosine.warmup_learning_rate = min(cosine.warmup_learning_rate, learning_rate)


def _move_steps(config, rate, num_steps: int, name: str) -> None:
    """num_steps in place of the config's, and all that counts steps in proportion."""
    if not 1 <= num_steps <= MOST_STEPS:
        raise ConfigError(f"{name}: num_steps: {num_steps}: 1 to {MOST_STEPS:,} are wanted.")
    kind = rate.WhichOneof("learning_rate") if rate is not None else None
    schedule = getattr(rate, kind) if kind else None
    counted = [(schedule, key) for key in _COUNTED.get(kind, ()) if schedule.HasField(key)]
    entries = schedule.schedule if kind == "manual_step_learning_rate" else ()
    counted += [(entry, "step") for entry in entries]
    if protos.training(config).HasField("one_cycle"):
        counted.append((protos.training(config).one_cycle, "total_steps"))
    if config.graph_rewriter.HasField("quantization"):
        counted.append((config.graph_rewriter.quantization, "delay"))
    before = config.train_config.num_steps or getattr(schedule, "total_steps", 0)
    if counted and not before:
        raise ConfigError(
            f"{name}: train_config.num_steps is not stated: what {' and '.join(dict.fromkeys(key for _, key in counted))} should be in "
            "proportion to is unknown. Write the num_steps that they were made for into the config."
        )
    config.train_config.num_steps = num_steps
    for message, key in counted:
        least = int(key in ("decay_steps", "total_steps"))  # they divide
        setattr(message, key, min(max(getattr(message, key) * num_steps // before, least), MOST_STEPS))
    last = 0
    for entry in entries:  # however few the steps are, the rates keep their order
        entry.step = last = max(entry.step, last + 1)
