import numpy as np
import pytest
from conftest import SHARED

from facedet import widerface

ROW = "10 20 30 40 0 0 0 0 0 0"


def parse(text):
    return list(widerface.parse_annotation(text, "list.txt"))


def test_rows_and_attributes():
    (image,) = parse("0--Parade/a.jpg\n2\n1 2 3 4 2 1 1 0 2 1\n5 6 7 8 0 0 0 1 0 0\n")
    assert image.name == "0--Parade/a.jpg" and image.event == "0--Parade" and image.where == "list.txt:1"
    np.testing.assert_array_equal(image.boxes_xywh_px, [[1, 2, 3, 4], [5, 6, 7, 8]])
    by_name = dict(zip(widerface.ATTRIBUTES, image.attributes.T, strict=True))
    assert by_name["blur"].tolist() == [2, 0] and by_name["invalid"].tolist() == [0, 1] and by_name["occlusion"].tolist() == [2, 0]


@pytest.mark.parametrize("count", [0, 1])
def test_both_ways_to_write_a_picture_without_a_face(count):
    empty, full = parse(f"e/empty.jpg\n{count}\n0 0 0 0 0 0 0 0 0 0\ne/full.jpg\n1\n{ROW}\n")
    assert len(empty.boxes_xywh_px) == 0 and empty.faces_stated == count
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
    assert first.faces_stated == 2 and len(first.boxes_xywh_px) == 1 and len(second.boxes_xywh_px) == 1


def test_a_missing_row_is_counted():
    first, second = parse(f"e/a.jpg\n3\n{ROW}\ne/b.jpg\n1\n{ROW}\n")
    assert first.faces_stated == 3 and "3 faces stated, 1 rows found" in first.problems[0].message
    assert len(second.boxes_xywh_px) == 1


@pytest.mark.parametrize(("text", "line"), [("what\n", 1), ("e/a.jpg\nmany\n", 2), ("e/a.jpg\n", 2)])
def test_another_file_is_refused_with_its_line(text, line):
    with pytest.raises(widerface.WiderFaceError, match=f"list.txt:{line}"):
        parse(text)


def test_landmarks_are_nan_where_absent():
    points = "1 2 0.0 3 4 0.0 5 6 0.0 7 8 0.0 9 10 0.0 0.9"
    text = f"# e/a.jpg\n10 20 30 40 {points}\n1 2 3 4 {' '.join(['-1.0'] * 16)}\n"
    landmarks = widerface.parse_landmarks(text, "label.txt")
    (image,) = parse(f"e/a.jpg\n3\n{ROW}\n1 2 3 4 0 0 0 0 0 0\n9 9 9 9 0 0 0 0 0 0\n")
    with_points = widerface.with_landmarks(image, landmarks).landmarks_xy_px
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


def test_official_files_hold_what_the_design_counts():
    """159,420 and 39,708 faces; where the official files are absent the sample's own counts stand for them."""
    official = SHARED / "data" / "widerface" / "wider_face_split"
    if not official.is_dir():
        return
    for split, pictures, faces in (("train", 12880, 159420), ("val", 3226, 39708)):
        images = list(widerface.parse_annotation((official / f"wider_face_{split}_bbx_gt.txt").read_text(), split))
        assert (len(images), sum(image.faces_stated for image in images)) == (pictures, faces)
