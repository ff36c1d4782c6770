"""Each step moves boxes and landmarks with the pixels, and changes nothing else."""

import marked_picture
import numpy as np
import pytest
import tensorflow as tf
from marked_picture import BACKGROUND, BLUE, FACE

from facedet.augment import colour, fitting, geometry, picture, windows
from facedet.augment.picture import Picture
from facedet.runtime.input_spec import InputSpec

INPUT = InputSpec(192, 256, mean=(104.0, 117.0, 123.0), scale=(1.0, 1.0, 1.0))
GEOMETRIC = {
    "crop": lambda: windows.crop_around_faces(INPUT, min_area=0.2),
    "data-anchor": lambda: windows.data_anchor_sampling(INPUT, probability=1, scales=(32, 64, 128)),
    "expand": lambda: windows.expand(INPUT, probability=1),
    "rotate": lambda: geometry.rotate(INPUT, probability=1),
    "mirror": lambda: geometry.mirror(probability=1),
}
COLOURS = {
    "photometric": lambda p: colour.photometric_distortion(probability=p),
    "blur": lambda p: colour.blur(probability=p),
    "noise": lambda p: colour.noise(probability=p),
    "jpeg": lambda p: colour.jpeg_quality(probability=p),
}


def traced(step):
    """As tf.data runs it, without a trace for each call."""
    return tf.function(step, autograph=False)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_boxes_and_landmarks_move_with_the_pixels(name):
    tf.random.set_seed(1)
    step, seen = traced(GEOMETRIC[name]()), np.zeros(2, int)
    for _ in range(15):
        image, boxes, points, weights = (value.numpy() for value in step(marked_picture.picture())[:4])
        assert len(boxes) == len(points) == len(weights) <= 1
        if len(boxes):
            seen += marked_picture.check(image, boxes[0], points[0], mirrored=name == "mirror")
    assert (seen >= 4).all()


@pytest.mark.parametrize("name", GEOMETRIC)
def test_a_face_without_landmarks_gets_none(name):
    """Nor does one of which a landmark is absent keep the others where something is cut."""
    step, plain = traced(GEOMETRIC[name]()), marked_picture.picture()
    points = tf.concat([tf.fill([1, 5, 2], np.nan), plain.points], 0)
    both = Picture(plain.image, tf.tile(plain.boxes, [2, 1]), points, tf.ones([2]))
    for _ in range(5):
        points = step(both).points.numpy()
        assert not len(points) or np.isnan(points[0]).all()
    assert np.isfinite(points).any() or name in ("crop", "rotate", "data-anchor")
    assert np.isnan(picture.whole_points(tf.constant([[[0.5, 0.5]] * 4 + [[np.nan, 0.5]]])).numpy()).all()


def test_landmarks_of_a_face_go_when_one_is_cut_off():
    whole = marked_picture.picture()
    top, left = 190, 210  # the box is cut, no landmark is
    kept = picture.show_faces(whole, tf.constant([top, left, 200, 200]), tf.constant([480, 640]), 0.4)
    np.testing.assert_allclose(kept.points[0, 0] * 200, (200 - top, 235 - left), atol=1e-3)
    cut = picture.show_faces(whole, tf.constant([top, 240, 200, 200]), tf.constant([480, 640]), 0.4)  # the left eye is
    assert len(cut.boxes) == 1 and cut.weights.numpy() == [1] and np.isnan(cut.points).all()


@pytest.mark.parametrize(("left", "expected"), [(200, [1.0]), (271, [1.0]), (273, [0.0]), (330, [])])
def test_what_is_cut_too_much_is_ignored_not_background(left, expected):
    """The face spans 200 to 320: 0.4 of it are 48."""
    cut = picture.show_faces(marked_picture.picture(), tf.constant([0, left, 480, 300]), tf.constant([480, 640]), 0.4)
    assert cut.weights.numpy().tolist() == expected
    ignored = picture.show_faces(marked_picture.picture(weight=0.0), tf.constant([0, 200, 480, 300]), tf.constant([480, 640]), 0.4)
    assert ignored.weights.numpy() == [0]


def test_a_rotation_cuts_faces_as_a_crop_does():
    """Turned to the left, the picture's upper left corner leaves it; of the second face a third is left."""
    faces = tf.constant([[0.0, 0.0, 0.1, 0.08], [0.0, 0.0, 0.2, 0.13], [0.4, 0.4, 0.6, 0.6]])
    corner = marked_picture.picture()._replace(boxes=faces, points=tf.fill([3, 5, 2], 0.5), weights=tf.ones([3]))
    turned = traced(geometry.turn)(corner, np.float32(np.pi / 4), INPUT.fill)
    assert turned.weights.numpy().tolist() == [0, 1]


def test_a_stretched_picture_is_turned_as_before_it_was_stretched():
    whole, square = marked_picture.picture(), InputSpec(200, 200)
    before = fitting.resize(geometry.turn(whole, np.float32(0.5), INPUT.fill), square)
    after = geometry.turn(fitting.resize(whole, square), np.float32(0.5), INPUT.fill)
    np.testing.assert_allclose(after.boxes, before.boxes, atol=1e-5)
    np.testing.assert_allclose(after.points, before.points, atol=1e-5)
    assert np.abs(after.image - before.image).mean() < 2


def test_what_is_around_the_picture_has_the_inputs_colour():
    red, green, blue = INPUT.fill
    assert (red, green, blue) == (104, 117, 123)
    for step in (windows.expand(INPUT, probability=1, max_ratio=3.0), geometry.rotate(INPUT, probability=1)):
        image = traced(step)(marked_picture.picture()).image.numpy()
        filled = np.abs(image - INPUT.fill).max(-1) < 1e-3
        painted = np.abs(image[..., 2] - BLUE).max(initial=0, where=~filled)
        assert filled.mean() > 0.02 and painted < BLUE and image[..., 0].max() > FACE - 5 and image.min() >= -1e-3
        assert np.abs(image[filled] - BACKGROUND).min() > 50


def test_data_anchor_sampling_brings_a_face_to_a_scale():
    """Its side at the input lies between half of the least and twice of the one after the nearest; no face becomes larger than the input."""
    tf.random.set_seed(2)
    step, sides = traced(windows.data_anchor_sampling(INPUT, probability=1, scales=(16, 32, 64, 128))), []
    for _ in range(60):
        shown = fitting.resize(step(marked_picture.picture()), INPUT)
        box = shown.boxes.numpy()[0]
        assert shown.weights.numpy() == [1]  # the chosen face is never cut
        sides.append(np.sqrt((box[2] - box[0]) * 192 * (box[3] - box[1]) * 256))
    assert 7 < min(sides) < 14 and 130 < max(sides) < 193  # it is 55 px of itself: up to twice 128, but for the input's height
    assert 0.2 < np.mean(np.array(sides) < 30) < 0.7  # two of the four scales drawn
    alone = windows.data_anchor_sampling(INPUT, probability=1)(marked_picture.picture(weight=0.0))
    assert alone.image.shape == (480, 640, 3)  # no face to choose


@pytest.mark.parametrize("name", COLOURS)
def test_colours_change_and_faces_stay(name):
    tf.random.set_seed(3)
    given = marked_picture.picture()
    for probability in (0.0, 1.0):
        step, changes = traced(COLOURS[name](probability)), []
        for _ in range(6):
            image, *faces = step(given)
            for value, before in zip(faces, given[1:], strict=True):
                np.testing.assert_array_equal(value, before)
            assert image.shape == given.image.shape and image.numpy().min() >= -1e-3 and image.numpy().max() < 256
            changes.append(np.abs(image - given.image).mean())
        assert max(changes) == 0 if probability == 0 else 0.1 < max(changes) < 60 and len(set(changes)) == 6


def test_grey_has_no_hue_and_colours_change_theirs():
    grey = marked_picture.picture()._replace(image=tf.fill([8, 8, 3], 90.0))
    step = traced(colour.photometric_distortion(probability=1, max_brightness=0, max_contrast=0, max_saturation=1, max_hue=0.5))
    np.testing.assert_allclose(step(grey).image, 90, atol=1e-3)
    red = grey._replace(image=tf.tile(tf.constant([[[90.0, 60.0, 60.0]]]), [8, 8, 1]))
    strongest = {int(step(red).image.numpy()[0, 0].argmax()) for _ in range(40)}
    assert strongest == {0, 1, 2}
    paler = traced(colour.photometric_distortion(probability=1, max_brightness=0, max_contrast=0, max_saturation=1, max_hue=0))
    spread = [float(np.ptp(paler(red).image.numpy()[0, 0])) for _ in range(40)]
    assert min(spread) < 10 and 50 < max(spread) < 61


def test_blur_keeps_a_plain_picture_to_its_border():
    plain = marked_picture.picture()._replace(image=tf.fill([20, 30, 3], 90.0))
    np.testing.assert_allclose(traced(colour.blur(probability=1, max_sigma=3))(plain).image, 90, atol=1e-3)


@pytest.mark.parametrize("place", ["centre", "end"])
@pytest.mark.parametrize("size", [(96, 96), (96, 128), (128, 96), (480, 640)])
def test_a_padded_input_is_that_of_the_detector(size, place):
    spec = InputSpec(*size, resize="pad", pad_place=place, pad_value=(1, 2, 3))
    fitted = fitting.pad(fitting.resize(marked_picture.picture(), spec), spec)
    expected, placement = spec.prepare(marked_picture.pixels())
    assert np.abs(fitted.image - expected.astype(np.float32)).mean() < 2
    back = placement.to_picture(fitted.boxes.numpy(), 480, 640)[0][[1, 0, 3, 2]]
    np.testing.assert_allclose(back, marked_picture.BOX_PX, atol=0.1)
    points = placement.points_to_picture(fitted.points.numpy(), 480, 640)[0][:, ::-1]
    np.testing.assert_allclose(points, marked_picture.POINTS_PX, atol=0.1)


def test_a_picture_gets_the_size_that_the_detector_gives_it():
    rng = np.random.default_rng(0)
    fitted_size = tf.function(fitting.fitted_size)
    for spec in (InputSpec(224, 224, resize="pad"), InputSpec(240, 320, resize="pad"), INPUT):
        for shape in [*rng.integers(1, 1200, (150, 2)), (1, 1200), (448, 449), (3, 2)]:
            assert tuple(fitted_size(spec, tf.constant(shape, tf.int32)).numpy()) == spec.fit(*map(int, shape))[0]
