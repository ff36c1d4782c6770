"""Recall of groups at equal face size, on made faces counted by hand, and what is wrong with a CSV."""

import numpy as np
import pytest

from facedet.data.widerface import Entry, WiderFaceError
from facedet.evaluation import groups
from facedet.evaluation.protocol import Detections

HEADS = ",file,perceived_gender,perceived_age,face\n"  # as published: a column without a name, one attribute left out
A, B = "0--Parade/0_Parade_a_1.jpg", "0--Parade/0_Parade_b_2.jpg"


def entry(name: str, sizes) -> Entry:
    """A picture of faces side by side, so high and as wide each."""
    rows = tuple((100 + i, f"{500 * i} 0 {size} {size} 0 0 0 0 0 0") for i, size in enumerate(sizes))
    return Entry(name, "gt.txt", 98, len(rows), rows)


def table(path, lines, heads=HEADS):
    path.write_text(heads + "".join(f"{line}\n" for line in lines))
    return path


def detections(sizes, scores) -> Detections:
    """A box on each of entry()'s faces; none where the score is 0."""
    boxes = np.asarray([[500 * i, 0, 500 * i + size, size] for i, size in enumerate(sizes)], float)
    keep = np.asarray(scores, float) > 0
    return Detections(boxes[keep], np.asarray(scores, float)[keep])


# Six small faces of each group and six large ones of Female; of Male 24 large ones. Half of the small and all large faces are found,
# of either group alike: over all faces Male are found more often, at equal size both the same.
SIZES = [20] * 12 + [40] * 30
GENDER = ["Female", "Male"] * 6 + ["Female"] * 6 + ["Male"] * 24
SCORES = [0.9, 0.9, 0, 0] * 3 + [0.9] * 30


def measured(tmp_path, scores_by_detector, gender=GENDER, age="Not Sure"):
    lines = [f"{i},images/{A},{who},{age},{i}" for i, who in enumerate(gender)]
    rows = groups.read(table(tmp_path / "who.csv", lines))
    labelled = groups.faces(rows, [entry(A, SIZES)], [A])
    return groups.recall({name: {A: detections(SIZES, scores)} for name, scores in scores_by_detector.items()}, labelled)


def test_groups_are_compared_at_equal_face_size(tmp_path):
    told = measured(tmp_path, {"d": SCORES})
    by_group = told["attributes"]["perceived_gender"]
    assert told["faces"] == 42 and told["detectors"]["d"]["recall"] == pytest.approx(36 / 42)
    assert by_group["bands"] == [{"from": 16, "to": 32}, {"from": 32, "to": 64}]
    values = {name: group["detectors"]["d"] for name, group in by_group["groups"].items()}
    assert {name: group["faces"] for name, group in by_group["groups"].items()} == {"Female": 12, "Male": 30}
    expected = 12 / 42 * 0.5 + 30 / 42  # bands by their faces of all groups
    assert values["Female"]["recall"] == pytest.approx(expected) and values["Male"]["recall"] == pytest.approx(expected)
    assert values["Female"]["deviation"] == pytest.approx(12 / 42 * np.sqrt(0.25 / 6))
    assert "perceived_age" not in told["attributes"]  # 'Not Sure' is no group
    text = "\n".join(groups.markdown(told))
    assert "gender, 16 - 64 px" in text and "best less worst" in text and f"{expected:.3f}" in text and groups.markdown(None) == []


def test_a_band_that_one_group_lacks_is_left_out(tmp_path):
    gender = ["Female"] * 2 + ["Male"] * 10 + GENDER[12:]  # two small faces of Female: too few
    told = measured(tmp_path, {"d": SCORES}, gender)["attributes"]["perceived_gender"]
    assert told["bands"] == [{"from": 32, "to": 64}] and {name: group["faces"] for name, group in told["groups"].items()} == {
        "Female": 6, "Male": 24}  # fmt: skip
    nobody = measured(tmp_path, {"d": SCORES}, ["Female"] + ["Male"] * 41)
    assert nobody["attributes"]["perceived_gender"] == {"bands": [], "groups": {}}
    assert "By gender: no heights" in "\n".join(groups.markdown(nobody))


def test_detectors_are_compared_at_the_least_recall_that_one_has_from_one_half_on(tmp_path):
    better = [0.9] * 20 + [0.7] * 10 + [0.6] * 12
    worse = [0.55] * 30 + [0.4] * 12  # from .5 on 30 of 42
    told = measured(tmp_path, {"better": better, "worse": worse})["detectors"]
    assert told["worse"] == {"recall": pytest.approx(30 / 42), "score": 0.55}
    assert told["better"] == {"recall": pytest.approx(30 / 42), "score": 0.7}
    nothing = measured(tmp_path, {"better": better, "blind": [0] * 42})
    assert nothing["detectors"]["blind"]["recall"] == 0


def test_rows_of_pictures_that_are_not_measured_and_faces_without_area_are_left_out(tmp_path):
    rows = groups.read(table(tmp_path / "who.csv", [f"0,images/{A},Male,,1", f"1,{B},Female,Adult,0", f"2,{A},Male,,0", ""]))
    assert [row.where.rsplit(":", 1)[1] for row in rows] == ["2", "3", "4"] and rows[1].groups["perceived_age"] == "Adult"
    found = groups.faces(rows, [entry(A, [20, 40]), entry(B, [30])], [A])
    assert (
        list(found) == [A] and found[A].boxes_xywh_px[:, 3].tolist() == [40, 20] and found[A].groups == [{"perceived_gender": "Male"}] * 2
    )
    with pytest.raises(WiderFaceError, match=r"who\.csv:2 .* label no face of the pictures"):
        groups.faces(rows, [entry(A, [0, 0]), entry(B, [30])], [A])


@pytest.mark.parametrize(
    "lines, said",
    [
        ([f"0,{A},Male,,one"], r"who\.csv:2: face is 'one'"),
        ([f"0,{A},Male,,0", f"1,{A},Male,,-1"], r"who\.csv:3: face is '-1'"),
        ([f"0,{A},Male"], r"who\.csv:2: 3 values in 5 columns"),
        ([f"0,{A},Male,,1", f"1,{B},Male,,1", f"2,images/{A},Female,,1"], r"who\.csv:4: face 1 of .* stands in .*who\.csv:2 already"),
        ([f"0,{A},Male,,2"], r"who\.csv:2: face 2 of .*, which has 2 \(from 0 on\) in gt\.txt:98"),
        (["0,elsewhere/x.jpg,Male,,0"], r"who\.csv:2: elsewhere/x\.jpg is no picture of the annotation"),
        ([], "has no rows"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, lines, said):
    with pytest.raises(WiderFaceError, match=said):
        groups.faces(groups.read(table(tmp_path / "who.csv", lines)), [entry(A, [20, 40]), entry(B, [20, 40])], [A, B])


def test_a_bad_file_is_named(tmp_path):
    for heads in ("file,face\n", "file,perceived_age\n", ""):
        with pytest.raises(WiderFaceError, match=r"who\.csv:1: the columns are .*; file, face and one or more of perceived_gender"):
            groups.read(table(tmp_path / "who.csv", [], heads))
    (tmp_path / "who.csv").write_bytes(b"file,face,perceived_age\n\xff\xfe,0,Adult\n")
    with pytest.raises(WiderFaceError, match=r"who\.csv is no CSV in UTF-8"):
        groups.read(tmp_path / "who.csv")
    with pytest.raises(WiderFaceError, match=r"none\.csv cannot be read"):
        groups.read(tmp_path / "none.csv")
