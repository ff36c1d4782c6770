"""The model card of an export, as JSON and as Markdown."""

import hashlib
import json
import os
import pathlib
import tempfile

from tabulate import tabulate

from facedet.data.widerface import SUBSETS
from facedet.evaluation import false_faces, groups, landmarks, ties
from facedet.evaluation.report import height_range, or_dash
from facedet.export.parity import CALIBRATED
from facedet.runtime.detector import OUTPUTS_WITH_NMS, FaceDetector
from facedet.runtime.landmarks import NAMES

JSON_FILE, MARKDOWN_FILE = "model_card.json", "model_card.md"
OUTPUTS = {
    "detection_boxes": ("[1, {detections}, 4]", "ymin, xmin, ymax, xmax in fractions of the picture, best first"),
    "detection_classes": ("[1, {detections}]", "always 0, face"),
    "detection_scores": ("[1, {detections}]", "0..1, falling"),
    "detection_landmarks": ("[1, {detections}, {coordinates}]", "y, x of {points}, the left of the picture first"),
    "num_detections": ("[1]", "how many rows hold a detection; the rest is not initialized"),
    "raw_boxes": ("[1, {anchors}, 4]", "ycenter, xcenter, height, width in fractions of the picture; decoded, not suppressed"),
    "raw_scores": ("[1, {anchors}, 1]", "0..1"),
    "regressors": ("[1, 896, 16]", "x, y, width, height and x, y of six points, in px of the input from an anchor's centre"),
    "classificators": ("[1, 896, 1]", "logits"),
    "raw_landmarks": ("[1, {anchors}, {coordinates}]", "as detection_landmarks, one row a box"),
}
PLACES = {"centre": "in its middle", "end": "at its upper left"}  # by InputSpec.pad_place
LICENCE = (
    "The weights were learned from WIDER FACE, whose pictures are for non-commercial research only, starting from ImageNet "
    "weights; take them for research. The code that made them is under its own licence."
)


class CardError(Exception):
    """A model card that cannot be read; the message names it and the way out."""


def file_entry(paths: list[pathlib.Path], kind, detector: FaceDetector, hardware: str) -> dict:
    """What the card says of a file, and of those that it needs beside it.

    paths: the file that is opened first.  kind: Kind of facedet.export.formats.base.  detector: the file, opened.
    hardware: what the file is for.
    """
    first, *others = [{"file": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)} for path in paths]
    entry = {"file": first.pop("file"), "kind": str(kind), **first, **({"beside": others} if others else {})}
    taken = "uint8" if kind.precision == "int8" else "float32"
    return {**entry, "input": taken, "outputs": detector.output_names, "hardware": hardware}


def _sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(folder: pathlib.Path) -> dict:
    """The card of an export's folder. Raises CardError."""
    path = folder / JSON_FILE
    try:
        card = json.loads(path.read_text())
    except OSError as error:
        raise CardError(f"{path} cannot be read ({error.strerror}): name the folder of an export.") from error
    except ValueError as error:
        raise CardError(f"{path} is damaged ({error}): export again.") from error
    missing = [key for key in ("name", "files", "score_threshold") if not isinstance(card, dict) or key not in card]
    if missing:
        raise CardError(f"{path} holds no {', '.join(missing)}: export again.")
    return card


def write(card: dict, folder: pathlib.Path) -> None:
    """Both forms of the card, model_card.json and model_card.md. OSError leaves an earlier card as it was."""
    forms = {folder / JSON_FILE: json.dumps(card, indent=1) + "\n", folder / MARKDOWN_FILE: markdown(card)}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".card.") as written:
        for path, text in forms.items():
            (pathlib.Path(written) / path.name).write_text(text)
        for path in forms:
            os.replace(pathlib.Path(written) / path.name, path)


def markdown(card: dict) -> str:
    """The card's Markdown; every figure in it stands in the JSON beside it."""
    height, width = card["input"]["height"], card["input"]["width"]
    points = NAMES[card.get("landmarks", 5)]
    sizes = {"detections": card["max_detections"], "anchors": card["anchors"]["count"]}
    sizes |= {"points": ", ".join(points), "coordinates": 2 * len(points)}
    files = []
    for f in card["files"]:
        files.append([f["file"], f["hardware"], f["bytes"], f["input"], f["sha256"][:12]])
        files += [[b["file"], "", b["bytes"], "", b["sha256"][:12]] for b in f.get("beside", [])]
    parity = card["parity"]
    with_landmarks = any("median_landmarks" in row for row in parity["rows"])
    subsets = SUBSETS if parity["official_subsets"] else SUBSETS[-1:]
    heading = [s.capitalize() if parity["official_subsets"] else "all faces" for s in subsets]
    rows = [
        [
            r["name"],
            *(f"{r[s]:.4f}" for s in subsets),
            f"{r['median_iou']:.4f}",
            f"{r['median_score']:.4f}",
            *([or_dash(r.get("median_landmarks"), 4)] if with_landmarks else []),
            f"{r['matched']} / {r['unmatched']}",
        ]
        for r in parity["rows"]
    ]
    columns = ["median IoU", "median score difference", *(["median landmark distance"] if with_landmarks else []), "matched / not"]
    given = {name for file in card["files"] for name in file["outputs"]}
    frame = "the padded input" if card["input"].get("padding") else "the picture"
    outputs = [
        [
            name,
            shape.format(**sizes),
            meaning.format(**sizes).replace("the picture", frame, 1) if "fractions" in meaning else meaning.format(**sizes),
        ]
        for name, (shape, meaning) in OUTPUTS.items()
        if name in given
    ]
    anchors = [[a["stride"], a["count"], ", ".join(f"{w} x {h}" for w, h in a["sizes_px"])] for a in card["anchors"]["levels"]]
    return "\n".join(
        [
            f"# {card['name']}",
            "",
            f"Face detector, input {width}x{height}, {card['parameters']:,} parameters, {card['multiply_adds'] / 1e6:.0f} M multiply-adds, "
            f"step {card['step']} of `{card['config']}`, quantization: {card['quantization']}.",
            "",
            *_training(card["training"]),
            tabulate(files, ["file", "for", "bytes", "input", "SHA-256"], "github", intfmt=","),
            "",
            f"Input `image` [1, {height}, {width}, 3]: RGB 0..255, the picture {_fitted(card['input'])}; normalization is in the graph.",
            "Outputs, in this order, float32:",
            "",
            tabulate(outputs, ["output", "shape", "meaning"], "github"),
            "",
            *_forms(card["files"]),
            *_measured(card.get("measured")),
            "## Parity",
            "",
            f"Checkpoint and files on the same {parity['pictures']} pictures of `{parity['records']}`; {parity['protocol']}. "
            f"Float files are compared with the checkpoint in float, {_of_int8(parity['rows'])}. Matched: its boxes from score {parity['matched_score']} on. Limits: {parity['limits']}",
            "",
            tabulate(rows, ["", *heading, *columns], "github", disable_numparse=True),
            "",
            "## Anchors",
            "",
            f"{card['anchors']['count']:,} in all; width x height in pixels of the input.",
            "",
            tabulate(anchors, ["stride", "number", "sizes"], "github"),
            "",
            "## Post-processing",
            "",
            f"Scores from {card['score_threshold']}, non-maximum suppression at IoU {card['iou_threshold']:.2f}, at most {card['max_detections']} faces.",
            "",
            *_commands(card),
            "## Licence of the weights",
            "",
            LICENCE,
            "",
        ]
    )


def _of_int8(rows: list[dict]) -> str:
    if not any(row["name"] == CALIBRATED for row in rows):
        return "int8 ones with it as it was trained"
    return f'int8 ones with its simulation ("{CALIBRATED}"), that with it in float'


def _fitted(said: dict) -> str:
    """How a picture comes into the input. said: the card's input."""
    if not (padding := said.get("padding")):
        return "stretched to it"
    return f"fitted into it with its aspect kept, {PLACES[padding['place']]}, the rest filled with {padding['fill']}"


def _forms(files: list[dict]) -> list[str]:
    """Which file gives what, of a detector with landmarks: the files of one without all give the same."""
    if not any("landmarks" in name for file in files for name in file["outputs"]):
        return []
    by_outputs = {}
    for file in files:
        by_outputs.setdefault(tuple(file["outputs"]), []).append(f"`{file['file']}`")
    rows = [
        [", ".join(names), ", ".join(outputs), _yes(outputs[0] == OUTPUTS_WITH_NMS[0]), _yes("landmarks" in " ".join(outputs))]
        for outputs, names in by_outputs.items()
    ]
    return [
        "Which file gives what; `num_detections` is int32 beside landmarks:",
        "",
        tabulate(rows, ["files", "outputs, in this order", "suppressed", "landmarks"], "github"),
        "",
    ]


def _yes(said: bool) -> str:
    return "yes" if said else "no"


def _training(told: dict | None) -> list[str]:
    if not told:
        return []
    seen = told["steps"] * told["batch_size"]
    return [
        f"Trained on {told['train_pictures']:,} pictures with {told['train_faces']:,} faces, from {told['started_from']}: "
        f"{told['steps']:,} steps of {told['batch_size']} ({seen:,} pictures seen), {told['wall_minutes']:.0f} minutes, "
        f"{told['cpu_minutes']:.0f} of processor time, on {told['cores']} cores.",
        "",
    ]


def _commands(card: dict) -> list[str]:
    """All that was typed, from the first training run on, with what it took."""
    lines, run = [], card["training"]
    while run:
        if run.get("commands"):
            took = f"# {run['steps']:,} steps of {run['batch_size']}: {run['wall_minutes']:.0f} minutes, {run['cpu_minutes']:.0f} of processor time"
            lines = [took, *run["commands"], *lines]
        run = run.get("before")
    for step in (card.get("export"), card.get("measured")):
        if step and step.get("command"):
            took = [f"# {step['minutes']:.0f} minutes"] if "minutes" in step else []
            lines += [*took, step["command"]]
    return ["## How it was made", "", "```sh", *lines, "```", ""] if lines else []


def _measured(measured: dict | None) -> list[str]:
    """What scripts/measure_export.py found."""
    if not measured:
        return []
    ap = [[name, *(f"{row['average_precision'][s]:.4f}" for s in SUBSETS)] for name, row in measured["accuracy"].items()]
    kinds = list(measured["accuracy"])
    heights = []
    for rows in zip(*(measured["accuracy"][kind]["recall_by_height"] for kind in kinds), strict=True):
        if rows[0]["faces"]:
            heights.append([height_range(rows[0]), rows[0]["faces"], *(f"{row['found'] / row['faces']:.3f}" for row in rows)])
    turned = measured["recall_by_rotation"]
    degrees = list(turned[SUBSETS[0]])
    rotation = [[subset.capitalize(), *(f"{turned[subset][d]:.3f}" for d in degrees)] for subset in SUBSETS]
    times = [
        [name, *(f"{row[key]:.1f}" for key in ("wall_ms_p50", "wall_ms_p95", "cpu_ms_p50"))] for name, row in measured["latency"].items()
    ]
    return [
        "## Accuracy",
        "",
        measured["protocol"],
        "",
        tabulate(ap, ["file", *(s.capitalize() for s in SUBSETS)], "github", disable_numparse=True),
        "",
        "Recall of the Hard faces by their height in the picture, at any score:",
        "",
        tabulate(heights, ["height, px", "faces", *kinds], "github", disable_numparse=True),
        "",
        *landmarks.markdown(measured.get("landmarks")),
        f"Recall of the int8 file on the same pictures turned by so many degrees, at score {measured['rotation_score']} and more:",
        "",
        tabulate(rotation, ["faces", *degrees], "github", disable_numparse=True),
        "",
        *false_faces.markdown(measured.get("false_faces")),
        *ties.markdown(measured.get("ties")),
        *groups.markdown(measured.get("groups")),
        "## Latency",
        "",
        measured["latency_protocol"],
        "",
        tabulate(times, ["file", "p50 ms", "p95 ms", "CPU ms p50"], "github", disable_numparse=True),
        "",
    ]
