"""The same recipe over other numbers, in the message: steps (what counts them moves along), batch size, rate, size, records."""

import math
import pathlib

from google.protobuf import text_format

from facedet.errors import ConfigError
from facedet.od_api import protos

MOST_STEPS = 10**9
# The keys of each kind of schedule that count steps; those of a manual one stand in its entries.
_COUNTED = {
    "cosine_decay_learning_rate": ("total_steps", "warmup_steps", "hold_base_rate_steps"),
    "exponential_decay_learning_rate": ("decay_steps", "burnin_steps"),
}
# And those that state a rate, the first its highest.
_RATES = {
    "constant_learning_rate": ("learning_rate",),
    "cosine_decay_learning_rate": ("learning_rate_base", "warmup_learning_rate"),
    "exponential_decay_learning_rate": ("initial_learning_rate", "burnin_learning_rate", "min_learning_rate"),
    "manual_step_learning_rate": ("initial_learning_rate",),
}


def adapt(
    config,
    num_steps=None,
    batch_size=None,
    records_dir=None,
    learning_rate=None,
    learning_rate_scale=None,
    name: str = "pipeline.config",
    eval_split=None,
    height=None,
    width=None,
):
    """Changes a TrainEvalPipelineConfig in place and returns it: over another number of steps (rate and delay of quantization in
    proportion), batch size, folder of records, highest learning rate (the whole schedule in proportion) or what to multiply it by,
    split of the records to evaluate on, size of the input in px (without the teacher then). ConfigError where the config states no steps
    or no rate to be in proportion to, and for a number that cannot be. Whether the network can have that size shows when it is built. `name` stands in the errors."""
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
        _set_highest_rate(config, rate, name, "learning_rate", learning_rate, lambda highest: learning_rate)
    if learning_rate_scale is not None:
        _set_highest_rate(config, rate, name, "learning_rate_scale", learning_rate_scale, lambda highest: highest * learning_rate_scale)
    for key, value in (("height", height), ("width", width)):
        if value is not None:
            if value < 1:
                raise ConfigError(f"{name}: {key}: {value}: 1 at least is wanted.")
            resizer = config.model.ssd.image_resizer.fixed_shape_resizer
            if value != getattr(resizer, key):
                protos.training(config).ClearField("teacher")  # it teaches at its own size
            setattr(resizer, key, value)
    if records_dir is not None:
        for reader in (config.train_input_reader, *config.eval_input_reader):
            paths = reader.tf_record_input_reader.input_path
            paths[:] = [f"{records_dir}/{pathlib.PurePosixPath(path).name}" for path in paths]
    if eval_split is not None:
        for reader in config.eval_input_reader:
            paths = reader.tf_record_input_reader.input_path
            paths[:] = [str(pathlib.PurePosixPath(path).with_name(f"widerface_{eval_split}.tfrecord-*")) for path in paths]
    return config


def merge(config, text: str) -> None:
    """A piece of pipeline config goes over a TrainEvalPipelineConfig, in place: what it says once replaces, what can be said several times is
    added. ConfigError naming line and column of what is no pipeline config."""
    try:
        config.MergeFrom(protos.parse(text))
    except text_format.ParseError as error:
        raise ConfigError(f"--merge {text!r}: {error}") from error


def _set_highest_rate(config, rate, name: str, key_said: str, said: float, wanted) -> None:
    """Every rate of the schedule in proportion, so that its highest, of a decaying one its first, is wanted(highest)."""
    if not 0 < said < math.inf:
        raise ConfigError(f"{name}: {key_said}: {said}: a number above 0 is wanted.")
    kind = rate.WhichOneof("learning_rate") if rate is not None else None
    if protos.training(config).HasField("one_cycle"):
        cycle = protos.training(config).one_cycle
        stated = [(cycle, key) for key in ("max_learning_rate", "start_learning_rate", "end_learning_rate")]
    elif kind:
        schedule = getattr(rate, kind)
        stated = [(schedule, key) for key in _RATES[kind]]
        if kind == "manual_step_learning_rate":
            stated += [(entry, "learning_rate") for entry in schedule.schedule]
    else:
        raise ConfigError(f"{name}: {key_said}: train_config.optimizer states no schedule that it could be the highest rate of.")
    values = [getattr(message, key) for message, key in stated]
    highest = max(values) if kind == "manual_step_learning_rate" else values[0]
    if not highest > 0:
        raise ConfigError(f"{name}: {key_said}: {stated[0][1]} is {highest:g}: no schedule can be in proportion to it.")
    for (message, key), value in zip(stated, values, strict=True):
        setattr(message, key, wanted(highest) * (value / highest))


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
