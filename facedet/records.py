"""TFRecords of faces: the one list of their keys, one picture <-> one tf.train.Example, whole shards and their manifest."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np

MANIFEST = "manifest.json"
FORMAT = "facedet-tfrecord-1"
CLASS_NAME, CLASS_ID = "face", 1


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
    EVAL_BOXES = "image/widerface/boxes_xywh_px"  # every annotated box, flat and unchanged: what the protocol scores against
    EVAL_SUBSETS = "image/widerface/subsets"  # a bit a subset, easy 1, medium 2, hard 4; absent without the official lists


class RecordsError(Exception):
    """A set of records that cannot be used: the message says which file, why, and the way out."""


@dataclasses.dataclass
class Labels:
    """What a record keeps of the faces of one picture, N of them written.

    boxes_yxyx_norm: float32 [N, 4], inside 0..1.  weights: float32 [N].  attributes: int64 [N, 6].
    landmarks_xy_norm: float32 [N, 5, 2] with NaN where absent, or None.
    eval_boxes_xywh_px: float32 [M, 4] as annotated.  eval_subsets: int64 [M] bit masks, or None.
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
    """(name, JPEG bytes, labels) of every example, file by file. Attributes and landmarks are left out."""
    import tensorflow as tf
    from tensorflow.core.example import example_pb2

    for serialized in tf.data.TFRecordDataset(paths).as_numpy_iterator():
        feature = example_pb2.Example.FromString(serialized).features.feature
        sides = [feature[key].float_list.value for key in (Keys.YMIN, Keys.XMIN, Keys.YMAX, Keys.XMAX)]
        annotated = np.asarray(feature[Keys.EVAL_BOXES].float_list.value, np.float32).reshape(-1, 4)
        subsets = np.asarray(feature[Keys.EVAL_SUBSETS].int64_list.value, np.int64) if Keys.EVAL_SUBSETS in feature else None
        weights = np.asarray(feature[Keys.WEIGHT].float_list.value, np.float32)
        labels = Labels(np.asarray(sides, np.float32).T.reshape(-1, 4), weights, np.zeros((len(weights), 0)), None, annotated, subsets)
        yield feature[Keys.SOURCE_ID].bytes_list.value[0].decode(), feature[Keys.ENCODED].bytes_list.value[0], labels


def shard_path(output_dir: pathlib.Path, split: str, shard: int, num_shards: int) -> pathlib.Path:
    return output_dir / f"widerface_{split}.tfrecord-{shard:05d}-of-{num_shards:05d}"


@contextlib.contextmanager
def shard_writer(path: pathlib.Path) -> Iterator:
    """A tf.io.TFRecordWriter under a temporary name; the shard takes its own name when it is whole, or never."""
    import tensorflow as tf

    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            yield writer
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_back(path: str | os.PathLike) -> int:
    """Reads a shard with the checksum of each example; returns their number. RecordsError where it is damaged."""
    import tensorflow as tf
    from tensorflow.python.util import deprecation

    count = 0
    try:
        with deprecation.silence():  # its successor, tf.data, cannot be used in a forked process
            for _ in tf.compat.v1.python_io.tf_record_iterator(str(path)):
                count += 1
    except tf.errors.DataLossError as error:
        raise RecordsError(f"{path}: damaged after {count} examples ({error.message}). Convert the data set again.") from error
    return count


def remove_set(output_dir: pathlib.Path) -> None:
    """Clears an earlier set out of the way, its manifest first, so that no reader can take old shards for new ones."""
    (output_dir / MANIFEST).unlink(missing_ok=True)
    for path in (*output_dir.glob("widerface_*.tfrecord-*"), *output_dir.glob(".widerface_*.tmp")):
        path.unlink()


def write_manifest(output_dir: pathlib.Path, manifest: dict) -> None:
    temporary = output_dir / f".{MANIFEST}.tmp"
    temporary.write_text(json.dumps({"format": FORMAT, **manifest}, indent=1) + "\n")
    os.replace(temporary, output_dir / MANIFEST)


def read_manifest(output_dir: str | os.PathLike) -> dict:
    """The manifest of a finished set. RecordsError where there is none: the set is then unfinished, or no set at all."""
    path = pathlib.Path(output_dir) / MANIFEST
    convert = "python dataset_tools/create_widerface_tf_record.py --data_dir DIR --output_dir " + str(output_dir)
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RecordsError(f"{path} is missing: the records are absent or unfinished. Make them with\n  {convert}") from error
    except json.JSONDecodeError as error:
        raise RecordsError(f"{path}: {error}. Make the records again with\n  {convert}") from error
    if manifest.get("format") != FORMAT:
        raise RecordsError(f"{path}: format {manifest.get('format')!r}, expected {FORMAT!r}. Make the records again with\n  {convert}")
    return manifest


def check_shards(paths: list[str]) -> dict:
    """Checks the shards of one split against the manifest beside them and returns that split's part of it.

    Names and sizes are compared (a full pass over the checksums is inspect_tf_record.py's). RecordsError where they differ.
    """
    if not paths:
        raise RecordsError("No record file matches input_path.")
    output_dir = pathlib.Path(paths[0]).parent
    manifest = read_manifest(output_dir)
    names = {pathlib.Path(path).name for path in paths}
    for split in manifest["splits"].values():
        stated = {shard["file"]: shard["bytes"] for shard in split["shards"]}
        if not names & set(stated):
            continue
        if names != set(stated):
            differing = ", ".join(sorted(names ^ set(stated))[:3])
            raise RecordsError(f"{output_dir}: the shards do not fit {MANIFEST} (differing: {differing}). Convert the data set again.")
        for name, size in stated.items():
            found = (output_dir / name).stat().st_size
            if found != size:
                raise RecordsError(f"{output_dir / name}: {found:,} bytes, {MANIFEST} says {size:,}. Convert the data set again.")
        return split
    raise RecordsError(f"{output_dir / MANIFEST} knows none of {sorted(names)[:3]}. Convert the data set again.")
