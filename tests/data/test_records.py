"""A set of records that is damaged is refused where it is read first, with shard and byte."""

import json
import os
import pathlib
import shutil
import struct

import numpy as np
import pytest

from facedet.data import records


@pytest.fixture
def finished(records_dir, tmp_path) -> pathlib.Path:
    ignore = shutil.ignore_patterns(records.VERIFIED)
    return pathlib.Path(shutil.copytree(records_dir, tmp_path / "set", ignore=ignore))


def shards(directory, split="train") -> list[str]:
    return sorted(map(str, directory.glob(f"*_{split}.tfrecord-*")))


def second_example(shard: str) -> int:
    with open(shard, "rb") as file:
        return struct.unpack("<Q", file.read(8))[0] + 16


def flip(shard: str, at: int) -> None:
    data = bytearray(pathlib.Path(shard).read_bytes())
    data[at] ^= 1
    pathlib.Path(shard).write_bytes(data)


def test_a_set_without_its_manifest_is_refused(finished):
    (finished / records.MANIFEST).unlink()
    with pytest.raises(records.RecordsError, match="manifest.json is missing"):
        records.check_shards(shards(finished))


def test_a_cut_shard_is_refused(finished):
    (shard,) = shards(finished)
    os.truncate(shard, os.path.getsize(shard) - 10)
    with pytest.raises(records.RecordsError, match="manifest.json says"):
        records.check_shards([shard])
    with pytest.raises(records.RecordsError, match="damaged at byte"):
        records.read_back(shard)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("at", [0, 7, 9, 12, 500, -1])
def test_a_flipped_bit_is_found_wherever_it_is(finished, split, at):
    """In the length, the length's checksum, the example, and the last byte of the example's checksum."""
    (shard,) = shards(finished, split)
    second = second_example(shard)
    flip(shard, second + at)
    begin = f"damaged at byte {second if at >= 0 else 0:,} "
    with pytest.raises(records.RecordsError, match=begin):
        records.check_shards([shard])
    with pytest.raises(records.RecordsError, match=begin):
        list(records.read_examples([shard]))


def test_checksums_are_read_once_and_again_after_a_change(finished, monkeypatch):
    read, real = [], records.read_back

    def counting(path):
        read.append(path)
        return real(path)

    monkeypatch.setattr(records, "read_back", counting)
    paths = shards(finished)
    for _ in range(2):
        records.check_shards(paths)
    assert len(read) == 1
    records.check_shards(shards(finished, "val"))
    records.check_shards(paths)
    assert len(read) == 2
    records.check_shards(paths, remembered=False)
    assert len(read) == 3
    flip(paths[0], 700)
    with pytest.raises(records.RecordsError, match="damaged at byte 0 "):
        records.check_shards(paths)


@pytest.mark.parametrize("text", ["[]", "{}", "\xff", "1" * 5000, "[" * 100_000])
def test_what_a_broken_memory_of_checksums_says_does_not_matter(finished, text):
    (finished / records.VERIFIED).write_text(text, encoding="latin-1")
    records.check_shards(shards(finished))


def test_records_of_another_maker_are_named(finished):
    import tensorflow as tf

    path = str(finished / "other.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(records.RecordsError, match="other.tfrecord: damaged at byte 0 .*no example that the converter writes"):
        list(records.read_examples([path]))


def other(change):
    def apply(manifest):
        change(manifest)
        return json.dumps(manifest)

    return apply


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (lambda manifest: "[]", "format is None"),
        (lambda manifest: "{", "Expecting property name"),
        (lambda manifest: "\xff", "utf-8"),
        (lambda manifest: "1" * 5000, "digits"),
        (lambda manifest: "[" * 100_000, "recursion"),
        (other(lambda m: m.update(format="2")), "format is '2', expected"),
        (other(lambda m: m.pop("splits")), "splits is not an object"),
        (other(lambda m: m.update(splits={"train": 1})), "splits.train.shards is missing"),
        (other(lambda m: m["splits"]["train"].pop("max_faces_per_image")), "splits.train.max_faces_per_image is missing"),
        (other(lambda m: m["splits"]["val"]["faces"].update(written="9")), "splits.val.faces has no numbers"),
        (other(lambda m: m["splits"]["val"]["shards"][0].update(bytes=None)), "splits.val.shards holds"),
        (other(lambda m: m["splits"]["val"]["shards"][0].update(file="../x")), "splits.val.shards holds"),
    ],
)
def test_a_manifest_of_another_shape_is_refused_by_key(finished, text, said):
    path = finished / records.MANIFEST
    path.write_text(text(json.loads(path.read_text())), encoding="latin-1")
    with pytest.raises(records.RecordsError, match=f"manifest.json: .*{said}(.|\\n)*create_widerface_tf_record.py"):
        records.check_shards(shards(finished))


def labels(landmarks) -> records.Labels:
    boxes = np.asarray([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.7, 0.6], [0, 0, 0.1, 0.1]], np.float32)
    return records.Labels(boxes, np.asarray([1, 0, 1], np.float32), np.zeros((3, 0)), landmarks, boxes * 100, None)


def read_one(path, *features) -> records.Labels:
    """Of an example with these features in place of its own: (key, values)."""
    import tensorflow as tf

    serialized, *features = features
    example = tf.train.Example.FromString(serialized)
    for key, values in features:
        example.features.feature[key].float_list.value[:] = values
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example.SerializeToString())
    ((_, _, found),) = records.read_examples([str(path)])
    return found


@pytest.mark.parametrize("count", [3, 0])
def test_landmarks_come_back_as_they_were_written(tmp_path, count):
    points = np.random.default_rng(0).random((3, 5, 2), np.float32)
    points[1] = np.nan
    written = labels(points)
    if not count:
        written = records.Labels(*(value[:0] if value is not None else None for value in vars(written).values()))
    serialized = records.to_example("e/a.jpg", b"", 100, 100, written, ())
    np.testing.assert_array_equal(read_one(tmp_path / "a", serialized).landmarks_xy_norm, points[:count])


def test_records_without_landmarks_have_none_and_a_wrong_number_is_refused(tmp_path):
    serialized = records.to_example("e/a.jpg", b"", 100, 100, labels(None), ())
    assert read_one(tmp_path / "a", serialized).landmarks_xy_norm is None
    keys = records.Keys
    for wrong in ([(keys.KEYPOINT_X, [0.5] * 15)], [(keys.KEYPOINT_X, [0.5] * 9), (keys.KEYPOINT_Y, [0.5] * 9)]):
        with pytest.raises(records.RecordsError, match="damaged at byte 0 .*its landmarks are not 5 a face"):
            read_one(tmp_path / "a", serialized, *wrong)
