"""One export: a checkpoint -> six files, their parity report and the model card, all of them or none."""

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
from facedet.data import records
from facedet.evaluation import protocol, validation
from facedet.evaluation.checkpoint_detector import CheckpointDetector
from facedet.export import card, folder, parity
from facedet.export.formats import tflite
from facedet.recipe import pipeline_config
from facedet.runtime import detector
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
) -> dict:
    """Writes <config name>_<precision>[_raw].tflite, the model card and checkpoint/ (weights alone) to output_dir; returns the card.

    A checkpoint of quantization-aware training brings its ranges along; a float one is calibrated on the config's training
    records. Parity is measured on its evaluation records. output_dir is replaced whole, by one rename, with nothing in it but an
    export's files. Raises ParityError past the limits, ExportError for a folder with other files and for a full disk, ConfigError,
    RecordsError, CheckpointError, NotQuantizableError: output_dir then stays as it was.
    command: what was typed, for the card.
    """
    begin = time.perf_counter()
    config = pipeline_config.read(config_path)
    name, output_dir = pathlib.Path(config_path).stem, pathlib.Path(output_dir)
    _require_export_or_nothing(output_dir, name)
    reference = CheckpointDetector.from_checkpoint(config, checkpoint, protocol.LEAST_SCORE)
    model, quantizable = reference.model, reference.quantizable
    if reference.quantize:
        ranges = "quantization-aware training"
    else:
        paths = pipeline_config.input_paths(config.train_input_reader, "train_input_reader")
        calibrate(reference, paths, calibration_images)
        ranges = f"after training, calibrated on {calibration_images} training pictures"
    say(f"{checkpoint}: step {reference.step}; int8 ranges: {ranges}.")

    suppression = config.model.ssd.post_processing.batch_non_max_suppression
    nms = {
        "max_detections": suppression.max_total_detections,
        "score_threshold": round(suppression.score_threshold, 6),
        "iou_threshold": round(suppression.iou_threshold, 6),
    }
    with _full_disk_named(output_dir, model), folder.replacing(output_dir) as made:
        kinds = list(itertools.product(tflite.PRECISIONS, (True, False)))
        files, detectors, precisions, references = [], {"checkpoint": reference}, {}, {}
        in_float = "checkpoint"
        if reference.quantize:  # what the float files stand for; the int8 ones are compared with what was trained
            in_float = "checkpoint in float"
            detectors[in_float] = CheckpointDetector(model, quantizable, False, protocol.LEAST_SCORE)
        for precision, with_nms in tqdm(kinds, desc="convert", unit="file"):
            path = made / f"{name}_{precision}{'' if with_nms else '_raw'}.tflite"
            path.write_bytes(tflite.convert(model, quantizable, precision, with_nms, nms))
            files.append(card.file_entry(path, precision, with_nms))
            kind = files[-1]["kind"]
            detectors[kind], precisions[kind] = detector.FaceDetector(path, protocol.LEAST_SCORE, num_threads=2), precision
            references[kind] = "checkpoint" if precision == "int8" else in_float
        report = _parity_report(config, detectors, references, precisions, parity_images)
        made_card = {
            "name": name,
            "config": pathlib.Path(config_path).name,
            "step": reference.step,
            "quantization": ranges,
            "parameters": model.network.count_params(),
            "multiply_adds": _multiply_adds(model.network),
            "training": run_record.read(pathlib.Path(checkpoints.find(checkpoint)).parent),
            "export": {"command": command, "minutes": round((time.perf_counter() - begin) / 60, 1)},
            "input": {"height": model.input_size[0], "width": model.input_size[1], "color": "RGB", "range": "0..255"},
            **nms,
            "anchors": _anchor_table(model),
            "files": files,
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


def _require_export_or_nothing(output_dir: pathlib.Path, name: str) -> None:
    """The folder is replaced whole: nothing may be in it but what an export wrote."""
    if not output_dir.exists():
        return
    if not output_dir.is_dir():
        raise ExportError(f"{output_dir} is no folder: name another.")
    written = {card.JSON_FILE, card.MARKDOWN_FILE, _WEIGHTS_FOLDER}
    written |= {f"{name}_{precision}{raw}.tflite" for precision in tflite.PRECISIONS for raw in ("", "_raw")}
    if (output_dir / card.JSON_FILE).is_file():
        with contextlib.suppress(card.CardError):  # a damaged one is replaced
            written |= {entry["file"] for entry in card.read(output_dir)["files"]}
    others = sorted(path.name for path in output_dir.iterdir() if path.name not in written and not path.name.startswith("."))
    if others:
        raise ExportError(
            f"{output_dir} holds {', '.join(others[:3])}, which no export of {name} wrote, and is replaced whole: name a folder of its own."
        )


@contextlib.contextmanager
def _full_disk_named(output_dir: pathlib.Path, model):
    """OSError and TensorFlow's errors of writing -> ExportError."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        left = f"{output_dir} is as it was" if output_dir.exists() else f"nothing was written to {output_dir}"
        if errors.is_full_disk(error):
            place, temporary, parameters = output_dir.resolve().parent, tempfile.gettempdir(), model.network.count_params()
            raise ExportError(
                f"The disk is full: an export takes about {parameters * 20 / 1e6:.0f} MB in {place} "
                f"({shutil.disk_usage(place).free / 1e6:.0f} MB are free) and {parameters * 10 / 1e6:.0f} MB in {temporary} "
                f"({shutil.disk_usage(temporary).free / 1e6:.0f} MB are free); {left}. Make room and export again."
            ) from error
        if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV, errno.ENOTDIR, errno.EEXIST):
            raise ExportError(f"{error}; {left}. Name a folder, not a mount point, inside one that can be written.") from error
        raise


def _multiply_adds(network) -> int:
    """Of the convolutions, for one picture."""
    total = 0
    for layer in network.layers:
        depthwise = isinstance(layer, tf.keras.layers.DepthwiseConv2D)  # no Conv2D to Keras
        if depthwise or isinstance(layer, tf.keras.layers.Conv2D):
            _, height, width, filters = layer.output.shape
            inputs = 1 if depthwise else layer.input.shape[-1]
            total += height * width * filters * inputs * layer.kernel_size[0] * layer.kernel_size[1]
    return total


def calibrate(reference: CheckpointDetector, paths: list[str], count: int) -> None:
    """Collects the ranges of a float network's activations on `count` pictures of the records."""
    observe = tf.function(lambda images: reference.quantizable.observe(reference.model.preprocess(images)[0], training=False))
    examples = itertools.islice(records.read_examples(paths), count)
    height, width = reference.model.input_size
    for variable in reference.quantizable.ranges.values():
        variable.assign([0.0, 0.0])
    with tqdm(total=count, desc="calibrate", unit="img") as progress:
        while batch := list(itertools.islice(examples, 4)):
            images = [detector.resize(validation.decode(encoded), height, width) for _, encoded, _ in batch]
            observe(tf.constant(np.stack(images), tf.float32))
            progress.update(len(batch))


def _parity_report(config, detectors, references, precisions, count) -> dict:
    paths = pipeline_config.input_paths(config.eval_input_reader[0], "eval_input_reader")
    split = records.check_shards(paths)
    total = sum(shard["examples"] for shard in split["shards"])
    step = max(1, total // count)
    pictures, truth, official = [], {}, False
    for name, encoded, labels in itertools.islice(records.read_examples(paths), 0, step * count, step):
        image = validation.decode(encoded)
        pictures.append((name, image))
        truth[name] = validation.ground_truth(labels, *image.shape[:2])
        official |= labels.eval_subsets is not None
    if not pictures:
        raise ExportError("eval_input_reader holds no picture to compare checkpoint and files on.")
    rows = parity.compare(detectors, references, pictures, truth)
    parity.check(rows, precisions)
    return {
        "records": str(config.eval_input_reader[0].tf_record_input_reader.input_path[0]),
        "pictures": len(pictures),
        "official_subsets": official,
        "protocol": validation.PROTOCOL,
        "matched_score": parity.MATCHED_SCORE,
        "limits": ", ".join(
            f"{p}: AP -{limit.average_precision} and one face, IoU {limit.median_iou}, score {limit.median_score}"
            for p, limit in parity.LIMITS.items()
        )
        + ".",
        "rows": rows,
    }


def _anchor_table(model) -> dict:
    """The anchors level by level, sizes in pixels of the input."""
    height, width = model.input_size
    sizes = tflite.anchors_yxhw(model)[:, 2:] * (height, width)
    levels, at = [], 0
    for level, per_place in enumerate(model.anchors_per_location):
        rows, columns = model.network.get_layer(f"box_head_{level}").output.shape[1:3]
        count = rows * columns * per_place
        shapes = [[round(float(w), 1), round(float(h), 1)] for h, w in sizes[at : at + per_place]]
        levels.append({"stride": round(height / rows), "count": count, "sizes_px": shapes})
        at += count
    return {"count": at, "levels": levels}
