"""FaceDetector on files with five landmarks: each point where it is in the picture, whether that is stretched or padded into the input."""

import landmark_file
import numpy as np
import pytest
from landmark_file import BOX_HEIGHT, BOX_WIDTH, CELL, COLUMNS, POINTS_YX, ROWS

from facedet import DetectorError, FaceDetector

KINDS = [{}, {"raw": True}, {"precision": "int8"}, {"precision": "int8", "raw": True}]


@pytest.fixture
def opened(tmp_path):
    """Options of landmark_file.make() -> FaceDetector of the file."""

    def open_file(score_threshold=0.5, **options):
        path = tmp_path / "landmarks.tflite"
        path.write_bytes(landmark_file.make(**options))
        return FaceDetector(path, score_threshold)

    return open_file


def expected(cells, height: float, width: float):
    """Boxes xyxy and points x, y in pixels, where the whole input has height x width pixels of the picture, and (0, 0) is the same corner."""
    centers = [((column + 0.5) / COLUMNS, (row + 0.5) / ROWS) for row, column in cells]
    boxes = [(x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2, x + BOX_WIDTH / 2, y + BOX_HEIGHT / 2) for x, y in centers]
    points = [[(x + dx, y + dy) for dy, dx in POINTS_YX.tolist()] for x, y in centers]
    return np.asarray(boxes) * (width, height, width, height), np.asarray(points) * (width, height)


def require(faces, boxes, points, atol=0.3):
    assert len(faces) == len(boxes), faces
    np.testing.assert_allclose(faces.boxes, boxes, atol=atol)
    np.testing.assert_allclose(faces.landmarks, points, atol=atol)
    assert faces.landmarks.dtype == np.float32 and faces.landmarks.shape == (len(boxes), 5, 2)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_points_of_a_stretched_picture(opened, options):
    """It is pulled by 3 in height and 2 in width: y and x changed over, or points in another order, would show."""
    cells = [(3, 4), (8, 12)]
    faces = opened(**options).detect(landmark_file.picture(cells, scale_y=3, scale_x=2))
    require(faces, *expected(cells, 3 * CELL * ROWS, 2 * CELL * COLUMNS))


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("place", ["centre", "end"])
@pytest.mark.parametrize("rows, columns", [(ROWS, ROWS), (ROWS // 2, COLUMNS)])
def test_points_of_a_padded_picture(opened, options, place, rows, columns):
    """A square picture is padded at its sides, a wide one below: where it lies has to be taken off again, in both directions."""
    cells = [(1, 2), (4, 9)]
    image = landmark_file.picture(cells, 2, 2, rows, columns)
    boxes, points = expected(cells, 2 * CELL * ROWS, 2 * CELL * COLUMNS)  # in cells of the same size, whatever lies around them
    cut = np.clip(boxes, 0, (image.shape[1], image.shape[0]) * 2)
    require(opened(**options, padding=landmark_file.padding(place)).detect(image), cut, points)


def test_padding_has_the_colour_of_the_file(opened):
    """Red padding is full of faces; what is found there lies outside of the picture."""
    image = landmark_file.picture([], rows=ROWS, columns=ROWS)
    assert len(opened(padding=landmark_file.padding("end")).detect(image)) == 0
    faces = opened(padding=landmark_file.padding("end", (255, 0, 0))).detect(image)
    assert len(faces) and (faces.landmarks[..., 0].mean(1) > image.shape[1]).all() and (faces.boxes[:, 2] <= image.shape[1]).all()


@pytest.mark.parametrize("raw", [False, True])
def test_each_face_keeps_its_own_points(opened, raw):
    """Faces of several scores, the best first; the threshold cuts boxes, scores and points alike."""
    image = landmark_file.picture([(2, 2), (2, 9), (9, 6)])
    image[2 * CELL : 3 * CELL, 2 * CELL : 3 * CELL, 0] = 200  # a paler red
    image[9 * CELL : 10 * CELL, 6 * CELL : 7 * CELL, 0] = 160
    some = opened(0.05, raw=raw).detect(image)
    require(some, *expected([(2, 9), (2, 2), (9, 6)], 96, 128))
    assert (np.diff(some.scores) < 0).all()
    require(opened(float(some.scores[1]), raw=raw).detect(image), *expected([(2, 9), (2, 2)], 96, 128))


@pytest.mark.parametrize("raw", [False, True])
def test_the_files_cap_holds(opened, raw):
    """Seven squares and room for six; in a picture without one, the rows of the file are no faces."""
    cells = [(1, 2), (1, 7), (1, 12), (6, 2), (6, 7), (6, 12), (11, 7)]
    assert len(opened(raw=raw).detect(landmark_file.picture(cells))) == landmark_file.MOST
    none = opened(0.0, raw=raw).detect(landmark_file.picture([]))
    assert len(none) == 0 and none.landmarks.shape == (0, 5, 2)


def test_points_may_lie_outside_and_boxes_may_not(opened):
    faces = opened().detect(landmark_file.picture([(0, 0)]))
    boxes, points = expected([(0, 0)], 96, 128)
    require(faces, np.maximum(boxes, 0), points)
    assert (faces.landmarks < 0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"raw": True, "points": False, "landmarks": 5}, r"raw_landmarks \[1, 192, 10\] float32 are expected"),
        ({"raw": True, "landmarks": 0}, r"raw_scores \[1, 192, 1\] float32 are expected"),
        ({"raw": True, "turned": True}, "has outputs of shapes raw_landmarks"),
        ({"raw": True, "with_nms": True}, "has outputs of shapes raw_boxes"),
        ({"max_detections": 7}, r"detection_boxes \[1, 7, 4\] float32.* are expected"),
        ({"padding": {"place": "start", "fill": [0, 0, 0]}}, "padding in its facedet.json is {'place': 'start'"),
        ({"padding": {"place": "end", "fill": [0, 0, 256]}}, "padding in its facedet.json"),
        ({"padding": {"place": "end", "fill": [0, 0]}}, "padding in its facedet.json"),
        ({"padding": {"place": "end"}}, "padding in its facedet.json"),
        ({"padding": "end"}, "padding in its facedet.json is end"),
        *(({"landmarks": number}, "landmarks in its facedet.json is") for number in (1, 10, -5, "5", None, True)),
    ],
    ids=str,
)
def test_files_that_contradict_themselves_are_named(opened, options, message):
    with pytest.raises(DetectorError, match=message):
        opened(**options)


@pytest.mark.parametrize("raw", [False, True])
def test_points_that_are_no_numbers_are_told(tmp_path, raw):
    data = landmark_file.make(raw=raw)
    assert data.count(POINTS_YX.tobytes()) == 1
    (tmp_path / "huge.tflite").write_bytes(data.replace(POINTS_YX.tobytes(), np.full_like(POINTS_YX, 3e38).tobytes()))
    with pytest.raises(DetectorError, match="points that are no numbers"):
        FaceDetector(tmp_path / "huge.tflite").detect(landmark_file.picture([(3, 4)]))
