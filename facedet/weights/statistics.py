"""Statistics for batch norms that have none of their own: what a file has folded into its convolutions is laid open again."""

from collections.abc import Iterable

import numpy as np

from facedet.keras2 import keras


def measure(network: keras.Model, batches: Iterable[np.ndarray]) -> int:
    """Gives each batch norm the mean and variance of what it gets on pictures; returns how many there are.

    What the network computes stays the same, and training, where batch norms go by each batch's own statistics, begins there.
    batches: normalized [B, H, W, 3], one at least.
    """
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    taps = keras.Model(network.inputs, [norm.input for norm in norms])
    sums = [np.zeros((3, norm.gamma.shape[0])) for norm in norms]  # number of values, their sum, that of their squares
    for batch in batches:
        for total, values in zip(sums, taps(batch, training=False), strict=True):
            flat = values.numpy().reshape(-1, values.shape[-1]).astype(np.float64)
            total += np.stack([np.full(flat.shape[1], len(flat)), flat.sum(0), (flat**2).sum(0)])
    for norm, (count, total, squares) in zip(norms, sums, strict=True):
        gamma, beta, old_mean, old_variance = norm.get_weights()
        scale = gamma / np.sqrt(old_variance + norm.epsilon)
        mean = total / count
        variance = np.maximum(squares / count - mean**2, 0)
        norm.set_weights([scale * np.sqrt(variance + norm.epsilon), beta + (mean - old_mean) * scale, mean, variance])
    return len(norms)
