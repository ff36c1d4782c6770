import importlib.util
import os
import shutil
import tracemalloc
import zipfile

import numpy as np
import pytest
from conftest import ROOT, SHARED

from facedet.data import mat_file, widerface, widerface_text

ROW = "10 20 30 40 0 0 0 0 0 0"


def parse(text):
    return [entry.parse() for entry in widerface_text.split_annotation(text, "list.txt")]


def faces_stated(image):
    return len(image.boxes_xywh_px) + sum(problem.faces for problem in image.problems)


def test_rows_and_attributes():
    (image,) = parse("0--Parade/a.jpg\n2\n1 2 3 4 2 1 1 0 2 1\n5 6 7 8 0 0 0 1 0 0\n")
    assert image.name == "0--Parade/a.jpg" and image.where == "list.txt:1"
    np.testing.assert_array_equal(image.boxes_xywh_px, [[1, 2, 3, 4], [5, 6, 7, 8]])
    by_name = dict(zip(widerface_text.ATTRIBUTES, image.attributes.T, strict=True))
    assert by_name["blur"].tolist() == [2, 0] and by_name["invalid"].tolist() == [0, 1] and by_name["occlusion"].tolist() == [2, 0]


@pytest.mark.parametrize("count", [0, 1])
def test_both_ways_to_write_a_picture_without_a_face(count):
    empty, full = parse(f"e/empty.jpg\n{count}\n0 0 0 0 0 0 0 0 0 0\ne/full.jpg\n1\n{ROW}\n")
    assert len(empty.boxes_xywh_px) == 0 and faces_stated(empty) == count
    assert len(full.boxes_xywh_px) == 1


@pytest.mark.parametrize(
    "text", [f"e/a.jpg\r\n1\r\n{ROW}\r\n", f"e/a.jpg\n1\n{ROW}\n\n\n", f"\ne/a.jpg\n1\n\n{ROW} \n", f"e/a.jpg\n1\n{ROW}"]
)
def test_line_ends_and_blank_lines(text):
    (image,) = parse(text)
    assert image.boxes_xywh_px.tolist() == [[10, 20, 30, 40]] and not image.problems


def test_decimals():
    (image,) = parse("e/a.jpg\n1\n10.5 20.25 30 40 0 0 0 0 0 0\n")
    assert image.boxes_xywh_px.tolist() == [[10.5, 20.25, 30, 40]]


@pytest.mark.parametrize(
    ("row", "said"), [("1 2 3", "3 numbers"), ("1 2 x 4 0 0 0 0 0 0", "not numbers"), ("1 2 nan 4 0 0 0 0 0 0", "not finite")]
)
def test_a_bad_row_is_named_and_its_neighbours_are_kept(row, said):
    first, second = parse(f"e/a.jpg\n2\n{row}\n{ROW}\ne/b.jpg\n1\n{ROW}\n")
    (problem,) = first.problems
    assert problem.where == "list.txt:3" and said in problem.message and problem.faces == 1
    assert faces_stated(first) == 2 and len(first.boxes_xywh_px) == 1 and len(second.boxes_xywh_px) == 1


def test_a_missing_row_is_counted():
    first, second = parse(f"e/a.jpg\n3\n{ROW}\ne/b.jpg\n1\n{ROW}\n")
    assert faces_stated(first) == 3 and "3 faces stated, 1 rows found" in first.problems[0].message
    assert len(second.boxes_xywh_px) == 1


@pytest.mark.parametrize(("text", "line"), [("what\n", 1), ("e/a.jpg\nmany\n", 2), ("e/a.jpg\n", 2)])
def test_another_file_is_refused_with_its_line(text, line):
    with pytest.raises(widerface.WiderFaceError, match=f"list.txt:{line}"):
        parse(text)


def test_landmarks_are_nan_where_absent():
    points = "1 2 0.0 3 4 0.0 5 6 0.0 7 8 0.0 9 10 0.0 0.9"
    text = f"# e/a.jpg\n10 20 30 40 {points}\n1 2 3 4 {' '.join(['-1.0'] * 16)}\n"
    landmarks = widerface_text.parse_landmarks(text, "label.txt")
    (image,) = parse(f"e/a.jpg\n3\n{ROW}\n1 2 3 4 0 0 0 0 0 0\n9 9 9 9 0 0 0 0 0 0\n")
    with_points = widerface_text.with_landmarks(image, landmarks).landmarks_xy_px
    assert with_points[0].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert np.isnan(with_points[1:]).all()


def test_lists_of_the_sample_agree_with_its_annotation(sample_dir):
    subsets = widerface.load_subsets(sample_dir / "eval_gt")
    images = [entry.parse() for entry in widerface.WiderFace(sample_dir, "val").annotation()]
    assert [image.name for image in images] != [] and set(subsets) == {image.name for image in images}
    for image in images:
        official, member = subsets[image.name]
        np.testing.assert_array_equal(official, image.boxes_xywh_px)
        assert (member[:, 0] <= member[:, 1]).all() and (member[:, 1] <= member[:, 2]).all()


OFFICIAL = SHARED / "data" / "widerface"


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official annotation is not here: 159,420 and 39,708 faces stay uncounted")
@pytest.mark.parametrize(("split", "pictures", "faces"), [("train", 12880, 159420), ("val", 3226, 39708)])
def test_official_files_hold_what_the_design_counts(split, pictures, faces):
    path = OFFICIAL / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt"
    images = [entry.parse() for entry in widerface_text.split_annotation(path.read_text(), split)]
    assert (len(images), sum(map(faces_stated, images))) == (pictures, faces)


@pytest.mark.parametrize(
    "row",
    ["1e39 2 3 4 0 0 0 0 0 0", "1 2 1e9 4 0 0 0 0 0 0", f"1 2 3 4 0 {-(2**63)} 0 0 0 0", "1 2 3 4 3 0 0 0 0 0", "1 2 3 4 0.5 0 0 0 0 0"],
)
@pytest.mark.parametrize("more", [0, 1])
def test_coordinates_and_attributes_out_of_range_are_problems(row, more):
    (image,) = parse(f"e/a.jpg\n{1 + more}\n{row}\n" + f"{ROW}\n" * more)
    (problem,) = image.problems
    assert (problem.where, problem.reason, problem.faces) == ("list.txt:3", "row_out_of_range", 1)
    assert len(image.boxes_xywh_px) == more


@pytest.mark.parametrize("count", ["1" * 5000, "\u00b2", "-1", "99999999"])
def test_a_count_that_is_none_is_refused_with_its_line(count):
    with pytest.raises(widerface.WiderFaceError, match="list.txt:2: expected the number of faces") as caught:
        parse(f"e/a.jpg\n{count}\n{ROW}\n")
    assert len(str(caught.value)) < 300


def dataset(tmp_path, annotation: bytes | None = None):
    (tmp_path / "WIDER_val" / "images" / "e").mkdir(parents=True)
    if annotation is not None:
        (tmp_path / "wider_face_split").mkdir()
        (tmp_path / "wider_face_split" / "wider_face_val_bbx_gt.txt").write_bytes(annotation)
    return widerface.WiderFace(tmp_path, "val")


def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path):
    with pytest.raises(widerface.WiderFaceError, match="bbx_gt.txt:3: no UTF-8"):
        dataset(tmp_path, b"e/a.jpg\n1\n\xff\xfe 1 2\n").annotation()


def zip_with(path, name, content, damage=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2 if damage == "bzip2" else zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    data = bytearray(path.read_bytes())
    if damage == "encrypted":  # the flag of both headers of the member
        data[6] |= 1
        data[data.index(b"PK\1\2") + 8] |= 1
    if damage == "broken":
        at = 30 + len(name) + 2
        data[at : at + 4] = b"\xff" * 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["encrypted", "broken", "bzip2"])
def test_a_zip_that_cannot_be_read_is_named(tmp_path, damage):
    source = dataset(tmp_path)
    name = "wider_face_split/wider_face_val_bbx_gt.txt"
    zip_with(tmp_path / "wider_face_split.zip", name, f"e/a.jpg\n1\n{ROW}\n" * 20, damage)
    with pytest.raises(widerface.WiderFaceError, match=f"wider_face_split.zip: {name} is damaged or encrypted"):
        source.annotation()


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    source = dataset(tmp_path)
    zip_with(tmp_path / "wider_face_split.zip", "wider_face_split/wider_face_val_bbx_gt.txt", b"1\n" * 2**24)
    tracemalloc.start()
    with pytest.raises(widerface.WiderFaceError, match="33,554,432 bytes unpacked"):
        source.annotation()
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    (tmp_path / "zips").mkdir()
    zip_with(tmp_path / "zips" / "WIDER_val.zip", "WIDER_val/images/e/a.jpg", bytes(2**25 + 1))
    with pytest.raises(OSError, match="more than a picture"):
        widerface.WiderFace(tmp_path / "zips", "val").read("e/a.jpg")


def test_pipes_and_dangling_links_are_no_pictures(tmp_path):
    source = dataset(tmp_path)
    os.mkfifo(source.images_dir / "e" / "pipe.jpg")
    (source.images_dir / "e" / "link.jpg").symlink_to("nowhere.jpg")
    (source.images_dir / "e" / "a.jpg").write_bytes(b"abc")
    assert source.sizes() == {"e/a.jpg": 3} and source.read("e/a.jpg") == b"abc"
    for name in ("e/pipe.jpg", "e/link.jpg"):  # what is read would wait for ever
        with pytest.raises(OSError, match="pipe or a link"):
            source.read(name)


@pytest.mark.parametrize("line", ["1 2 3", "1 2 3 4" + " x" * 15, "1 2 3 4" + " nan" * 15, "1 2 3 1e39" + " 1" * 15])
def test_a_malformed_landmark_line_is_named(tmp_path, line):
    path = tmp_path / "label.txt"
    path.write_text(f"# e/a.jpg\n{line}\n")
    with pytest.raises(widerface.WiderFaceError, match="label.txt:2: expected"):
        widerface_text.load_landmarks(path)


def lists_with(sample_dir, directory, name, content):
    shutil.copytree(sample_dir / "eval_gt", directory)
    (directory / name).write_bytes(content)
    return directory


def test_lists_that_are_none_are_named(tmp_path, sample_dir):
    page = lists_with(sample_dir, tmp_path / "page", "wider_hard_val.mat", b"<!DOCTYPE html><html></html>")
    with pytest.raises(widerface.WiderFaceError, match="wider_hard_val.mat is no MATLAB file .*eval_tools.zip"):
        widerface.load_subsets(page)
    whole = (sample_dir / "eval_gt" / "wider_medium_val.mat").read_bytes()
    cut = lists_with(sample_dir, tmp_path / "cut", "wider_medium_val.mat", whole[: len(whole) // 2])
    with pytest.raises(widerface.WiderFaceError, match="wider_medium_val.mat is (damaged|no official)"):
        widerface.load_subsets(cut)
    other = (sample_dir / "eval_gt" / "wider_face_val.mat").read_bytes()
    with pytest.raises(widerface.WiderFaceError, match="wider_easy_val.mat is no official evaluation list .*gt_list"):
        widerface.load_subsets(lists_with(sample_dir, tmp_path / "other", "wider_easy_val.mat", other))


def test_a_reader_that_crashes_is_an_error_of_its_file(tmp_path, sample_dir, monkeypatch):
    """scipy has crashed on damaged files: here the child is made to, at the second of two."""
    good, bad = sample_dir / "eval_gt" / "wider_face_val.mat", sample_dir / "eval_gt" / "wider_hard_val.mat"
    (tmp_path / "sitecustomize.py").write_text(
        "import scipy.io, os\nread = scipy.io.loadmat\n"
        "scipy.io.loadmat = lambda path, **options: os.abort() if 'hard' in path else read(path, **options)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(mat_file.MatFileError, match="wider_hard_val.mat is damaged .the reader ended with -6"):
        mat_file.read([good, bad], ("event_list",))


def copy_widerface(source, target):
    spec = importlib.util.spec_from_file_location("copy_widerface", ROOT / "dataset_tools" / "copy_widerface.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.main(["--from_dir", str(source), "--to_dir", str(target)])


def test_copying_refuses_what_is_no_widerface(tmp_path, capsys):
    source = tmp_path / "drive"
    source.mkdir()
    for part in ("WIDER_train", "WIDER_val", "wider_face_split"):
        zip_with(source / f"{part}.zip", f"{part}/a.txt", "a")
    (source / "WIDER_val.zip").write_text("this is a text")
    assert copy_widerface(source, tmp_path / "a") == 1 and "WIDER_val.zip is something that begins with" in capsys.readouterr().err
    zip_with(source / "WIDER_val.zip", "holiday/a.jpg", "a")
    assert copy_widerface(source, tmp_path / "b") == 1 and "holds no folder WIDER_val" in capsys.readouterr().err
    zip_with(source / "WIDER_val.zip", "WIDER_val/a.txt", "a")
    zip_with(source / "eval_tools.zip", "eval_tools/readme.txt", "a")
    assert copy_widerface(source, tmp_path / "c") == 1 and "lacks wider_face_val.mat" in capsys.readouterr().err
    assert not (tmp_path / "c" / "eval_tools").exists()


def test_copying_unpacks_the_lists(tmp_path, sample_dir):
    source = tmp_path / "drive"
    source.mkdir()
    for part in ("WIDER_train", "WIDER_val", "wider_face_split"):
        zip_with(source / f"{part}.zip", f"{part}/a.txt", "a")
    with zipfile.ZipFile(source / "eval_tools.zip", "w") as archive:
        for path in (sample_dir / "eval_gt").glob("*.mat"):
            archive.write(path, f"eval_tools/ground_truth/{path.name}")
    for _ in range(2):  # the second finds everything there
        assert copy_widerface(source, tmp_path / "data") == 0
    assert len(widerface.load_subsets(widerface.find_eval_gt(tmp_path / "data"))) > 0
