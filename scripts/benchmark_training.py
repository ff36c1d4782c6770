#!/usr/bin/env python3
"""Training beside the OD API's own loop, in turns on the same records: pictures a second, and what the input can give.

    python scripts/benchmark_training.py --stock_config tests/stock_ssd_mobilenet_v2.config

Both at 224x224 and batch 32. The OD API's loop trains its own ssd_mobilenet_v2_keras, in float: it knows no quantization.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

BATCH_SIZE = 32


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--pipeline_config_path", default="configs/ssd_mobilenet_v2_quantized_224x224_widerface.config")
    parser.add_argument("--stock_config", required=True, help="a config for the OD API's own loop")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=["ours_float", "ours_quantized", "ours_stock", "stock", "input"], help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.only:
        print("RESULT", _measure(args))
        return 0
    from tabulate import tabulate

    rows = {"stock": "the OD API's loop, its own network, float", "ours_stock": "facedet's loop, the stock config's network, float",
            "ours_float": "facedet's config before delay", "ours_quantized": "facedet's config from delay on",
            "input": "facedet's input pipeline alone"}  # fmt: skip
    speeds = {name: [] for name in rows}
    for _ in range(args.rounds):
        for name in rows:  # a process each: the loops keep what they build
            command = [sys.executable, __file__, *(argv or sys.argv[1:]), "--only", name]
            said = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
            lines = [line for line in said.stdout.splitlines() if line.startswith("RESULT")]
            if not lines:
                print(said.stdout[-2000:], said.stderr[-3000:], file=sys.stderr)
                return 1
            speeds[name].append(float(lines[0].split()[1]))
            print(f"{rows[name]}: {speeds[name][-1]:.1f} img/s", flush=True)
    best = {name: max(values) for name, values in speeds.items()}
    print(tabulate([[rows[n], f"{v:.1f}", f"{v / best['stock']:.2f}"] for n, v in best.items()], ["best of each", "img/s", "ratio to the OD API's"],
                   "github", disable_numparse=True))  # fmt: skip
    return 0


def _measure(args) -> float:
    """Pictures a second: the median step after the first ones."""
    from facedet.training import memory

    if args.only != "stock":
        memory.keep_freed_memory()
    from facedet.augment import pipeline
    from facedet.od_api import stock_training
    from facedet.recipe import pipeline_config
    from facedet.training import step as training_step
    from facedet.training.learner import Learner
    from facedet.training.strategy import Devices

    if args.only in ("stock", "ours_stock"):
        config = pipeline_config.message(args.stock_config)
        config.model.ssd.image_resizer.fixed_shape_resizer.height = config.model.ssd.image_resizer.fixed_shape_resizer.width = 224
    else:
        config = pipeline_config.message(args.pipeline_config_path)
    config.train_config.batch_size = BATCH_SIZE
    if args.only == "stock":
        from google.protobuf import text_format

        with tempfile.NamedTemporaryFile("w", suffix=".config") as file:
            file.write(text_format.MessageToString(config))
            file.flush()
            return BATCH_SIZE / stock_training.seconds_per_step(file.name, args.steps + 3)
    config.train_config.max_number_of_boxes = 2000
    config.train_config.ClearField("fine_tune_checkpoint")
    recipe = pipeline_config.from_message(config)
    train_paths, _ = pipeline_config.check_data(recipe)
    dataset = pipeline.dataset(train_paths, recipe.augmentation, recipe.input, BATCH_SIZE)
    batches = iter(dataset)
    if args.only == "input":
        for _ in range(5):
            next(batches)
        begin = time.perf_counter()
        for _ in range(4 * args.steps):
            next(batches)
        return 4 * args.steps * BATCH_SIZE / (time.perf_counter() - begin)
    learner = Learner(recipe, Devices(), say=lambda text: None)
    if args.only == "ours_quantized":
        step = training_step.build(learner, learner.quantizable.observe, dataset.element_spec)
        step(next(batches), False)
        step = training_step.build(learner, learner.quantizable.simulate, dataset.element_spec)
    else:
        step = training_step.build(learner, learner.forward, dataset.element_spec)
    seconds = []
    for _ in range(args.steps + 3):
        begin = time.perf_counter()
        float(step(next(batches), False)[0]["Loss/total_loss"])
        seconds.append(time.perf_counter() - begin)
    return BATCH_SIZE / statistics.median(seconds[3:])


if __name__ == "__main__":
    sys.exit(main())
