"""Hard example mining whose suppression leaves all boxes is a ranking: the OD API's own miner gives the same."""

import numpy as np
import pytest

from facedet.od_api import losses, protos

import tensorflow as tf  # isort: skip


def built(miner: str):
    text = f"""
        classification_loss {{ weighted_softmax {{}} }} localization_loss {{ weighted_smooth_l1 {{}} }}
        hard_example_miner {{ num_hard_examples: 0 loss_type: CLASSIFICATION {miner} }}"""
    return losses.build(protos.parse(f"model {{ ssd {{ loss {{ {text} }} }} }}").model.ssd.loss)


def batch(seed: int):
    """Losses of 4 images of 300 anchors, the last without a face; boxes far apart, so that no overlap is above .99."""
    generator = np.random.default_rng(seed)
    matches = generator.choice([-2, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 1], (4, 300)).astype(np.int32)
    matches[3] = -1
    localized = np.where(matches >= 0, generator.uniform(0, 3, (4, 300)), 0).astype(np.float32)
    classified = np.where(matches == -2, 0, generator.uniform(0, 2, (4, 300))).astype(np.float32)
    corners = np.arange(300)[:, None] * (1.0, 0.0) + (0.0, 0.0)
    boxes = np.tile(np.concatenate([corners, corners + 0.5], 1), (4, 1, 1)).astype(np.float32)
    return tuple(map(tf.constant, (localized, classified, boxes, np.ones((4, 300), np.float32), matches)))


@pytest.mark.parametrize("ratio", [7, 1, 100])
@pytest.mark.parametrize("least", [0, 5])
def test_ranking_is_what_the_miner_does(ratio, least):
    numbers = f"max_negatives_per_positive: {ratio} min_negatives_per_image: {least}"
    ranked, stock = (built(f"{numbers} iou_threshold: {threshold}").mine for threshold in (1.0, 0.99))
    assert ranked.__qualname__ != stock.__qualname__
    given = batch(10 * ratio + least)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(given[:2])
        ours, theirs = ranked(*given), stock(*given)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert float(theirs[1]) > 0
    for i, counts in enumerate((given[4] >= 0, given[4] >= -1)):  # what does not count has no loss whose gradient could matter
        gradients = [tape.gradient(sums[i], given[i]) for sums in (ours, theirs)]
        np.testing.assert_array_equal(*(tf.where(counts, gradient, 0.0) for gradient in gradients))


@pytest.mark.parametrize("miner", ["iou_threshold: 0.7 max_negatives_per_positive: 3", "iou_threshold: 1.0 max_negatives_per_positive: 0"])
def test_what_is_no_ranking_is_left_to_the_miner(miner):
    assert "_ranking" not in built(miner).mine.__qualname__
