"""The kinds of errors on made detections, counted by hand."""

import json

import numpy as np
import pytest

from facedet.data.widerface import ATTRIBUTES
from facedet.evaluation import errors, protocol, report, scoring

FACES = [[0, 0, 20, 20], [100, 0, 40, 40], [200, 0, 40, 40], [300, 0, 80, 80], [500, 0, 200, 200]]  # the last is not of Easy
EASY = [1, 1, 1, 1, 0]


def scores(boxes_xywh_and_score, official=True) -> scoring.Scores:
    rows = np.asarray(boxes_xywh_and_score, float).reshape(-1, 5)
    corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], 1)
    member = np.ones((len(FACES), 3), bool)
    member[:, 0] = EASY
    truth = {"a": protocol.GroundTruth(np.asarray(FACES, float), member)}
    found = {"a": protocol.Detections(corners, rows[:, 4])}
    return scoring.Scores({"d": found}, truth, {"a": None}, {"a": (400, 800)}, official)


RIGHT = [[0, 0, 20, 20, 0.9], [100, 0, 40, 40, 0.8], [300, 0, 80, 80, 0.5]]
FALSE = [
    [100, 5, 40, 40, 0.7],  # on a face that a better one found
    [300, 0, 30, 80, 0.6],  # IoU .38 with the fourth
    [600, 300, 25, 25, 0.6],  # of no face
    [520, 0, 200, 200, 0.6],  # on a face that does not count
    [700, 300, 25, 25, 0.4],  # of no face, below the score that 3 of 4 take
]


def test_false_boxes_are_of_one_kind_each_down_to_the_score_of_the_recall():
    told = errors.analyse(scores(RIGHT + FALSE), "d", recall=0.75)
    assert (told["subset"], told["faces"], told["recall"], told["score"]) == ("easy", 4, 0.75, 0.5)
    assert {kind: found["count"] for kind, found in told["false_boxes"].items()} == {"badly placed": 1, "background": 1, "double": 1}
    assert told["false_boxes"]["badly placed"]["median_height"] == 80 and told["false_boxes"]["background"]["median_height"] == 25
    heights = {row["from"]: row["count"] for row in told["false_boxes"]["double"]["by_height"]}
    assert heights == {0: 0, 16: 0, 32: 1, 64: 0, 128: 0}


def test_a_recall_that_is_never_reached_counts_all_boxes_and_says_so():
    told = errors.analyse(scores(RIGHT + FALSE), "d", recall=1.0)
    assert told["score"] is None and told["recall"] == 0.75 and told["false_boxes"]["background"]["count"] == 2


def test_without_the_official_lists_all_faces_count():
    told = errors.analyse(scores(RIGHT + FALSE, official=False), "d", recall=0.75)
    assert told["subset"] == "all" and told["faces"] == 5 and told["score"] == 0.5 and told["never_found"]["count"] == 1


def test_faces_never_found_by_height_and_attribute():
    attributes = np.zeros((5, len(ATTRIBUTES)), int)
    attributes[2, ATTRIBUTES.index("blur")] = 2
    attributes[0, ATTRIBUTES.index("occlusion")] = -1
    told = errors.analyse(scores(RIGHT + FALSE), "d", attributes={"a": attributes})["never_found"]
    assert told["count"] == 1
    assert {row["from"]: (row["faces"], row["missed"]) for row in told["by_height"]} == {0: (0, 0), 16: (1, 0), 32: (2, 1), 64: (1, 0), 128: (0, 0)}  # fmt: skip
    assert told["by_attribute"]["blur"] == {
        "clear": {"faces": 3, "missed": 0}, "normal": {"faces": 0, "missed": 0}, "heavy": {"faces": 1, "missed": 1}}  # fmt: skip
    assert told["by_attribute"]["occlusion"]["none"] == {"faces": 3, "missed": 1}


def test_a_picture_without_faces_and_one_without_boxes():
    made = scores(RIGHT)
    made.truth |= {"empty": protocol.GroundTruth(np.zeros((0, 4)), np.zeros((0, 3), bool)), "unseen": made.truth["a"]}
    made.detections["d"] |= {
        "empty": protocol.Detections(np.asarray([[0, 0, 9, 9.0]]), np.asarray([0.95])),
        "unseen": protocol.Detections(np.zeros((0, 4)), np.zeros(0)),
    }
    told = errors.analyse(made, "d", recall=0.1)
    assert told["false_boxes"]["background"]["count"] == 1 and told["never_found"]["count"] == 1 + 4


def test_attributes_go_with_the_face_that_is_the_same():
    truth = protocol.GroundTruth(np.asarray(FACES[:2], float), np.ones((2, 3), bool))
    annotated = [[101, 0, 40, 40], [700, 0, 40, 40]]
    found = errors.attributes_of(truth, annotated, [[2, 1, 1, 0, 2, 1], [0] * 6])
    assert found.tolist() == [[-1] * 6, [2, 1, 1, 0, 2, 1]]


def test_two_detectors_stand_side_by_side():
    made = scores(RIGHT + FALSE)
    made.detections["other"] = {"a": protocol.Detections(np.zeros((0, 4)), np.zeros(0))}
    told = {name: errors.analyse(made, name, 0.75, {"a": np.zeros((5, 6), int)}) for name in ("d", "other")}
    text = report.error_tables(json.loads(json.dumps(told)))
    assert "| false boxes, background" in text and "never: 0.000" in text
    row = next(line for line in text.splitlines() if line.startswith("| never found"))
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["1", "4"]
    assert any(line.split("|")[2:5] and "blur: clear" in line and "1.000" in line for line in text.splitlines())


@pytest.mark.parametrize("moved", [20, -20])
def test_a_box_on_two_faces_belongs_to_the_one_it_overlaps_most(moved):
    made = scores([[100 + moved / 4, 0, 40, 40, 0.5]])
    assert errors.analyse(made, "d", 0.25)["never_found"]["count"] == 3
