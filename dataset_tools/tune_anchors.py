#!/usr/bin/env python3
"""How well a config's anchors cover the faces of a data set, as a table and a plot, and a fitted ladder as config text.

python dataset_tools/tune_anchors.py --pipeline_config_path configs/NAME.config --records 'data/widerface/widerface_val.tfrecord-*'
"""

import argparse
import glob
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tabulate import tabulate

from facedet.assign import anchor_ladder
from facedet.data import records
from facedet.detectors import registry
from facedet.recipe import pipeline_config


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--pipeline_config_path", required=True)
    parser.add_argument("--records", help="pattern of record files (default: the config's eval_input_reader)")
    parser.add_argument("--smallest_px", type=float, default=5.7, help="least anchor width of the ladder (default: %(default)s)")
    parser.add_argument("--plot", default="anchor_coverage.png")
    args = parser.parse_args(argv)
    try:
        recipe = pipeline_config.read(args.pipeline_config_path)
        if args.records:
            paths = sorted(glob.glob(args.records))
        elif recipe.data.evaluation:
            paths = pipeline_config.input_paths(recipe.data.evaluation, "eval_input_reader")
        else:
            raise pipeline_config.ConfigError(f"{args.pipeline_config_path} has no eval_input_reader: name record files with --records.")
        records.check_shards(paths)
        detector = registry.build(recipe)
    except (pipeline_config.ConfigError, records.RecordsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    faces = anchor_ladder.FaceSet.read(paths)
    if not len(faces.boxes_yxyx_norm):
        print(f"error: {paths[0]} and its like hold no face to fit anchors to.", file=sys.stderr)
        return 1
    own = detector.anchors_yxyx
    best = anchor_ladder.best_overlap(faces.boxes_yxyx_norm, own)
    rows = anchor_ladder.coverage_table(faces, best, detector.input.size)
    print(f"{len(own):,} anchors, {len(best):,} faces, pictures stretched to {detector.input.size[1]}x{detector.input.size[0]}")
    print(coverage_text(rows))
    _plot(faces, best, detector.input.size, args.plot)
    ladder = anchor_ladder.fit_ladder(faces, detector.input.size, args.smallest_px)
    print(f"\nThe plot is {args.plot}. A ladder fitted to these faces:\n\n{anchor_ladder.config_text(ladder)}")
    return 0


def coverage_text(rows: list[dict]) -> str:
    """Rows of anchor_ladder.coverage_table() as a table; '-' stands for the share of no faces."""
    table = [[r["label"], r["faces"], *(f"{r[key]:.1%}" if r["faces"] else "-" for key in ("half", "third"))] for r in rows]
    return tabulate(table, ["faces", "number", "best IoU >= 0.5", "best IoU >= 0.35"], "github", intfmt=",")


def _plot(faces, best, input_size, path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import numpy as np
    from matplotlib import pyplot

    heights = (faces.boxes_yxyx_norm[:, 2] - faces.boxes_yxyx_norm[:, 0]) * input_size[0]
    edges = np.geomspace(2, max(4, heights.max(initial=4)), 25)
    at = np.digitize(heights, edges)
    figure, axis = pyplot.subplots(figsize=(8, 4.5))
    for threshold in (0.5, 0.35):
        share = [(best[at == i] >= threshold).mean() if (at == i).any() else np.nan for i in range(1, len(edges))]
        axis.plot(np.sqrt(edges[1:] * edges[:-1]), share, marker="o", label=f"best IoU >= {threshold}")
    axis.set(xscale="log", xlabel="face height at the input, px", ylabel="share of faces", ylim=(0, 1.02))
    counts = axis.twinx()
    counts.hist(heights, edges, alpha=0.2, color="grey")
    counts.set_ylabel("faces")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
