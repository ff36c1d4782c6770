#!/usr/bin/env python3
"""What each way of training gives on this machine's processor: pictures a second, and what a step costs whatever it learns.

    python scripts/benchmark_devices.py

One process; in mixed precision; two replicas on two logical devices (mirrored); two processes on 127.0.0.1 (multi_worker). Cost of
a step: one of Slim at 64x48 with two pictures that are there, in which there is next to nothing to compute; what a strategy takes longer
than one process without any is its own. Pictures a second, of one and of two processes: the config before its delay, the same
batch, its records read and augmented on the way. Medians of the steps after the first three, which trace.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

WAYS = {  # the strategy and the precision
    "one process": ("cpu", "float32"),
    "one process, mixed_bfloat16": ("cpu", "mixed_bfloat16"),
    "two logical devices, mirrored": ("mirrored", "float32"),
    "two processes, multi_worker": ("multi_worker", "float32"),
}
WHOLE = ("one process", "two processes, multi_worker")  # whose pictures a second are measured
SMALL = ROOT / "configs" / "slim_320x240_widerface.config"


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--pipeline_config_path", default=str(ROOT / "configs/ssd_mobilenet_v2_quantized_224x224_widerface.config"))
    parser.add_argument("--records_dir", help="in the place of the configs' data/widerface")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", nargs=2, metavar=("WAY", "SIZE"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.only:
        print("RESULT", _seconds_per_step(args))
        return 0
    from tabulate import tabulate

    from facedet.errors import ConfigError
    from facedet.recipe import pipeline_config

    try:
        for size in ("whole", "small"):
            pipeline_config.check_data(_recipe(args, size))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    whole = {way: args.batch_size / _measured(args, way, "whole") for way in WHOLE}
    small = {way: 1000 * _measured(args, way, "small") for way in WAYS}
    rows = [
        [
            way,
            f"{step:.1f}",
            f"{step - small['one process']:+.1f}",
            *((f"{whole[way]:.1f}", f"{whole[way] / whole['one process']:.2f}") if way in whole else ""),
        ]
        for way, step in small.items()
    ]
    print(tabulate(rows, ["way", "small step, ms", "of them its own", "config, img/s", "ratio"], "github", disable_numparse=True))
    return 0


def _measured(args, way: str, size: str) -> float:
    """Seconds a step, as processes of their own say: one, or two workers."""
    command = [sys.executable, __file__, "--pipeline_config_path", args.pipeline_config_path, "--batch_size", str(args.batch_size),
               "--steps", str(args.steps), *(["--records_dir", args.records_dir] if args.records_dir else []), "--only", way, size]  # fmt: skip
    told = [{"TF_CONFIG": value} for value in _tf_configs(2)] if WAYS[way][0] == "multi_worker" else [{}]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, env={**environment, **own}, **pipes) for own in told]
    said = [process.communicate() for process in processes]
    lines = [line for line in said[0][0].splitlines() if line.startswith("RESULT")]
    if not lines:
        sys.exit(f"{way}: {said[0][0][-2000:]}{said[0][1][-3000:]}")
    seconds = float(lines[0].split()[1])
    print(f"{way}, {size}: {1000 * seconds:.1f} ms a step", file=sys.stderr, flush=True)
    return seconds


def _tf_configs(count: int) -> list[str]:
    """TF_CONFIG of each of so many workers on this machine."""
    sockets = [socket.socket() for _ in range(count)]
    for free in sockets:
        free.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    for free in sockets:
        free.close()
    return [json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}) for index in range(count)]


def _recipe(args, size: str):
    """Of the config before its delay, from random weights; raises ConfigError."""
    from facedet.recipe import adapt, pipeline_config

    config = pipeline_config.message(str(SMALL) if size == "small" else args.pipeline_config_path)
    config.ClearField("graph_rewriter")
    config.train_config.ClearField("fine_tune_checkpoint")
    small = {"batch_size": 2, "height": 48, "width": 64} if size == "small" else {"batch_size": args.batch_size}
    return pipeline_config.from_message(adapt.adapt(config, records_dir=args.records_dir, **small))


def _seconds_per_step(args) -> float:
    way, size = args.only
    from facedet.training import memory

    memory.keep_freed_memory()
    import tensorflow as tf

    from facedet.recipe import pipeline_config
    from facedet.training import step, strategy, workers
    from facedet.training.learner import Learner
    from facedet.training.pictures import TrainingPictures

    name, precision = WAYS[way]
    tf.config.set_visible_devices([], "GPU")
    if name == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    devices, recipe = strategy.choose(name, precision, say=lambda text: None), _recipe(args, size)
    paths, _ = pipeline_config.check_data(recipe)
    learner = Learner(recipe, devices, say=lambda text: None)
    dataset = TrainingPictures(paths, recipe, devices, count=1).dataset()
    train_step, batches, seconds = step.build(learner, learner.forward, dataset.element_spec), iter(dataset), []
    for _ in range(args.steps + 3):
        begin = time.perf_counter()
        if size == "whole" or not seconds:
            batch = next(batches)
        float(train_step(batch, False)[0]["Loss/total_loss"])
        seconds.append(time.perf_counter() - begin)
    workers.wait_for_all(devices.strategy, devices.place)
    return statistics.median(seconds[3:])


if __name__ == "__main__":
    sys.exit(main())
