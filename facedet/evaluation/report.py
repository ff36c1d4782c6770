"""An evaluation for people: tables, and precision-recall curves as a picture."""

import pathlib

from tabulate import tabulate

from facedet.evaluation.protocol import Result


def tables(name: str, results: dict[str, Result], by_height: list[dict]) -> str:
    """Average precision by subset and recall by face height, as text."""
    ap = [[subset.capitalize(), f"{r.average_precision:.4f}", r.faces] for subset, r in results.items()]
    heights = [[height_range(row), row["faces"], f"{row['found'] / row['faces']:.3f}" if row["faces"] else "-"] for row in by_height]
    return "\n".join(
        [
            name,
            tabulate(ap, ["subset", "AP", "faces"], "github", disable_numparse=True),
            "",
            tabulate(heights, ["face height, px of the picture", "faces", "recall"], "github", disable_numparse=True),
        ]
    )


def height_range(row: dict) -> str:
    """The heights of a row of protocol.recall_by_height, for people."""
    return f"{row['from']:g} and more" if row["to"] is None else f"{row['from']:g} - {row['to']:g}"


def plot_curves(results: dict[str, dict[str, Result]], path: str | pathlib.Path, title: str) -> None:
    """{detector: {subset: Result}} -> a picture with a panel a subset and a curve a detector."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    subsets = list(next(iter(results.values())))
    figure, panels = pyplot.subplots(1, len(subsets), figsize=(5 * len(subsets), 4.5), sharey=True, squeeze=False)
    for panel, subset in zip(panels[0], subsets, strict=True):
        for name, by_subset in results.items():
            result = by_subset[subset]
            panel.plot(result.recall, result.precision, label=f"{name} {result.average_precision:.3f}")
        panel.set(title=f"{subset}, {by_subset[subset].faces:,} faces", xlabel="recall", xlim=(0, 1), ylim=(0, 1.02))
        panel.grid(alpha=0.3)
        panel.legend(loc="lower left")
    panels[0][0].set_ylabel("precision")
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
