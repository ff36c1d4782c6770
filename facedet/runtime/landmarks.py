"""Which points of a face a detector gives, by their number; the left of the picture comes first. numpy only."""

import numpy as np

# Five are those of the annotations, six are MediaPipe's.
NAMES = {
    5: ("eye", "eye", "nose", "mouth corner", "mouth corner"),
    6: ("eye", "eye", "nose tip", "mouth centre", "ear", "ear"),
}
# Of five, what the first four of six are.
_FOUR = np.asarray([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0.5, 0.5]], np.float32)


def expected(five_points, num_points: int):
    """[..., 5, 2], of numpy or TensorFlow -> [..., K, 2]: what they say of the first K of a detector's num_points.

    Five of five; of MediaPipe's six the eyes, the nose and the mouth's centre, for ears are not annotated.
    """
    return five_points if num_points == 5 else _FOUR @ five_points
