"""The normalized mean error against numbers worked out by hand."""

import json

import numpy as np
import pytest

from facedet.evaluation import landmarks, protocol, report, scoring
from facedet.runtime.input_spec import InputSpec

IMAGE = np.zeros((200, 400, 3), np.uint8)
FACES = np.asarray([[0.0, 0, 40, 40], [100, 0, 20, 45], [200, 0, 64, 100], [300, 0, 40, 40]])
POINTS = (FACES[:, None, :2] + FACES[:, None, 2:] * np.asarray([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])).astype(
    np.float32
)


def scored(points_off=(0.0, 0.0, 0.0, 0.0), with_points=(1, 1, 1, 1), member=(1, 1, 1, 1), extra=(), found=(0, 1, 2, 3), give=True):
    """Scores of one picture: every face found with its points so many px to the right, and `extra` boxes of another score and offset."""
    truth_points = POINTS.copy()
    truth_points[np.asarray(with_points) == 0] = np.nan
    truth = protocol.GroundTruth(FACES, np.repeat(np.asarray(member, bool)[:, None], 3, 1), truth_points)
    boxes = [[x, y, x + w, y + h] for x, y, w, h in FACES[list(found)]] + [box for box, *_ in extra]
    own = POINTS + np.asarray([[[off, 0.0]] for off in points_off], np.float32)
    points = np.concatenate([own[list(found)], *(POINTS[face : face + 1] + off for _, face, off, _ in extra)])
    confidence = [0.5] * len(found) + [score for *_, score in extra]
    detections = protocol.Detections(np.asarray(boxes, float).reshape(-1, 4), np.asarray(confidence), points if give else None)
    return scoring.Scores({"d": {"e/a.jpg": detections}}, {"e/a.jpg": truth}, {"e/a.jpg": None}, {"e/a.jpg": IMAGE.shape[:2]})


def test_distance_over_the_square_root_of_the_area():
    row = landmarks.errors(scored((2.0, 3.0, 0.0, 8.0)), "d").row()
    assert row["nme"] == pytest.approx((2 / 40 + 3 / 30 + 0 + 8 / 40) / 4, abs=1e-6) and row["faces"] == row["found"] == 4
    row = landmarks.errors(scored((1.9, 2.9, 0.0, 8.0)), "d").row()
    assert row["under_0.05"] == 0.5 and row["under_0.10"] == 0.75


@pytest.mark.parametrize("absent", [{"with_points": (1, 0, 1, 1)}, {"member": (1, 0, 1, 1)}])
def test_faces_without_points_and_ignored_ones_do_not_count(absent):
    row = landmarks.errors(scored((2.0, 300.0, 0.0, 2.0), **absent), "d").row()
    assert row["faces"] == 3 and row["nme"] == pytest.approx((2 + 0 + 2) / 40 / 3, abs=1e-6)


def test_a_face_that_is_not_found_is_in_no_mean():
    row = landmarks.errors(scored((4.0, 0, 0, 0), found=(0, 2)), "d").row()
    assert (row["faces"], row["found"]) == (4, 2) and row["nme"] == pytest.approx(0.05, abs=1e-6)
    missed = landmarks.errors(scored(found=()), "d").row()
    assert missed["found"] == 0 and missed["nme"] is None and missed["under_0.05"] is None


def test_the_best_detection_finds_the_face():
    same = [0, 0, 40, 40]
    better = landmarks.errors(scored(extra=[(same, 0, 20.0, 0.9)]), "d").row()
    worse = landmarks.errors(scored(extra=[(same, 0, 20.0, 0.1)]), "d").row()
    far = landmarks.errors(scored(extra=[([0, 0, 15, 15], 0, 20.0, 0.9)]), "d").row()  # IoU below 0.5
    assert better["nme"] == pytest.approx(np.hypot(20, 20) / 40 / 4, abs=1e-6) and worse["nme"] < 1e-6 and far["nme"] < 1e-6


def test_a_detection_belongs_to_the_face_it_overlaps_most_with_points_or_without():
    truth = protocol.GroundTruth(np.asarray([[0.0, 0, 40, 40], [8, 0, 40, 40]]), np.ones((2, 3), bool))
    found = protocol.Detections(np.asarray([[7.0, 0, 47, 40], [6, 0, 46, 40]]), np.asarray([0.5, 0.9]))
    np.testing.assert_array_equal(protocol.matches(found, truth), [-1, 1])


def test_matching_is_that_of_the_protocol():
    generator = np.random.default_rng(2)
    for _ in range(20):
        faces = np.concatenate([generator.uniform(0, 90, (8, 2)), generator.uniform(20, 60, (8, 2))], 1)
        moved = np.concatenate([faces, faces[:4]]) + generator.normal(0, 5, (12, 4))
        corners = np.concatenate([moved[:, :2], moved[:, :2] + moved[:, 2:]], 1)
        truth = {"e/a.jpg": protocol.GroundTruth(faces, np.ones((8, 3), bool))}
        found = {"e/a.jpg": protocol.Detections(corners, generator.random(12))}
        recall = protocol.evaluate(found, truth)["hard"].recall[-1]
        assert (protocol.matches(found["e/a.jpg"], truth["e/a.jpg"]) >= 0).mean() == pytest.approx(recall)


def test_rows_by_height_in_the_picture_and_at_the_input():
    errors = landmarks.errors(scored((2.0, 3.0, 0.0, 8.0)), "d", InputSpec(100, 100))  # stretched: half as high
    told = errors.as_dict()
    assert [row["faces"] for row in told["by_height"]] == [0, 0, 0, 3, 1, 0, 0]
    assert [row["faces"] for row in told["by_height_at_input"]] == [0, 0, 3, 1, 0, 0, 0]
    assert told["from_32_at_input"]["faces"] == 1 and told["from_32_at_input"]["nme"] < 1e-6
    padded = landmarks.errors(scored(), "d", InputSpec(100, 100, resize="pad"))  # 400 wide: a quarter
    np.testing.assert_allclose(padded.heights_at_input, FACES[:, 3] / 4)
    assert "by_height_at_input" not in landmarks.errors(scored(), "d").as_dict()
    json.dumps(landmarks.errors(scored(found=()), "d", InputSpec(100, 100)).as_dict(), allow_nan=False)


def test_none_where_there_is_nothing_to_compare():
    assert landmarks.errors(scored(give=False), "d") is None
    assert landmarks.errors(scored(with_points=(0, 0, 0, 0)), "d") is None


def test_the_table_says_it_all():
    told = landmarks.errors(scored((2.0, 3.0, 0.0, 8.0)), "d", InputSpec(100, 100)).as_dict()
    text = report.tables("d", {}, [], told)
    assert "px of the picture | with points" in text.replace("  ", " ").replace("  ", " ") and "32 and more" in text and "0.088" in text
    assert text.count("| all ") == 2
