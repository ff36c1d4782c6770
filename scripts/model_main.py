#!/usr/bin/env python3
"""Trains and evaluates a detector from a pipeline config, as the OD API's TF 1 model_main did. The same command resumes.

    python scripts/model_main.py --pipeline_config_path=configs/NAME.config --model_dir=models/NAME

With --checkpoint_dir it evaluates only: once with --run_once, else each new checkpoint as it comes.
"""

import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from absl import app, flags, logging

flags.DEFINE_string("model_dir", None, "Where checkpoints, the config and TensorBoard's events go.")
flags.DEFINE_string("pipeline_config_path", None, "The pipeline config.")
flags.DEFINE_integer("num_train_steps", None, "Steps to train in all; the config's num_steps by default.")
flags.DEFINE_float("learning_rate_scale", 1.0, "Multiplies the config's learning rate, all of its schedule.")
flags.DEFINE_boolean("eval_training_data", False, "With --checkpoint_dir: evaluate on the training records.")
flags.DEFINE_integer("sample_1_of_n_eval_examples", 1, "Evaluate one of so many pictures.")
flags.DEFINE_integer("sample_1_of_n_eval_on_train_examples", 0, "Evaluate one of so many training pictures as well; 0: none.")
flags.DEFINE_string("hparams_overrides", None, "Refused: write the values into the config.")
flags.DEFINE_string("checkpoint_dir", None, "Evaluate the checkpoints of this folder instead of training.")
flags.DEFINE_boolean("run_once", False, "With --checkpoint_dir: evaluate the newest checkpoint and stop.")
flags.DEFINE_integer("checkpoint_every_n", 200, "Steps between checkpoints.")
flags.DEFINE_integer("eval_every_n", 1000, "Steps between evaluations; the last step is always evaluated.")
flags.DEFINE_enum(
    "strategy",
    "auto",
    ["auto", "cpu", "gpu", "mirrored", "multi_worker"],
    "Devices: auto takes the workers that TF_CONFIG names, else all GPUs, else the CPU. The config's batch_size is that of all together.",
)
flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "What the network computes in while it is trained; its weights are float32. Only float32 goes with fake quantization.",
)
FLAGS = flags.FLAGS


def main(unused_argv) -> None:
    """Reads FLAGS, which may be replaced by any object that has the attributes of the flags above."""
    from facedet.training import memory

    memory.keep_freed_memory()  # before TensorFlow starts its threads
    from facedet.data import records
    from facedet.recipe import pipeline_config
    from facedet.training import run_record, strategy, trainer, workers
    from facedet.weights import checkpoints

    values = _values()
    if values["hparams_overrides"]:
        sys.exit("error: --hparams_overrides is not supported: write the values into a copy of the config.")
    if not values["pipeline_config_path"] or not (values["model_dir"] or values["checkpoint_dir"]):
        sys.exit("error: --pipeline_config_path and --model_dir (or --checkpoint_dir) are needed.")
    logging.set_verbosity(logging.ERROR)
    try:
        devices = None if values["checkpoint_dir"] else strategy.choose(values["strategy"], values["precision"])
        scale = None if values["learning_rate_scale"] == 1 else values["learning_rate_scale"]
        recipe = pipeline_config.read(values["pipeline_config_path"], values["num_train_steps"], scale)
        if values["checkpoint_dir"]:
            _evaluate_checkpoints(recipe, values)
            return
        if not recipe.training.num_steps:
            raise pipeline_config.ConfigError("train_config.num_steps is 0: set it, or give --num_train_steps.")
        print(devices.describe(), flush=True)
        if scale is not None:
            print(f"The learning rate is {scale:g} times the config's (--learning_rate_scale).", flush=True)
        schedule = trainer.Schedule(
            num_steps=recipe.training.num_steps,
            save_every=values["checkpoint_every_n"],
            evaluate_every=values["eval_every_n"],
            eval_sample=values["sample_1_of_n_eval_examples"],
            eval_train_sample=values["sample_1_of_n_eval_on_train_examples"],
        )
        commands = [*_adapted_by(values["pipeline_config_path"]), run_record.this_command()]
        trainer.Trainer(recipe, values["model_dir"], commands=commands, devices=devices).train(schedule)
    except (pipeline_config.ConfigError, records.RecordsError, checkpoints.CheckpointError, trainer.NotFiniteError,
            workers.WorkerLostError) as error:  # fmt: skip
        sys.exit(f"error: {error}")


def _adapted_by(config_path: str) -> list[str]:
    """The command that scripts/adapt_config.py left at the head of a config."""
    with open(config_path, encoding="utf-8") as config:
        first = config.readline()
    return [first.removeprefix("# ").strip()] if "adapt_config.py" in first else []


def _values() -> dict:
    """The flags by name; an object put in FLAGS' place may leave out those that have a default."""
    known = flags.FLAGS
    names = ("model_dir", "pipeline_config_path", "num_train_steps", "eval_training_data", "sample_1_of_n_eval_examples",
             "learning_rate_scale",
             "sample_1_of_n_eval_on_train_examples", "hparams_overrides", "checkpoint_dir", "run_once", "checkpoint_every_n",
             "eval_every_n", "strategy", "precision")  # fmt: skip
    if FLAGS is known and not known.is_parsed():
        known.mark_as_parsed()
    return {name: getattr(FLAGS, name, known[name].default) for name in names}


def _evaluate_checkpoints(recipe, values) -> None:
    from facedet.data import records
    from facedet.evaluation import protocol, validation
    from facedet.evaluation.checkpoint_detector import CheckpointDetector
    from facedet.recipe import pipeline_config
    from facedet.weights import checkpoints

    on_train = values["eval_training_data"]
    if not on_train and not recipe.data.evaluation:
        raise pipeline_config.ConfigError("eval_input_reader is missing: there is nothing to evaluate on.")
    patterns = recipe.data.train if on_train else recipe.data.evaluation
    paths = pipeline_config.input_paths(patterns, "train_input_reader" if on_train else "eval_input_reader")
    records.check_shards(paths)
    sample = values["sample_1_of_n_eval_on_train_examples" if on_train else "sample_1_of_n_eval_examples"] or 1
    done = None
    while True:
        newest = checkpoints.find(values["checkpoint_dir"])
        if newest != done:
            detector = CheckpointDetector.from_checkpoint(recipe, newest, protocol.LEAST_SCORE)
            metrics, _ = validation.validate(detector, paths, sample)
            print(f"{newest}, {validation.PROTOCOL}:")
            for name, value in metrics.items():
                print(f"  {name}: {value:.4f}", flush=True)
            done = newest
        if values["run_once"]:
            return
        time.sleep(30)


if __name__ == "__main__":
    app.run(main)
