"""The training pictures of a recipe: records -> augmented batches.

The OD API decodes every picture in full and works on it as floats. Here steps that show a window of it are done while decoding
(decoding.py), and most others at the input's size (steps.py). A picture that cannot be decoded is left out and reported by its name.
"""

from collections.abc import Callable

import tensorflow as tf

from facedet.augment import decoding, fitting, steps
from facedet.recipe.recipe import Augmentation
from facedet.runtime.input_spec import InputSpec

IMAGE, BOXES, WEIGHTS, POINTS = "image", "groundtruth_boxes", "groundtruth_weights", "points_yx"


def _refuse(name: str) -> None:
    raise ValueError(f"{name} cannot be decoded.")


def dataset(
    paths: list[str],
    augmentation: Augmentation,
    input: InputSpec,
    batch_size: int,
    seed: int | None = None,
    on_undecodable: Callable[[str], None] = _refuse,
) -> tf.data.Dataset:
    """Endless shuffled batches of {image float32 [B, H, W, 3] RGB 0..255, groundtruth_boxes [B, M, 4] ymin xmin ymax xmax,
    groundtruth_weights [B, M], points_yx [B, M, 5, 2] y x, num_boxes [B], name [B]}. Coordinates are fractions of the input.
    M is that of the batch's fullest picture; the rest is zeros, and NaN for points. A face has all five points or, as where one
    is outside the picture, none.

    seed: of the pictures' order.  on_undecodable: told the name of each picture that is left out because it cannot be decoded;
    what it raises ends the dataset with a tf.errors.OpError.
    Raises ConfigError naming the augmentation that cannot be honoured.
    """
    plan = steps.plan(augmentation, input)

    def decode(name, picture):
        return name, decoding.decode(picture, plan.windows, input, full_scale=bool(plan.moves))

    def decoded_or_left_out(serialized):
        picture = tf.data.Dataset.from_tensors(serialized).map(decoding.parse)
        left_out = picture.filter(lambda name, _: decoding.report(name, on_undecodable))  # looked at where nothing was decoded
        return picture.map(decode).ignore_errors().concatenate(left_out.map(decode)).take(1)

    def example(name, picture):
        for step in plan.moves:
            picture = step(picture)
        if plan.moves:
            picture = fitting.resize(picture, input)
        for step in plan.last:
            picture = step(picture)
        picture = fitting.pad(picture._replace(image=tf.clip_by_value(picture.image, 0.0, 255.0)), input)
        faces = {BOXES: picture.boxes, WEIGHTS: picture.weights, POINTS: picture.points, "num_boxes": tf.shape(picture.boxes)[0]}
        return {IMAGE: picture.image, **faces, "name": name}

    files = tf.data.Dataset.from_tensor_slices(sorted(paths)).shuffle(len(paths), seed=seed).repeat()
    records = files.interleave(tf.data.TFRecordDataset, cycle_length=min(len(paths), 4), block_length=4)
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": seed is not None}
    examples = records.shuffle(512, seed=seed).interleave(decoded_or_left_out, **parallel).map(example, **parallel)
    padding = {IMAGE: 0.0, BOXES: 0.0, WEIGHTS: 0.0, POINTS: float("nan"), "num_boxes": 0, "name": ""}
    return examples.padded_batch(batch_size, padding_values=padding, drop_remainder=True).prefetch(3)
