"""Which layers of a network a training run leaves as they are: the OD API's freeze_variables and update_trainable_variables."""

import re

from facedet.errors import ConfigError
from facedet.recipe.recipe import Training


def freeze(network, training: Training, say) -> None:
    """freeze_variables and update_trainable_variables, layer by layer: a frozen batch norm keeps its statistics too."""
    frozen = [re.compile(pattern) for pattern in training.frozen]
    updated = [re.compile(pattern) for pattern in training.updated]
    if not frozen and not updated:
        return
    everything = [weight.name for layer in network.layers for weight in layer.trainable_weights]
    for key, patterns in (("freeze_variables", frozen), ("update_trainable_variables", updated)):
        idle = [pattern.pattern for pattern in patterns if not any(pattern.match(name) for name in everything)]
        if idle:
            raise ConfigError(f"train_config.{key}: {', '.join(idle)}: matches no weight, such as {everything[0]}.")
    count = 0
    for layer in network.layers:
        names = [weight.name for weight in layer.trainable_weights]
        keep = [not any(p.match(n) for p in frozen) and (not updated or any(p.match(n) for p in updated)) for n in names]
        if names and not any(keep):
            layer.trainable = False
            count += 1
    if not count:
        raise ConfigError(f"train_config.freeze_variables: {list(training.frozen)} matches no layer.")
    say(f"{count} layers are frozen.")
