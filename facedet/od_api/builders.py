"""The parts of a pipeline config that the OD API builds, tried one by one, so that what it refuses gets the name of its key."""

import functools

import tensorflow as tf
from object_detection.builders import anchor_generator_builder, losses_builder, preprocessor_builder

from facedet.errors import ConfigError
from facedet.od_api import optimizers, protos


def _anchors(message) -> None:
    generator = anchor_generator_builder.build(message)
    generator.generate([(1, 1)] * len(generator.num_anchors_per_location()), im_height=64, im_width=64)


def _optimizer(message, one_cycle=None) -> None:
    _, learning_rate = optimizers.build(message, tf.Variable(0, dtype=tf.int64), one_cycle)
    learning_rate()


def try_out(config) -> None:
    """Builds each part of a TrainEvalPipelineConfig. ConfigError names the key that the OD API refuses, and why."""
    ssd, train, training = config.model.ssd, config.train_config, protos.training(config)
    optimizer, key = _optimizer, "train_config.optimizer"
    if training.HasField("one_cycle"):
        optimizer, key = functools.partial(_optimizer, one_cycle=training.one_cycle), "[facedet.training] one_cycle"
    parts = [
        ("model.ssd.anchor_generator", _anchors, ssd.anchor_generator),
        ("model.ssd.loss", losses_builder.build, ssd.loss),
        (key, optimizer, train.optimizer),
    ]
    for i, option in enumerate(train.data_augmentation_options):
        parts.append((f"train_config.data_augmentation_options[{i}]", preprocessor_builder.build, option))
    for key, build, message in parts:
        try:
            build(message)
        except Exception as error:  # its own checks are ValueErrors; what they miss comes as anything
            raise ConfigError(f"{key}: the OD API cannot build it: {error}") from error
