#!/usr/bin/env python3
"""The main job from end to end, in at most ten minutes on two cores: make demo, or make demo DATA_DIR=/path/to/widerface.

Converts, trains the 224 config through the start of quantization, evaluates, exports all files with their parity report,
detects, and leaves demo/found.png and demo/report.md. Each step is a command of the project, printed as it is run.
"""

import argparse
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NAME = "ssd_mobilenet_v2_quantized_224x224_widerface"
SHIPPED = ROOT / "exported_models" / NAME / "checkpoint"
MARK = ".made_by_the_demo"  # in a folder that the next demo may replace


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--data_dir", help="a real WIDER FACE folder; by default a small sample is made")
    parser.add_argument("--output_dir", default="demo")
    parser.add_argument("--num_steps", type=int, default=160, help="of training, in batches of 16 (default: %(default)s)")
    args = parser.parse_args(argv)
    output = pathlib.Path(args.output_dir).resolve()
    if output.exists() and any(output.iterdir()) and not (output / MARK).is_file():
        sys.exit(f"error: {output} holds files that no demo made: remove it, or name another --output_dir.")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    (output / MARK).touch()
    run = _Runner(total=5 if args.data_dir else 6)

    data_dir = pathlib.Path(args.data_dir).resolve() if args.data_dir else output / "sample"
    if not args.data_dir:
        run("make a sample", "dataset_tools/make_sample_dataset.py", "--output_dir", data_dir)
    landmarks = data_dir / "landmarks" / "train_label.txt"
    extra = ["--landmarks", landmarks] if landmarks.is_file() else []
    run("convert", "dataset_tools/create_widerface_tf_record.py", "--data_dir", data_dir, "--output_dir", output / "records",
        "--allow_missing_images", *extra)  # fmt: skip
    config = output / f"{NAME}.config"
    config.write_text(_demo_config(output / "records", args.num_steps))
    sampled = ["--sample_1_of_n_eval_examples=10"] if args.data_dir else []
    run("train", "scripts/model_main.py", f"--pipeline_config_path={config}", f"--model_dir={output / 'model'}", *sampled)
    exported = output / "exported"
    run("export", "scripts/export_tflite.py", "--pipeline_config_path", config, "--checkpoint_dir", output / "model",
        "--output_dir", exported, "--parity_images", "40")  # fmt: skip
    files = [exported / f"{NAME}_{kind}.tflite" for kind in ("int8", "float32")]
    run("evaluate", "scripts/evaluate.py", "--data_dir", data_dir, "--tflite", *files, "--output_dir", output / "evaluation",
        "--limit", "200")  # fmt: skip
    pictures = sorted((data_dir / "WIDER_val" / "images").glob("*/*.jpg"))
    chosen = pictures[:: max(1, len(pictures) // 12)][:12]
    if not chosen:  # the zips were given: take what was evaluated
        chosen = _from_zip(data_dir, output / "pictures")
    run("detect", "scripts/detect.py", "--tflite", files[0], "--output_dir", output / "found", "--score_threshold", "0.4", *chosen)
    _report(output, files, run)
    return 0


class _Runner:
    """Runs the project's commands one after another and keeps how long each took."""

    def __init__(self, total: int):
        self.total, self.seconds, self.began = total, {}, time.perf_counter()

    def __call__(self, name: str, script: str, *arguments) -> None:
        command = [script, *map(str, arguments)]
        passed = time.perf_counter() - self.began
        print(f"\n== {len(self.seconds) + 1} of {self.total}: {name} ({passed:.0f} s so far)\n$ python {shlex.join(command)}", flush=True)
        begin = time.perf_counter()
        result = subprocess.run([sys.executable, *command], cwd=ROOT)
        if result.returncode:
            sys.exit(f"error: '{name}' ended with {result.returncode}; make doctor may say why.")
        self.seconds[name] = time.perf_counter() - begin


def _demo_config(records: pathlib.Path, num_steps: int) -> str:
    """The 224 config for a few minutes: fewer and smaller steps, quantization after 60% of them."""
    from google.protobuf import text_format

    from facedet.recipe import adapt, pipeline_config

    config = pipeline_config.message(str(ROOT / "configs" / f"{NAME}.config"))
    adapt.adapt(config, num_steps, batch_size=16, records_dir=str(records))
    train = config.train_config
    rate = train.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate
    rate.warmup_steps = num_steps // 10
    train.optimizer.moving_average_decay = 0.95
    if SHIPPED.is_dir():
        train.fine_tune_checkpoint, train.fine_tune_checkpoint_type = str(SHIPPED), "full"
        rate.learning_rate_base, rate.warmup_learning_rate = 0.0003, 0.00003
    elif train.fine_tune_checkpoint == "imagenet":  # it may not be there without a network
        train.ClearField("fine_tune_checkpoint")
        train.ClearField("freeze_variables")
    config.graph_rewriter.quantization.delay = num_steps * 6 // 10
    return text_format.MessageToString(config)


def _from_zip(data_dir: pathlib.Path, target: pathlib.Path) -> list[pathlib.Path]:
    from facedet.data import widerface

    source = widerface.WiderFace(data_dir, "val")
    names = sorted(source.sizes())
    paths = []
    for name in names[:: max(1, len(names) // 12)][:12]:
        paths.append(target / pathlib.Path(name).name)
        target.mkdir(exist_ok=True)
        paths[-1].write_bytes(source.read(name))
    return paths


def _report(output: pathlib.Path, files, run: _Runner) -> None:
    import numpy as np
    from PIL import Image
    from tabulate import tabulate

    from facedet.runtime import drawing

    found = sorted((output / "found").glob("*.found.png"))
    Image.fromarray(drawing.contact_sheet([np.asarray(Image.open(path)) for path in found])).save(output / "found.png")
    results = json.loads((output / "evaluation" / "results.json").read_text())
    card = json.loads((output / "exported" / "model_card.json").read_text())
    parity = {row["name"]: row for row in card["parity"]["rows"]}
    rows = []
    for path in files:
        kind = path.stem.removeprefix(NAME + "_")
        ap = results["detectors"][path.stem]["average_precision"]
        row = parity[kind]
        rows.append([kind, *(f"{value:.3f}" for value in ap.values()), f"{path.stat().st_size:,}", f"{row['median_iou']:.3f}"])
    faces = sum(len(json.loads(path.read_text())["scores"]) for path in (output / "found").glob("*.json"))
    text = "\n".join(
        [
            "# What the demo measured",
            "",
            tabulate(
                rows, ["file", "Easy", "Medium", "Hard", "bytes", "median IoU against the checkpoint"], "github", disable_numparse=True
            ),
            "",
            results["protocol"],
            f"{faces} faces in the {len(found)} pictures of found.png, from score 0.4 on.",
            "",
            tabulate(
                [[name, f"{s:.0f}"] for name, s in [*run.seconds.items(), ("all", sum(run.seconds.values()))]],
                ["step", "seconds"],
                "github",
            ),
            "",
        ]
    )
    (output / "report.md").write_text(text)
    print("\n" + text)
    print(f"The picture is {output / 'found.png'}, the files are in {output / 'exported'}.")


if __name__ == "__main__":
    sys.exit(main())
