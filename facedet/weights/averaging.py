"""The mean of two trained networks of which one was fine-tuned from the other, or both from a third: it can have of both what each does
better (Wortsman et al. 2022, arXiv:2109.01903)."""

from facedet.quantization.network import QuantizableNetwork
from facedet.weights.checkpoints import CheckpointError, named_weights


def average(network: QuantizableNetwork, other: QuantizableNetwork, share: float) -> list[str]:
    """Moves the weights and ranges of `network` by `share`, 0 to 1, of the way to those of `other`; what only `network` has stays.

    Returns the names of what stays. CheckpointError where a weight of one name has two shapes, and where nothing is common.
    """
    mine, theirs = named_weights(network), named_weights(other)
    common = [name for name in mine if name in theirs]
    if not common:
        raise CheckpointError("The two networks have no weight of the same name: their mean means nothing.")
    for name in common:
        if mine[name].shape != theirs[name].shape:
            raise CheckpointError(
                f"{name} has shape {list(mine[name].shape)} in one network and {list(theirs[name].shape)} in the other: only networks of the "
                "same widths have a mean."
            )
    for name in common:
        mine[name].assign((1 - share) * mine[name] + share * theirs[name])
    return [name for name in mine if name not in theirs]
