"""Pipeline configs: read, checked against what can be honoured and against the data, before anything long begins."""

import glob
import pathlib

from google.protobuf import text_format

from facedet.data import records
from facedet.errors import ConfigError
from facedet.od_api import protos
from facedet.recipe import config_checks

__all__ = ["ConfigError", "adapt", "check_data", "input_paths", "parse", "quantization", "read", "training"]


def read(path: str, num_steps: int | None = None):
    """The TrainEvalPipelineConfig of a file. Unknown keys, wrong types and what no trainer could honour raise ConfigError.

    num_steps: in place of train_config.num_steps; rate and delay of quantization move along, as adapt() moves them.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"--pipeline_config_path {path} does not exist. Those of the project are in configs/.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--pipeline_config_path {path} cannot be read as text: {error}. Those of the project are in configs/."
        ) from error
    return parse(text, str(path), num_steps)


def parse(text: str, name: str = "pipeline.config", num_steps: int | None = None):
    """As read(), of a text; `name` stands in the errors."""
    try:
        config = protos.parse(text)
    except text_format.ParseError as error:
        raise ConfigError(f"{name}:{error}") from error
    if num_steps is not None:
        adapt(config, num_steps, name=name)
    config_checks.check(config, name)
    return config


def training(config):
    """The config's [facedet.training], what facedet adds to the OD API's schema."""
    return protos.training(config)


def quantization(config):
    """graph_rewriter.quantization, or None where the config does not ask for it."""
    return config.graph_rewriter.quantization if config.graph_rewriter.HasField("quantization") else None


def adapt(config, num_steps=None, batch_size=None, records_dir=None, learning_rate=None, name: str = "pipeline.config"):
    """The same recipe, in place: over another number of steps (rate and delay in proportion), batch size, folder of records,
    highest learning rate. ConfigError where the config states no steps to be in proportion to, and for a rate whose schedule
    has no single highest value. `name` stands in the errors."""
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
        if rate is None or not rate.HasField("cosine_decay_learning_rate"):
            raise ConfigError(
                f"{name}: --learning_rate: train_config.optimizer has no cosine_decay_learning_rate; edit its schedule by hand."
            )
        cosine = rate.cosine_decay_learning_rate
        cosine.learning_rate_base = learning_rate
        cosine.warmup_learning_rate = min(cosine.warmup_learning_rate, learning_rate)
    if records_dir is not None:
        for reader in (config.train_input_reader, *config.eval_input_reader):
            paths = reader.tf_record_input_reader.input_path
            paths[:] = [f"{records_dir}/{pathlib.PurePosixPath(path).name}" for path in paths]
    return config


MOST_STEPS = 10**9
# The keys of each kind of schedule that count steps; those of a manual one stand in its entries.
_COUNTED = {
    "cosine_decay_learning_rate": ("total_steps", "warmup_steps", "hold_base_rate_steps"),
    "exponential_decay_learning_rate": ("decay_steps", "burnin_steps"),
}


def _move_steps(config, rate, num_steps: int, name: str) -> None:
    """num_steps in place of the config's, and all that counts steps in proportion."""
    if not 1 <= num_steps <= MOST_STEPS:
        raise ConfigError(f"{name}: num_steps: {num_steps}: 1 to {MOST_STEPS:,} are wanted.")
    kind = rate.WhichOneof("learning_rate") if rate is not None else None
    schedule = getattr(rate, kind) if kind else None
    counted = [(schedule, key) for key in _COUNTED.get(kind, ()) if schedule.HasField(key)]
    entries = schedule.schedule if kind == "manual_step_learning_rate" else ()
    counted += [(entry, "step") for entry in entries]
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
        least = int(key == "decay_steps")  # it divides
        setattr(message, key, min(max(getattr(message, key) * num_steps // before, least), MOST_STEPS))
    last = 0
    for entry in entries:  # however few the steps are, the rates keep their order
        entry.step = last = max(entry.step, last + 1)


def input_paths(reader, name: str) -> list[str]:
    """The record files of an input reader. ConfigError names the pattern that matches none."""
    patterns = list(reader.tf_record_input_reader.input_path)
    paths = sorted(path for pattern in patterns for path in glob.glob(pattern))
    if not paths:
        raise ConfigError(
            f"{name}.tf_record_input_reader.input_path: {patterns} matches no file below {pathlib.Path.cwd()}. Make the records:\n"
            "  python dataset_tools/create_widerface_tf_record.py --data_dir DIR"
        )
    return paths


def check_data(config, name: str = "pipeline.config") -> tuple[list[str], list[str]]:
    """Checks the config's label maps, and its records: whole, and no picture with more faces than the config states.

    Returns the record files for training and for evaluation. Raises ConfigError or records.RecordsError.
    """
    for key, reader in (("train_input_reader", config.train_input_reader), *(("eval_input_reader", r) for r in config.eval_input_reader)):
        if reader.label_map_path and not pathlib.Path(reader.label_map_path).is_file():
            raise ConfigError(
                f"{name}: {key}.label_map_path: {reader.label_map_path} is not there (looked for from {pathlib.Path.cwd()}). "
                "The project's is label_maps/face_label_map.pbtxt; facedet needs none, so the key can also be left out."
            )
    train = input_paths(config.train_input_reader, "train_input_reader")
    most = records.check_shards(train)["max_faces_per_image"]
    cap = config.train_config.max_number_of_boxes
    if cap < most:
        raise ConfigError(
            f"{name}: train_config.max_number_of_boxes: {cap}, but a picture of the records holds {most} faces, ignored ones among them. "
            f"facedet learns from all of them, where the OD API's own loop would keep {cap}: set it to {most} or more, so that both agree."
        )
    evaluation = []
    if config.eval_input_reader:
        evaluation = input_paths(config.eval_input_reader[0], "eval_input_reader")
        records.check_shards(evaluation)
    return train, evaluation
