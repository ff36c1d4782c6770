"""One export: a checkpoint -> the files of a format, their parity report and the model card, all of them or none."""

import contextlib
import errno
import itertools
import json
import pathlib
import shutil
import tempfile
import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from facedet import errors
from facedet.evaluation import network_profile, protocol, scoring, validation
from facedet.evaluation.checkpoint_detector import CheckpointDetector
from facedet.export import card, folder, parity
from facedet.export.formats.base import Format, chosen
from facedet.export.formats.tflite import TFLite
from facedet.quantization import equalization
from facedet.recipe import pipeline_config
from facedet.recipe.recipe import Recipe
from facedet.runtime.input_spec import InputSpec
from facedet.training import run_record
from facedet.weights import checkpoints

_WEIGHTS_FOLDER = "checkpoint"


class ExportError(Exception):
    """An export that cannot be made; the message says why and the way out."""


def export(
    config_path: str,
    checkpoint: str,
    output_dir: str,
    parity_images: int = 100,
    calibration_images: int = 200,
    say=print,
    command: str = "",
    export_format: Format | None = None,
    files: str = "all",
) -> dict:
    """Writes <config name>_<kind>.tflite, or another format's files, the model card and checkpoint/ (weights alone) to output_dir; returns the card.

    A checkpoint of quantization-aware training brings its ranges along; a float one is calibrated on the config's training
    records. Parity is measured on its evaluation records. output_dir is replaced whole, by one rename, with nothing in it but an
    export's files. Raises ParityError past the limits, ExportError for a folder with other files and for a full disk, ConfigError,
    RecordsError, CheckpointError, NotQuantizableError: output_dir then stays as it was.
    command: what was typed, for the card.  files: "all", "shipped" or "int8", as formats.base.chosen() takes it.
    """
    begin, export_format = time.perf_counter(), export_format or TFLite()
    recipe = pipeline_config.read(config_path)
    name, output_dir = pathlib.Path(config_path).stem, pathlib.Path(output_dir)
    reference = CheckpointDetector.from_checkpoint(recipe, checkpoint, protocol.LEAST_SCORE)
    detector, quantizable = reference.detector, reference.quantizable
    every = export_format.kinds(detector)
    _require_export_or_nothing(output_dir, {f"{name}_{kind}{suffix}" for kind in every for suffix in export_format.suffixes})
    kinds = chosen(every, files)
    if reference.quantize:
        ranges = "quantization-aware training"
    else:
        calibrate(reference, pipeline_config.input_paths(recipe.data.train, "train_input_reader"), calibration_images)
        ranges = f"after training, calibrated on {calibration_images} training pictures"
    say(f"{checkpoint}: step {reference.step}; int8 ranges: {ranges}.")

    with _full_disk_named(output_dir, detector), folder.replacing(output_dir) as made:
        entries, detectors, precisions, references = [], {"checkpoint": reference}, {}, {}
        in_float = as_int8 = "checkpoint"
        if reference.quantize:  # what the float files stand for; the int8 ones are compared with what was trained
            in_float = "checkpoint in float"
            detectors[in_float] = CheckpointDetector(detector, quantizable, False, protocol.LEAST_SCORE)
        elif any(kind.precision == "int8" for kind in kinds):  # what the int8 files stand for, itself compared with what was trained
            as_int8 = parity.CALIBRATED
            detectors[as_int8] = CheckpointDetector(detector, quantizable, True, protocol.LEAST_SCORE)
            precisions[as_int8], references[as_int8] = "calibrated", "checkpoint"
        for kind in tqdm(kinds, desc="convert", unit="file"):
            paths = [made / f"{name}_{kind}{suffix}" for suffix in export_format.suffixes]
            written = export_format.write(detector, quantizable, kind)
            for path in paths:
                path.write_bytes(written[path.suffix])
            detectors[str(kind)] = export_format.open(paths[0], protocol.LEAST_SCORE)
            entries.append(card.file_entry(paths, kind, detectors[str(kind)], export_format.hardware(kind)))
            precisions[str(kind)] = kind.precision
            references[str(kind)] = as_int8 if kind.precision == "int8" else in_float
        report = _parity_report(recipe, detectors, references, precisions, parity_images)
        made_card = {
            "name": name,
            "config": pathlib.Path(config_path).name,
            "step": reference.step,
            "quantization": ranges,
            "parameters": detector.network.count_params(),
            "multiply_adds": network_profile.multiply_adds(detector.network),
            "training": run_record.read(pathlib.Path(checkpoints.find(checkpoint)).parent),
            "export": {"command": command, "minutes": round((time.perf_counter() - begin) / 60, 1)},
            "input": _input(recipe.input),
            "max_detections": recipe.suppression.max_detections,
            "score_threshold": recipe.suppression.score_threshold,
            "iou_threshold": recipe.suppression.iou_threshold,
            "anchors": detector.anchor_table(),
            **({"landmarks": detector.num_points} if detector.num_points else {}),
            "files": entries,
            "parity": report,
            "licence": card.LICENCE,
        }
        card.write(made_card, made)
        weights = made / _WEIGHTS_FOLDER
        weights.mkdir()
        checkpoints.write_weights(str(weights / f"ckpt-{reference.step}"), quantizable, reference.step, reference.quantize)
        if made_card["training"]:
            (weights / run_record.NAME).write_text(json.dumps(made_card["training"], indent=1) + "\n")
    return made_card


def _input(spec: InputSpec) -> dict:
    padding = {"padding": {"place": spec.pad_place, "fill": list(spec.fill)}} if spec.resize == "pad" else {}
    return {"height": spec.height, "width": spec.width, "color": "RGB", "range": "0..255", **padding}


def _require_export_or_nothing(output_dir: pathlib.Path, files: set[str]) -> None:
    """The folder is replaced whole: nothing may be in it but what an export wrote."""
    if not output_dir.exists():
        return
    if not output_dir.is_dir():
        raise ExportError(f"{output_dir} is no folder: name another.")
    written = {card.JSON_FILE, card.MARKDOWN_FILE, _WEIGHTS_FOLDER} | files
    if (output_dir / card.JSON_FILE).is_file():
        with contextlib.suppress(card.CardError):  # a damaged one is replaced
            written |= {file["file"] for entry in card.read(output_dir)["files"] for file in (entry, *entry.get("beside", []))}
    others = sorted(path.name for path in output_dir.iterdir() if path.name not in written and not path.name.startswith("."))
    if others:
        raise ExportError(
            f"{output_dir} holds {', '.join(others[:3])}, which no export of this config wrote, and is replaced whole: name a folder of its own."
        )


@contextlib.contextmanager
def _full_disk_named(output_dir: pathlib.Path, detector):
    """OSError and TensorFlow's errors of writing -> ExportError."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        left = f"{output_dir} is as it was" if output_dir.exists() else f"nothing was written to {output_dir}"
        if errors.is_full_disk(error):
            place, temporary, parameters = output_dir.resolve().parent, tempfile.gettempdir(), detector.network.count_params()
            raise ExportError(
                f"The disk is full: an export takes about {parameters * 20 / 1e6:.0f} MB in {place} "
                f"({shutil.disk_usage(place).free / 1e6:.0f} MB are free) and {parameters * 10 / 1e6:.0f} MB in {temporary} "
                f"({shutil.disk_usage(temporary).free / 1e6:.0f} MB are free); {left}. Make room and export again."
            ) from error
        if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV, errno.ENOTDIR, errno.EEXIST):
            raise ExportError(f"{error}; {left}. Name a folder, not a mount point, inside one that can be written.") from error
        raise


def calibrate(reference: CheckpointDetector, paths: list[str], count: int) -> list[str]:
    """Equalizes a float network and collects the ranges of its activations, on an even sample of `count` pictures of the records.

    Ranges of scores end where the files' do: a background of -100 would leave a face few of the 256 values. Those of boxes and points
    are of what the files show. Returns the names of the layers that were equalized.
    """
    spec, quantizable = reference.detector.input, reference.quantizable

    def batches(purpose: str):
        pictures, number = validation.sample(paths, count)
        with tqdm(total=number, desc=purpose, unit="img") as progress:
            while batch := list(itertools.islice(pictures, 4)):
                prepared = np.stack([spec.prepare(picture.image)[0] for picture in batch])
                yield spec.normalize(tf.constant(prepared, tf.float32))
                progress.update(len(batch))

    equalized = list(equalization.equalize(quantizable.network, batches("equalize")))
    quantizable.calibrate(batches("calibrate"), shown=reference.detector.shown)
    for name, (least, greatest) in reference.detector.saturated().items():
        low, high = quantizable.ranges[name].numpy()
        quantizable.ranges[name].assign([max(low, least), min(high, greatest)])
    return equalized


def _parity_report(recipe: Recipe, detectors, references, precisions, count) -> dict:
    paths = pipeline_config.input_paths(recipe.data.evaluation, "eval_input_reader")
    pictures, number = validation.sample(paths, count)
    if not number:
        raise ExportError("eval_input_reader holds no picture to compare checkpoint and files on.")
    scores = scoring.score(detectors, pictures, number, "parity")
    rows = parity.compare(scores, references)
    parity.check(rows, precisions)
    return {
        "records": recipe.data.evaluation[0],
        "pictures": number,
        "official_subsets": scores.official,
        "protocol": validation.PROTOCOL,
        "matched_score": parity.MATCHED_SCORE,
        "limits": parity.limits_in_words(rows),
        "rows": rows,
    }
