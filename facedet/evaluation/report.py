"""An evaluation for people: tables, and precision-recall curves as a picture."""

import pathlib

from tabulate import tabulate

from facedet.evaluation.protocol import Result
from facedet.evaluation.scoring import ALL_FACES
from facedet.runtime.input_spec import InputSpec

PADDED = {"centre": "on both sides", "end": "on the right or below"}  # by InputSpec.pad_place


def tables(name: str, results: dict[str, Result], by_height: list[dict], landmarks: dict | None = None) -> str:
    """Average precision by subset, recall by face height, and landmarks (Errors.as_dict()) where there are some, as text."""
    ap = [[subset_name(subset), f"{r.average_precision:.4f}", r.faces] for subset, r in results.items()]
    heights = [[height_range(row), row["faces"], f"{row['found'] / row['faces']:.3f}" if row["faces"] else "-"] for row in by_height]
    parts = [
        name,
        tabulate(ap, ["subset", "AP", "faces"], "github", disable_numparse=True),
        "",
        tabulate(heights, ["face height, px of the picture", "faces", "recall"], "github", disable_numparse=True),
    ]
    if landmarks:
        parts += ["", landmark_table(landmarks, "by_height", "px of the picture")]
    if landmarks and "by_height_at_input" in landmarks:
        parts += ["", landmark_table(landmarks, "by_height_at_input", "px of the input")]
    return "\n".join(parts)


def error_tables(errors: dict[str, dict]) -> str:
    """{detector: errors.analyse() of it} as text, the detectors side by side."""
    first = next(iter(errors.values()))
    names, told = list(errors), list(errors.values())

    def reached(one: dict) -> str:
        return f"{one['score']:.3f}" if one["score"] is not None else f"never: {one['recall']:.3f}"

    rows = [[f"score at which {first['recall'] if first['score'] is not None else 'the recall'} is reached", *map(reached, told)]]
    for kind, found in first["false_boxes"].items():
        rows.append([f"false boxes, {kind}", *(one["false_boxes"][kind]["count"] for one in told)])
        rows.append(["their median height, px", *(or_dash(one["false_boxes"][kind]["median_height"]) for one in told)])
        for i, row in enumerate(found["by_height"]):
            rows.append([f"... of {height_range(row)} px", *(one["false_boxes"][kind]["by_height"][i]["count"] for one in told)])
    rows.append([f"never found, of {first['faces']:,} faces", *(one["never_found"]["count"] for one in told)])
    missed = [[height_range(row) + " px", *_missed([one["never_found"]["by_height"][i] for one in told])]
              for i, row in enumerate(first["never_found"]["by_height"])]  # fmt: skip
    for attribute, values in first["never_found"].get("by_attribute", {}).items():
        missed += [[f"{attribute}: {value}", *_missed([one["never_found"]["by_attribute"][attribute][value] for one in told])]
                   for value in values]  # fmt: skip
    return "\n\n".join(
        [
            f"Errors on {subset_name(first['subset'])}",
            tabulate(rows, ["", *names], "github", disable_numparse=True),
            tabulate(missed, ["share of faces never found", "faces", *names], "github", disable_numparse=True),
        ]
    )


def _missed(rows: list[dict]) -> list:
    faces = rows[0]["faces"]
    return [faces, *(f"{row['missed'] / faces:.3f}" if faces else "-" for row in rows)]


def or_dash(value: float | None, places: int = 0) -> str:
    """A number with so many places; '-' where there is none."""
    return "-" if value is None else f"{value:.{places}f}"


def landmark_table(landmarks: dict, heights: str, unit: str) -> str:
    """Errors.as_dict() as a table of the rows under its key `heights` that have faces, and of all faces."""
    rows = [row for row in landmarks[heights] if row["faces"]]
    named = [(height_range(row), row) for row in rows]
    if heights == "by_height_at_input":
        named.append((height_range(landmarks["from_32_at_input"]), landmarks["from_32_at_input"]))
    named.append(("all", landmarks["all"]))
    keys = [key for key in landmarks["all"] if key == "nme" or key.startswith("under")]
    lines = [[title, row["faces"], row["found"], *("-" if row[key] is None else f"{row[key]:.3f}" for key in keys)] for title, row in named]
    shown = [f"face height, {unit}", "with points", "found", *(key.upper() if key == "nme" else key.replace("_", " ") for key in keys)]
    return tabulate(lines, shown, "github", disable_numparse=True)


def height_range(row: dict) -> str:
    """The heights of a row of protocol.recall_by_height, for people."""
    return f"{row['from']:g} and more" if row["to"] is None else f"{row['from']:g} - {row['to']:g}"


def subset_name(subset: str) -> str:
    """A subset of Scores.results(), for people."""
    return "All faces" if subset == ALL_FACES else subset.capitalize()


def fitting(spec: InputSpec, size: str | None = None) -> str:
    """How pictures come into the input: 'stretched to 320x240', 'fitted into 320x240, padded at the end'."""
    size = size or f"{spec.width}x{spec.height}"
    return f"stretched to {size}" if spec.resize == "stretch" else f"fitted into {size}, padded {PADDED[spec.pad_place]}"


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
