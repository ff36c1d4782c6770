"""Pipeline configs: read, checked against what can be honoured and against the data, before anything long begins."""

import glob
import pathlib

from google.protobuf import text_format

from facedet import records
from facedet.networks import mobilenet_v2
from facedet.od_api import protos


class ConfigError(ValueError):
    """A pipeline config that cannot be used: the message names file, key, value and the way out."""


def read(path: str, num_steps: int | None = None):
    """The TrainEvalPipelineConfig of a file. Unknown keys, wrong types and what no trainer could honour raise ConfigError.

    num_steps: in place of train_config.num_steps.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"--pipeline_config_path {path} does not exist. Those of the project are in configs/.") from error
    return parse(text, str(path), num_steps)


def parse(text: str, name: str = "pipeline.config", num_steps: int | None = None):
    """As read(), of a text; `name` stands in the errors."""
    try:
        config = protos.parse(text)
    except text_format.ParseError as error:
        raise ConfigError(f"{name}:{error}") from error
    if config.model.WhichOneof("model") != "ssd":
        raise ConfigError(f"{name}: model is {config.model.WhichOneof('model')}; only ssd is supported.")
    if num_steps is not None:
        config.train_config.num_steps = num_steps
    quantization(config, name)
    training(config, name)
    _check_backbone(config, name)
    return config


def training(config, name: str = "pipeline.config"):
    """The config's [facedet.training], what facedet adds to the OD API's schema. ConfigError for what cannot be done."""
    asked = protos.training(config)
    if asked.anchors_per_face < 1:
        raise ConfigError(f"{name}: [facedet.training] anchors_per_face: {asked.anchors_per_face}: every face needs 1 at least.")
    if asked.smallest_face < 0:
        raise ConfigError(f"{name}: [facedet.training] smallest_face: {asked.smallest_face}: a height in pixels is 0 at least.")
    return asked


def _check_backbone(config, name: str) -> None:
    try:
        mobilenet_v2.table(protos.backbone(config))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def adapt(config, num_steps=None, batch_size=None, records_dir=None, learning_rate=None):
    """The same recipe, in place: over another number of steps (rate and delay in proportion), batch size, folder of records,
    highest learning rate. ConfigError for a rate whose schedule has no single highest value."""
    train = config.train_config
    kind = train.optimizer.WhichOneof("optimizer")
    rate = getattr(train.optimizer, kind).learning_rate if kind else None
    cosine = rate.cosine_decay_learning_rate if rate is not None and rate.HasField("cosine_decay_learning_rate") else None
    if num_steps is not None:
        share = num_steps / train.num_steps
        train.num_steps = num_steps
        if cosine is not None:
            cosine.total_steps, cosine.warmup_steps = num_steps, round(cosine.warmup_steps * share)
        if config.graph_rewriter.HasField("quantization"):
            config.graph_rewriter.quantization.delay = int(config.graph_rewriter.quantization.delay * share)
    if batch_size is not None:
        train.batch_size = batch_size
    if learning_rate is not None:
        if cosine is None:
            raise ConfigError("--learning_rate: train_config.optimizer has no cosine_decay_learning_rate; edit its schedule by hand.")
        cosine.learning_rate_base = learning_rate
        cosine.warmup_learning_rate = min(cosine.warmup_learning_rate, learning_rate)
    if records_dir is not None:
        for reader in (config.train_input_reader, *config.eval_input_reader):
            paths = reader.tf_record_input_reader.input_path
            paths[:] = [f"{records_dir}/{pathlib.PurePosixPath(path).name}" for path in paths]
    return config


def quantization(config, name: str = "pipeline.config"):
    """graph_rewriter.quantization, or None where the config does not ask for it. ConfigError for what cannot be done."""
    if not config.HasField("graph_rewriter") or not config.graph_rewriter.HasField("quantization"):
        return None
    asked = config.graph_rewriter.quantization
    for key in ("weight_bits", "activation_bits"):
        if getattr(asked, key) != 8:
            raise ConfigError(f"{name}: graph_rewriter.quantization.{key}: {getattr(asked, key)}: TFLite's kernels take 8 bits only.")
    if asked.symmetric:
        raise ConfigError(f"{name}: graph_rewriter.quantization.symmetric: TFLite's activations are asymmetric; leave it out.")
    steps = config.train_config.num_steps
    if steps and asked.delay >= steps:
        raise ConfigError(
            f"{name}: graph_rewriter.quantization.delay: {asked.delay} is not below train_config.num_steps: {steps}, so it would "
            "never quantize. Take about three quarters of num_steps."
        )
    return asked


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
    """Checks the config's records: whole, and no picture with more faces than the config keeps.

    Returns the record files for training and for evaluation. Raises ConfigError or records.RecordsError.
    """
    train = input_paths(config.train_input_reader, "train_input_reader")
    most = records.check_shards(train)["max_faces_per_image"]
    cap = config.train_config.max_number_of_boxes
    if cap < most:
        raise ConfigError(
            f"{name}: train_config.max_number_of_boxes: {cap}, but a picture of the records holds {most} faces; those past the cap "
            f"would be learned as background. Set it to {most} or more, or convert with --max_faces_per_image {cap}."
        )
    evaluation = []
    if config.eval_input_reader:
        evaluation = input_paths(config.eval_input_reader[0], "eval_input_reader")
        records.check_shards(evaluation)
    return train, evaluation
