"""The one-cycle schedule of rate and momentum: PyTorch's figures, and what the optimizer does with them."""

import numpy as np
import pytest

from facedet.od_api import builders, facedet_options_pb2, optimizers, protos
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip

STEPS_OF_AN_EPOCH = 403
# epoch: rate and momentum of torch.optim.lr_scheduler.OneCycleLR, start .01 / 32, 40,300 steps, 3 % upwards
MEASURED = {
    0: (0.0003125, 0.950), 1: (0.002738, 0.925), 2: (0.007585, 0.875), 3: (0.0100, 0.850), 10: (0.009872, 0.851), 20: (0.009261, 0.857),
    30: (0.008207, 0.868), 50: (0.005242, 0.898), 70: (0.002180, 0.928), 90: (0.000260, 0.947), 100: (3.125e-8, 0.950),
}  # fmt: skip
MOMENTUM = "momentum_optimizer {}"


def built(optimizer=MOMENTUM, **cycle):
    message = protos.parse(f"train_config {{ optimizer {{ {optimizer} use_moving_average: false }} }}").train_config.optimizer
    step = tf.Variable(0, dtype=tf.int64)
    said = facedet_options_pb2.OneCycle(**{"total_steps": 40_300} | cycle)
    return step, *optimizers.build(message, step, said)


def momentum(optimizer, name="momentum"):
    return float(optimizer._get_hyper(name))


def test_rate_and_momentum_are_pytorchs():
    step, optimizer, rate = built()
    for epoch, (expected_rate, expected_momentum) in MEASURED.items():
        step.assign(epoch * STEPS_OF_AN_EPOCH)
        assert rate() == pytest.approx(expected_rate, abs=6e-7 if epoch < 100 else 1e-10), epoch
        assert momentum(optimizer) == pytest.approx(expected_momentum, abs=6e-4), epoch
    step.assign(10**6)
    assert rate() == pytest.approx(3.125e-8, abs=1e-10)


def test_a_traced_step_follows_the_cycle():
    """Rate and momentum of the step, not those of the first: the updates are SGD's own by numpy."""
    step, optimizer, rate = built(total_steps=10, warmup_share=0.3, max_learning_rate=0.5, start_learning_rate=0.1)
    weight = tf.Variable(1.0)

    @tf.function
    def train_step():
        optimizer.apply_gradients([(tf.constant(1.0), weight)])
        step.assign_add(1)

    expected, velocity = 1.0, 0.0
    for _ in range(12):
        velocity = momentum(optimizer) * velocity - rate()
        expected += velocity
        train_step()
        assert float(weight) == pytest.approx(expected, rel=1e-5)
    assert momentum(optimizer) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("optimizer", "name"), [(MOMENTUM, "momentum"), ("rms_prop_optimizer {}", "momentum"), ("adam_optimizer {}", "beta_1")]
)
def test_every_optimizer_with_momentum_follows_it(optimizer, name):
    step, made, _ = built(optimizer)
    assert momentum(made, name) == pytest.approx(0.95)
    step.assign(1208)
    assert momentum(made, name) == pytest.approx(0.85) and float(made._get_hyper("learning_rate")) == pytest.approx(0.01)


def test_without_a_cycle_rate_and_momentum_are_the_configs():
    text = "momentum_optimizer { momentum_optimizer_value: 0.8 learning_rate { constant_learning_rate { learning_rate: 0.02 } } }"
    message = protos.parse(f"train_config {{ optimizer {{ {text} }} }}").train_config.optimizer
    optimizer, rate = optimizers.build(message, tf.Variable(0, dtype=tf.int64))
    assert rate() == pytest.approx(0.02) and momentum(optimizer) == pytest.approx(0.8)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_cycle_may_have_one_half(share):
    step, _, rate = built(total_steps=5, warmup_share=share)
    found = []
    for at in range(5):
        step.assign(at)
        found.append(rate())
    ways = np.diff(found) * (1 if share else -1)
    assert (ways > 0).all() and max(found) == pytest.approx(0.01)
    assert min(found) == pytest.approx(0.0003125 if share else 3.125e-8)


CYCLE = "[facedet.training] {{ one_cycle {{ {} }} }}"


@pytest.mark.parametrize(
    ("optimizer", "cycle", "told"),
    [
        (MOMENTUM, "", "[facedet.training] one_cycle: the OD API cannot build it: total_steps is wanted in it"),
        ("momentum_optimizer { momentum_optimizer_value: 0 }", "total_steps: 9", "train_config.optimizer has none"),
    ],
)
def test_a_cycle_that_cannot_be_is_refused(optimizer, cycle, told):
    text = f"train_config {{ optimizer {{ {optimizer} }} }} {CYCLE.format(cycle)}"
    config = protos.parse(text)
    with pytest.raises(pipeline_config.ConfigError) as error:
        builders.try_out(_with_the_rest(config))
    assert told in str(error.value)


def _with_the_rest(config):
    """What try_out() builds beside the optimizer."""
    ssd = config.model.ssd
    ssd.anchor_generator.ssd_anchor_generator.SetInParent()
    ssd.loss.classification_loss.weighted_sigmoid.SetInParent()
    ssd.loss.localization_loss.weighted_smooth_l1.SetInParent()
    return config
