"""Mixed precision learns as float32 does, leaves plain float32 checkpoints, and is refused where it would change the exported integers."""

import re

import numpy as np
import pytest
from conftest import run
from small_network import small

from facedet.errors import ConfigError
from facedet.recipe import adapt, pipeline_config
from facedet.training import step
from facedet.training.learner import Learner
from facedet.training.pictures import TrainingPictures
from facedet.training.strategy import Devices
from facedet.training.trainer import NotFiniteError, Schedule, Trainer

import tensorflow as tf  # isort: skip


@pytest.fixture
def recipe(records_dir):
    return pipeline_config.from_message(adapt.adapt(small(records_dir, 100_000), learning_rate=0.03))


def quiet(recipe, model_dir, name: str, say=lambda text: None) -> Trainer:
    return Trainer(recipe, str(model_dir), say=say, devices=Devices(precision=name))


def weights(learner: Learner) -> dict:
    return {name: weight.numpy() for name, weight in learner.weights.items()}


def test_bfloat16_learns_what_float32_learns_and_its_variables_are_float32(recipe, records_dir):
    train_paths, _ = pipeline_config.check_data(recipe)
    batches = TrainingPictures(train_paths, recipe, Devices(), 24).dataset()
    fixed, losses, begun = next(batch for batch in batches if sum(batch["num_boxes"]) > 3), {}, None
    for name in ("float32", "mixed_bfloat16"):
        learner = Learner(recipe, Devices(precision=name), say=lambda text: None)
        begun = begun or weights(learner)
        for key, weight in learner.weights.items():
            weight.assign(begun[key])
        computed = learner.detector.network(tf.zeros([1, *recipe.input.size, 3]))
        assert {head.dtype.name for head in computed.values()} == {name.removeprefix("mixed_")}
        train_step = step.build(learner, learner.forward, batches.element_spec)
        losses[name] = [float(train_step(fixed, False)[0]["Loss/total_loss"]) for _ in range(10)]
        assert {variable.dtype for variable in (*learner.weights.values(), *learner.optimizer.variables()[1:])} == {tf.float32}
    plain, mixed = losses.values()
    learned = plain[0] - plain[-1]
    assert learned > 0.1 * plain[0], plain
    assert mixed != plain and np.allclose(mixed, plain, atol=0.3 * learned), (plain, mixed)


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_a_run_goes_on_in_another_precision(recipe, tmp_path, name):
    quiet(recipe, tmp_path, name).train(Schedule(2))
    quiet(recipe, tmp_path / "float32", "float32").train(Schedule(2))
    own, other = (tf.train.list_variables(tf.train.latest_checkpoint(str(path))) for path in (tmp_path, tmp_path / "float32"))
    assert own == other and any("momentum" in key for key, _ in own)
    said = []
    resumed = quiet(recipe, tmp_path, "float32", say=said.append)
    assert resumed.learner.reached == 2 and any("ckpt-2 at step 2" in text for text in said)
    resumed.train(Schedule(3))
    back = quiet(recipe, tmp_path, name)
    assert back.learner.reached == 3
    for key, value in weights(resumed.learner).items():
        assert np.array_equal(back.learner.weights[key].numpy(), value), key


def test_evaluations_are_in_float32(recipe):
    learner = Learner(recipe, Devices(precision="mixed_bfloat16"), say=lambda text: None)
    detector, quantizable = learner.averaged()
    images = tf.random.uniform([1, *recipe.input.size, 3])
    for forward in (quantizable.network, quantizable.simulate):
        boxes = detector.decode(forward(images, training=False)).boxes_yxhw
        assert boxes.dtype == tf.float32
    for weight in learner.weights.values():
        weight.assign_add(tf.ones_like(weight))
    detector, _ = learner.averaged()
    for mine, its in zip(learner.detector.network.weights, detector.network.weights, strict=True):
        assert np.array_equal(mine.numpy(), its.numpy()), mine.name


def overflowing(trainer: Trainer, monkeypatch) -> None:
    """The losses are finite in float32; their gradients are not in float16, however small the scale is, whatever the pictures hold."""
    losses = trainer.learner.detector.losses

    def steep(outputs, faces):
        return losses(outputs, faces) | {"Loss/steep": 1e30 * tf.add_n([tf.reduce_sum(tf.square(head)) for head in outputs.values()])}

    monkeypatch.setattr(trainer.learner.detector, "losses", steep)


def test_a_step_whose_gradients_overflow_is_left_out_and_halves_the_scale(recipe, tmp_path, monkeypatch):
    trainer = quiet(recipe, tmp_path, "mixed_float16")
    learner = trainer.learner
    learned = learner.detector.network.trainable_variables
    begun = [variable.numpy() for variable in learned]
    with monkeypatch.context() as patched:
        overflowing(trainer, patched)
        scale = float(learner.loss_scale.value)
        trainer.train(Schedule(2))
    assert learner.reached == 2 and float(learner.loss_scale.value) == scale / 4
    assert all(np.array_equal(variable.numpy(), value) for variable, value in zip(learned, begun, strict=True))
    trainer.train(Schedule(10))
    assert any((variable.numpy() != value).any() for variable, value in zip(learned, begun, strict=True))
    assert all(np.isfinite(weight).all() for weight in weights(learner).values())


def test_what_no_scale_mends_ends_the_run(recipe, tmp_path, monkeypatch):
    trainer = quiet(recipe, tmp_path, "mixed_float16")
    trainer.learner.loss_scale.value.assign(2.0)
    overflowing(trainer, monkeypatch)
    with pytest.raises(NotFiniteError, match=r"step 2: .*'Loss/total_loss': [\d.]+.*'gradient_norm': (nan|inf)"):
        trainer.train(Schedule(4))


def test_fake_quantization_is_refused_and_the_way_out_is_one(quick_config, tmp_path):
    said, text = [], quick_config.read_text()
    refused = r"quick\.config: --precision mixed_bfloat16 does not go with graph_rewriter\.quantization: .* copy of the config without"
    with pytest.raises(ConfigError, match=refused):
        quiet(pipeline_config.read(str(quick_config)), tmp_path / "model", "mixed_bfloat16")
    assert not (tmp_path / "model").exists()

    without = re.sub(r"graph_rewriter \{.*?\n\}\n", "", text, flags=re.DOTALL)
    quiet(pipeline_config.parse(without), tmp_path / "mixed", "mixed_bfloat16", said.append).train(Schedule(2, eval_sample=6))
    assert any("step 2 (eval, in float)" in line for line in said)

    own = f'fine_tune_checkpoint: "{tmp_path / "mixed"}" fine_tune_checkpoint_type: "full"'
    on = text.replace('fine_tune_checkpoint_type: "classification"', own)
    trainer = quiet(pipeline_config.parse(on), tmp_path / "model", "float32", said.append)
    assert re.search(r"Starting at step 0 from .*mixed: (\d+) of \1 weights fit", said[-1])
    trainer.train(Schedule(5, evaluate_every=0, eval_sample=6))
    assert any("step 5 (eval, as int8)" in line for line in said)


def test_a_user_asks_for_it_and_is_told(recipe, tmp_path):
    config = tmp_path / "small.config"
    config.write_text(recipe.text)
    command = ["scripts/model_main.py", f"--pipeline_config_path={config}", f"--model_dir={tmp_path / 'model'}", "--num_train_steps=1"]
    said = run(*command, "--precision=mixed_bfloat16", "--eval_every_n=0")
    assert re.match(r"Device: CPU, \d+ cores; memory \d+ GiB; precision mixed_bfloat16\.\n", said)
