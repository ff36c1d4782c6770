#!/usr/bin/env python3
"""The same recipe with another number of steps, batch size, rate, input size, start or folder of records: writes a new pipeline config.

    python scripts/adapt_config.py --pipeline_config_path configs/NAME.config --num_steps 12000 --output NAME.config

The learning rate's schedule and the delay of quantization move in proportion to the steps. At another input size anchors keep their pixels,
and a [facedet.training] teacher is left out: it has the config's size. Whatever else a run has of its own is merged in:

    python scripts/adapt_config.py --pipeline_config_path configs/NAME.config --output NAME.config \\
        --merge 'train_config { update_trainable_variables: "^points_" } [facedet.training] { landmark_weight: 1 }'
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--pipeline_config_path", required=True)
    parser.add_argument("--num_steps", type=int)
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--learning_rate", type=float, help="the schedule's highest")
    parser.add_argument("--height", type=int, help="of the input, px")
    parser.add_argument("--width", type=int, help="of the input, px")
    parser.add_argument("--records_dir")
    parser.add_argument("--eval_split", choices=["val", "holdout"], help="of the records, to evaluate on while training")
    parser.add_argument(
        "--fine_tune_checkpoint", metavar="FOLDER", help="start from all weights of this checkpoint; 'none': from random ones"
    )
    parser.add_argument(
        "--merge", metavar="TEXT", action="append", default=[], help="a piece of pipeline config to go over the result, for any other key"
    )
    parser.add_argument("--output", required=True)
    args = parser.parse_args(argv)
    from facedet.detectors import registry
    from facedet.od_api import protos
    from facedet.recipe import adapt, pipeline_config
    from facedet.training import run_record

    try:
        config = pipeline_config.message(args.pipeline_config_path)
        taught = protos.training(config).HasField("teacher")
        adapt.adapt(
            config,
            args.num_steps,
            args.batch_size,
            args.records_dir,
            args.learning_rate,
            name=args.pipeline_config_path,
            eval_split=args.eval_split,
            height=args.height,
            width=args.width,
        )
        if args.fine_tune_checkpoint == "none":
            config.train_config.ClearField("fine_tune_checkpoint")
            config.train_config.ClearField("freeze_variables")
        elif args.fine_tune_checkpoint:
            config.train_config.fine_tune_checkpoint, config.train_config.fine_tune_checkpoint_type = args.fine_tune_checkpoint, "full"
        for piece in args.merge:
            adapt.merge(config, piece)
        recipe = pipeline_config.from_message(config, args.pipeline_config_path)
        if args.height or args.width:
            registry.build(recipe)  # raises where the network cannot have that size
    except pipeline_config.ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    output = pathlib.Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f"# {run_record.this_command()}\n{recipe.text}")
    train, rewriter = config.train_config, config.graph_rewriter
    if taught and not recipe.training.teacher:
        print("Without the config's teacher, whose input has another size.")
    print(
        f"{output}: {recipe.input.height}x{recipe.input.width}, {train.num_steps} steps of {train.batch_size}, fake quantization from step {rewriter.quantization.delay} on."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
