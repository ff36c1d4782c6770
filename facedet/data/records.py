"""TFRecords of faces: the one list of their keys, one picture <-> one tf.train.Example, whole shards and their manifest."""

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from facedet.data.places import place

MANIFEST = "manifest.json"
VERIFIED = ".verified.json"  # {shard: [bytes, mtime in ns]} of those whose checksums were right
UNFINISHED = ".unfinished"  # where a new set is made
FORMAT = "facedet-tfrecord-1"
CLASS_NAME, CLASS_ID = "face", 1
NUM_LANDMARKS = 5  # of a face


class Keys:
    """Feature keys. All but the last group are those of the OD API's TfExampleDecoder."""

    HEIGHT, WIDTH = "image/height", "image/width"
    FILENAME, SOURCE_ID = "image/filename", "image/source_id"
    ENCODED, FORMAT = "image/encoded", "image/format"
    XMIN, XMAX = "image/object/bbox/xmin", "image/object/bbox/xmax"  # fractions of the picture, inside of it
    YMIN, YMAX = "image/object/bbox/ymin", "image/object/bbox/ymax"
    CLASS_TEXT, CLASS_LABEL = "image/object/class/text", "image/object/class/label"
    WEIGHT = "image/object/weight"  # 0 for a face to ignore: neither learned nor background
    IS_CROWD = "image/object/is_crowd"  # 1 for the same faces: COCO's metrics then ignore them as well
    AREA = "image/object/area"
    KEYPOINT_X, KEYPOINT_Y = "image/object/keypoint/x", "image/object/keypoint/y"  # five a face, NaN where absent
    KEYPOINT_VISIBILITY = "image/object/keypoint/visibility"

    ATTRIBUTE = "image/object/attribute/{}"  # WIDER FACE's blur, expression, ...
    EVAL_BOXES = "image/widerface/boxes_xywh_px"  # what the protocol scores against, flat: the official list's, else as annotated
    EVAL_SUBSETS = "image/widerface/subsets"  # a bit a subset for each of them, easy 1, medium 2, hard 4; absent without the lists


class RecordsError(Exception):
    """A set of records that cannot be used: the message says which file, why, and the way out."""


@dataclasses.dataclass
class Labels:
    """What a record keeps of the faces of one picture, N of them written.

    boxes_yxyx_norm: float32 [N, 4], inside 0..1.  weights: float32 [N].  attributes: int64 [N, 6].
    landmarks_xy_norm: float32 [N, 5, 2] with NaN where absent, or None.
    eval_boxes_xywh_px: float32 [M, 4] of the official list, else as annotated.  eval_subsets: int64 [M] bit masks, or None.
    """

    boxes_yxyx_norm: np.ndarray
    weights: np.ndarray
    attributes: np.ndarray
    landmarks_xy_norm: np.ndarray | None
    eval_boxes_xywh_px: np.ndarray
    eval_subsets: np.ndarray | None


def to_example(name: str, encoded: bytes, height: int, width: int, faces: Labels, attribute_names: tuple[str, ...]) -> bytes:
    """One picture as a serialized tf.train.Example, the same bytes on every run."""
    from tensorflow.core.example import example_pb2  # generated code only: no TensorFlow operation runs here

    example = example_pb2.Example()
    feature = example.features.feature

    def integers(key, values):
        feature[key].int64_list.value.extend(np.asarray(values).ravel().tolist())

    def floats(key, values):
        feature[key].float_list.value.extend(np.asarray(values).ravel().tolist())

    def strings(key, *values):
        feature[key].bytes_list.value.extend(values)

    count = len(faces.boxes_yxyx_norm)
    integers(Keys.HEIGHT, [height])
    integers(Keys.WIDTH, [width])
    strings(Keys.FILENAME, name.encode())
    strings(Keys.SOURCE_ID, name.encode())
    strings(Keys.ENCODED, encoded)
    strings(Keys.FORMAT, b"jpeg")
    for column, key in enumerate((Keys.YMIN, Keys.XMIN, Keys.YMAX, Keys.XMAX)):
        floats(key, faces.boxes_yxyx_norm[:, column])
    strings(Keys.CLASS_TEXT, *[CLASS_NAME.encode()] * count)
    integers(Keys.CLASS_LABEL, [CLASS_ID] * count)
    floats(Keys.WEIGHT, faces.weights)
    integers(Keys.IS_CROWD, (faces.weights == 0).astype(np.int64))
    sides = faces.boxes_yxyx_norm[:, 2:] - faces.boxes_yxyx_norm[:, :2]
    floats(Keys.AREA, sides[:, 0] * sides[:, 1] * height * width)
    for column, attribute in enumerate(attribute_names):
        integers(Keys.ATTRIBUTE.format(attribute), faces.attributes[:, column])
    if faces.landmarks_xy_norm is not None:
        floats(Keys.KEYPOINT_X, faces.landmarks_xy_norm[..., 0])
        floats(Keys.KEYPOINT_Y, faces.landmarks_xy_norm[..., 1])
        integers(Keys.KEYPOINT_VISIBILITY, 2 * np.isfinite(faces.landmarks_xy_norm[..., 0]).astype(np.int64))
    floats(Keys.EVAL_BOXES, faces.eval_boxes_xywh_px)
    if faces.eval_subsets is not None:
        integers(Keys.EVAL_SUBSETS, faces.eval_subsets)
    return example.SerializeToString(deterministic=True)


def read_examples(paths: list[str]) -> Iterator[tuple[str, bytes, Labels]]:
    """(name, JPEG bytes, labels) of every example, file by file. Attributes are left out.

    Raises RecordsError with file and byte where a shard is damaged, or holds something other than the converter writes.
    """
    import tensorflow as tf
    from google.protobuf import message

    for path in paths:
        offset = 0
        try:
            for serialized in tf.data.TFRecordDataset(path).as_numpy_iterator():
                example = _parse(serialized)
                yield example
                offset += len(serialized) + _FRAMING
        except tf.errors.OpError as error:
            raise _damaged(path, offset, error.message) from error
        except (message.DecodeError, IndexError, ValueError) as error:
            raise _damaged(path, offset, f"no example that the converter writes: {error}") from error


_FRAMING = 16  # bytes around each example: its length, the length's checksum, the example's checksum


def _damaged(path, offset: int, why: str) -> RecordsError:
    return RecordsError(f"{path}: damaged at byte {offset:,} ({why}). Convert the data set again.")


def _parse(serialized: bytes) -> tuple[str, bytes, Labels]:
    from tensorflow.core.example import example_pb2

    feature = example_pb2.Example.FromString(serialized).features.feature
    sides = [feature[key].float_list.value for key in (Keys.YMIN, Keys.XMIN, Keys.YMAX, Keys.XMAX)]
    annotated = np.asarray(feature[Keys.EVAL_BOXES].float_list.value, np.float32).reshape(-1, 4)
    subsets = np.asarray(feature[Keys.EVAL_SUBSETS].int64_list.value, np.int64) if Keys.EVAL_SUBSETS in feature else None
    weights = np.asarray(feature[Keys.WEIGHT].float_list.value, np.float32)
    corners = np.asarray(sides, np.float32).T.reshape(-1, 4)
    points = [np.asarray(feature[key].float_list.value, np.float32) for key in (Keys.KEYPOINT_X, Keys.KEYPOINT_Y) if key in feature]
    if len(weights) != len(corners) or (subsets is not None and len(subsets) != len(annotated)):
        raise ValueError("its lists differ in length")
    if points and [len(axis) for axis in points] != [NUM_LANDMARKS * len(corners)] * 2:
        raise ValueError(f"its landmarks are not {NUM_LANDMARKS} a face")
    landmarks = np.stack(points, -1).reshape(-1, NUM_LANDMARKS, 2) if points else None
    labels = Labels(corners, weights, np.zeros((len(weights), 0)), landmarks, annotated, subsets)
    return feature[Keys.SOURCE_ID].bytes_list.value[0].decode(), feature[Keys.ENCODED].bytes_list.value[0], labels


def shard_path(directory: pathlib.Path, split: str, shard: int, num_shards: int) -> pathlib.Path:
    return directory / f"widerface_{split}.tfrecord-{shard:05d}-of-{num_shards:05d}"


@contextlib.contextmanager
def shard_writer(path: pathlib.Path) -> Iterator:
    """A tf.io.TFRecordWriter. OSError where the disk takes no more."""
    import tensorflow as tf

    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            yield writer
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def read_back(path: str | os.PathLike) -> int:
    """Reads a shard with the checksum of each example; returns their number. RecordsError where it is damaged."""
    import tensorflow as tf
    from tensorflow.python.util import deprecation

    count = offset = 0
    try:
        with deprecation.silence():  # its successor, tf.data, cannot be used in a forked process
            for serialized in tf.compat.v1.python_io.tf_record_iterator(str(path)):
                count += 1
                offset += len(serialized) + _FRAMING
    except tf.errors.OpError as error:
        raise _damaged(path, offset, f"after {count} whole examples; {error.message}") from error
    return count


@contextlib.contextmanager
def new_set(output_dir: pathlib.Path, needed_bytes: int) -> Iterator[pathlib.Path]:
    """A folder to make a set in, manifest and all. It takes the place of the set in output_dir when the block ends, or never.

    Raises RecordsError where the disk has fewer than needed_bytes free, or fails.
    """
    unfinished = output_dir / UNFINISHED
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # a killed conversion's
        unfinished.mkdir(parents=True)
        free = shutil.disk_usage(output_dir).free
        if free < needed_bytes:
            raise OSError(errno.ENOSPC, f"only {free / 1e6:,.1f} MB are free")
        yield unfinished
        _exchange(output_dir)
    except OSError as error:
        whole = "The set that is there is whole and as it was" if (output_dir / MANIFEST).is_file() else "No set is there"
        needed = f"{output_dir}: the records take {needed_bytes / 1e6:,.1f} MB and could not be written ({error})"
        raise RecordsError(f"{needed}. {whole}. Make room, or name another --output_dir.") from error
    finally:
        if (output_dir / MANIFEST).exists() or not (unfinished / MANIFEST).exists():
            shutil.rmtree(unfinished, ignore_errors=True)


def _exchange(output_dir: pathlib.Path) -> None:
    """Puts a finished new set in the old one's place. Killed in between, the next reader of the manifest goes on with it.

    The old manifest goes first, so that no reader can take old shards for new ones.
    """
    unfinished = output_dir / UNFINISHED
    listed = {shard["file"] for split in _load(unfinished / MANIFEST)["splits"].values() for shard in split["shards"]}
    (output_dir / MANIFEST).unlink(missing_ok=True)
    for path in output_dir.glob(_SHARDS):
        if path.name not in listed:
            path.unlink()
    for path in unfinished.glob(_SHARDS):
        os.replace(path, output_dir / path.name)
    os.replace(unfinished / MANIFEST, output_dir / MANIFEST)


_SHARDS = "widerface_*.tfrecord-*"


def splits_to_keep(output_dir: pathlib.Path, replaced: set[str]) -> dict[str, dict]:
    """What the manifest says of the splits in output_dir that are not to be replaced, by name.

    Raises RecordsError where there are shards of such splits, but no manifest that vouches for them.
    """
    try:
        manifest = read_manifest(output_dir)
    except RecordsError as error:
        others = [path for path in sorted(output_dir.glob(_SHARDS)) if path.name.split(".")[0].removeprefix("widerface_") not in replaced]
        if others:
            raise RecordsError(
                f"{others[0]} is of a split that is not asked for, and cannot be kept: {error}\n"
                "Convert all splits at once, name another --output_dir, or delete that split's files."
            ) from error
        return {}
    # sets of before have one "options" for all splits
    return {name: {"options": manifest.get("options"), **split} for name, split in manifest["splits"].items() if name not in replaced}


def write_manifest(directory: pathlib.Path, manifest: dict) -> None:
    _write_json(directory / MANIFEST, {"format": FORMAT, **manifest})


def _write_json(path: pathlib.Path, value: dict) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(json.dumps(value, indent=1) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_manifest(output_dir: str | os.PathLike) -> dict:
    """The manifest of a finished set. RecordsError where there is none, the set is then unfinished or no set at all, and
    where it is none of the converter's."""
    directory = place(output_dir)
    path = directory / MANIFEST
    if not path.exists() and (directory / UNFINISHED / MANIFEST).is_file():
        _exchange(directory)
    return _load(path)


def _load(path: pathlib.Path) -> dict:
    convert = f"python dataset_tools/create_widerface_tf_record.py --data_dir DIR --output_dir {path.parent}"
    convert += "\nor, of pictures of your own, with dataset_tools/import_dataset.py"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        wrong = _unlike_a_manifest(manifest)
    except FileNotFoundError as error:
        raise RecordsError(f"{path} is missing: the records are absent or unfinished. Make them with\n  {convert}") from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, or a number of thousands of digits
        raise RecordsError(f"{path}: {error}. Make the records again with\n  {convert}") from error
    if wrong:
        raise RecordsError(f"{path}: {wrong}. Make the records again with\n  {convert}")
    return manifest


def _unlike_a_manifest(manifest) -> str | None:
    """What a reader could not use, by key; None where the manifest is as the converter writes it."""
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return f"format is {manifest.get('format') if isinstance(manifest, dict) else None!r}, expected {FORMAT!r}"
    if not isinstance(manifest.get("splits"), dict) or not manifest["splits"]:
        return "splits is not an object of splits"
    for name, split in manifest["splits"].items():
        kinds = {"shards": list, "images": dict, "faces": dict, "max_faces_per_image": int}
        for key, kind in kinds.items():
            if not isinstance(split, dict) or type(split.get(key)) is not kind:
                return f"splits.{name}.{key} is missing or of another type"
        if any(type(split["faces"].get(key)) is not int for key in ("stated", "written")):
            return f"splits.{name}.faces has no numbers stated and written"
        for shard in split["shards"]:
            numbers = isinstance(shard, dict) and all(type(shard.get(key)) is int for key in ("examples", "bytes"))
            if not numbers or not isinstance(shard.get("file"), str) or shard["file"] != pathlib.PurePath(shard["file"]).name:
                return f"splits.{name}.shards holds {shard!r}, not a file name with its examples and bytes"
    return None


def check_shards(paths: list[str], remembered: bool = True) -> dict:
    """Checks the shards of one split against the manifest beside them and returns that split's part of it.

    Names and sizes are compared, and all checksums are read, with a progress bar: once a shard, for the result is kept in
    VERIFIED beside the shards until one changes (remembered=False reads them all again). RecordsError names shard and byte.
    """
    if not paths:
        raise RecordsError("No record file matches input_path.")
    output_dir = place(paths[0]).parent
    manifest = read_manifest(output_dir)
    names = {pathlib.PurePosixPath(path).name for path in paths}
    for split in manifest["splits"].values():
        stated = {shard["file"]: shard for shard in split["shards"]}
        if not names & set(stated):
            continue
        if names != set(stated):
            differing = ", ".join(sorted(names ^ set(stated))[:3])
            raise RecordsError(f"{output_dir}: the shards do not fit {MANIFEST} (differing: {differing}). Convert the data set again.")
        for name, shard in stated.items():
            path = output_dir / name
            if not path.is_file():
                raise RecordsError(f"{path} is no file. Convert the data set again.")
            if (found := path.stat().st_size) != shard["bytes"]:
                raise RecordsError(f"{path}: {found:,} bytes, {MANIFEST} says {shard['bytes']:,}. Convert the data set again.")
        _verify(output_dir, stated, remembered)
        return split
    raise RecordsError(f"{output_dir / MANIFEST} knows none of {sorted(names)[:3]}. Convert the data set again.")


def _verify(output_dir: pathlib.Path, stated: dict[str, dict], remembered: bool) -> None:
    """Reads the checksums of the shards {name: its part of the manifest}, but for those known to be right."""
    known: dict = {}
    with contextlib.suppress(OSError, ValueError, RecursionError):
        known = json.loads((output_dir / VERIFIED).read_text(encoding="utf-8"))
    known = known if isinstance(known, dict) else {}
    now = {name: [stat.st_size, stat.st_mtime_ns] for name in stated for stat in [(output_dir / name).stat()]}
    unread = [name for name in stated if not remembered or known.get(name) != now[name]]
    if not unread:
        return
    total = sum(now[name][0] for name in unread)
    with tqdm(desc="checksums", total=total, unit="B", unit_scale=True, leave=False, file=sys.stderr) as progress:
        for name in unread:
            count, listed = read_back(output_dir / name), stated[name]["examples"]
            if count != listed:
                raise RecordsError(f"{output_dir / name}: {count} examples, {MANIFEST} says {listed}. Convert the data set again.")
            progress.update(now[name][0])
    with contextlib.suppress(OSError):  # a folder that cannot be written to is read again the next time
        _write_json(output_dir / VERIFIED, {**known, **now})
