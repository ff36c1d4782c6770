"""A picture in which a face and its landmarks can be found again by their colours, whatever was done to it."""

import numpy as np
import tensorflow as tf

from facedet.augment.picture import Picture

HEIGHT, WIDTH = 480, 640
BOX_PX = (150, 200, 310, 320)  # ymin, xmin, ymax, xmax
POINTS_PX = ((200, 235), (200, 285), (230, 262), (265, 240), (265, 280))  # y, x
RADIUS = 10  # of a landmark, px
SHADES = (50, 90, 130, 170, 210)  # of green, a landmark each
BACKGROUND, FACE, BLUE = 30, 220, 120


def pixels() -> np.ndarray:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = BACKGROUND, 0, BLUE
    top, left, bottom, right = BOX_PX
    ellipse = ((rows - (top + bottom) / 2) / (bottom - top) * 2) ** 2 + ((columns - (left + right) / 2) / (right - left) * 2) ** 2 <= 1
    image[ellipse, 0] = FACE
    for (y, x), shade in zip(POINTS_PX, SHADES, strict=True):
        image[(rows - y) ** 2 + (columns - x) ** 2 <= RADIUS**2, 1] = shade
    return image


def picture(weight: float = 1.0) -> Picture:
    scale = np.float32([HEIGHT, WIDTH])
    boxes = np.float32(BOX_PX).reshape(2, 2) / scale
    points = np.float32(POINTS_PX)[None] / scale
    return Picture(tf.constant(pixels(), tf.float32), tf.constant(boxes.reshape(1, 4)), tf.constant(points), tf.constant([weight]))


def check(image: np.ndarray, box: np.ndarray, points: np.ndarray, mirrored: bool = False) -> tuple[bool, bool]:
    """Fails unless box [4] and points [5, 2] are where the image [H, W, 3] shows them. Says whether it could see all of either."""
    size = np.array(image.shape[:2])
    whole_box = box.min() > 0.01 and box.max() < 0.99
    if whole_box:
        rows, columns = np.nonzero(image[..., 0] > (BACKGROUND + FACE) / 2)
        found = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
        np.testing.assert_allclose(box * np.tile(size, 2), found, atol=2.5)
    assert np.isfinite(points).all() or not np.isfinite(points).any()
    radius = RADIUS * (box[2:] - box[:2]) * size / (np.subtract(BOX_PX[2:], BOX_PX[:2]))  # of a landmark, as it is shown
    seen = bool(np.isfinite(points).any() and radius.min() > 2.5)  # in less its neighbours' pixels have a share
    if seen:
        rows, columns = np.clip((points * size).astype(int), 0, size - 1).T
        order = (1, 0, 2, 4, 3) if mirrored else range(5)
        apart = np.abs(image[rows, columns, 1] - np.array(SHADES)[list(order)])
        assert (apart < 16).sum() >= 3, apart  # those at an edge of what is seen are mixed with what is beyond
    return whole_box, seen
