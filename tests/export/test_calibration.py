"""Ranges of a float network for its int8 file: nothing rare is cut off, and nothing that no score shows takes the grid."""

import types

import numpy as np
import pytest
from conftest import BOXES_CONFIG, MAIN_CONFIG, NARROW_CONFIG, ROOT, SHIPPED, config_text, run

from facedet.detectors import registry
from facedet.evaluation import validation
from facedet.evaluation.checkpoint_detector import CheckpointDetector
from facedet.export import exporter
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
from facedet.runtime.input_spec import InputSpec

import tensorflow as tf  # isort: skip


@pytest.fixture
def reference():
    """A network of one head, the normalized picture times 50, with what calibrate() asks of a detector."""
    image = tf.keras.Input((32, 32, 3))
    head = tf.keras.layers.Conv2D(3, 1, name="class_head_0", kernel_initializer=lambda shape, dtype: tf.eye(3)[None, None] * 50)
    network = tf.keras.Model(image, {"class_head_0": head(image)})
    detector = types.SimpleNamespace(input=InputSpec(32, 32), saturated=lambda: {"class_head_0": (-12.0, 100.0)}, shown=lambda outputs: {})
    return types.SimpleNamespace(detector=detector, quantizable=QuantizableNetwork(network))


def diagonal(peak):
    """A picture in which one value of 32 is not 0."""
    return np.full((1, 32, 32, 3), peak, np.float32) * np.eye(32, dtype=np.float32)[None, :, :, None]


def test_what_is_rare_in_each_picture_is_not_cut_off(reference):
    reference.quantizable.calibrate([diagonal(0.8)] * 8)
    np.testing.assert_allclose(reference.quantizable.ranges["class_head_0"], [0, 40], atol=1e-4)


def test_one_odd_picture_does_not_take_the_grid(reference):
    reference.quantizable.calibrate([np.concatenate([diagonal(0.2)] * 4)] * 12 + [diagonal(20.0), diagonal(-20.0)])
    least, greatest = reference.quantizable.ranges["class_head_0"].numpy()
    assert -1 < least <= 0 and 9.9 < greatest < 11  # without a quantile -1000 and 1000


def test_within_the_network_a_fifth_of_the_pictures_may_be_cut_off():
    """Where outputs are joined at the end, they are outputs all the same."""
    image = tf.keras.Input((32, 32, 3))
    within = tf.keras.layers.Conv2D(3, 1, name="within", kernel_initializer="ones")(image)
    heads = [tf.keras.layers.Conv2D(3, 1, name=name, kernel_initializer="ones")(within) for name in ("first", "second")]
    quantizable = QuantizableNetwork(tf.keras.Model(image, {"joined": tf.keras.layers.Concatenate()(heads)}))
    quantizable.calibrate([np.full((1, 32, 32, 3), value, np.float32) for value in np.linspace(0, 1, 101)])
    greatest = {name: bounds.numpy()[1] for name, bounds in quantizable.ranges.items()}
    assert greatest["within"] == pytest.approx(3 * 0.8, rel=1e-3)
    assert greatest["first"] == greatest["second"] == pytest.approx(9 * 0.97, rel=1e-3)


def test_what_no_file_shows_takes_no_grid(reference):
    """Of each picture the values from .5 on of the normalized one are shown, at most .8 times 50; -45 stands beside them, and in a picture of its own."""
    pictures = np.minimum(np.concatenate([diagonal(0.8)] * 8), 0.8)
    pictures[:, 0, 1] = -0.9
    odd = diagonal(-0.9)

    def shown(outputs):
        return {"class_head_0": outputs["class_head_0"] > 25.0}

    reference.quantizable.calibrate([pictures, odd, odd], shown=shown)
    np.testing.assert_allclose(reference.quantizable.ranges["class_head_0"], [0, 40], atol=1e-4)
    reference.quantizable.calibrate([odd, odd], shown=shown)  # none shows anything: then all values count
    np.testing.assert_allclose(reference.quantizable.ranges["class_head_0"], [-45, 0], atol=1e-4)


@pytest.mark.parametrize("config", ["ssd_mobilenet_v2_quantized_224x224", "retinaface_mobilenet025_320x240"])
def test_what_is_shown_are_the_codes_of_anchors_that_score(config):
    """Sigmoid and softmax, with landmarks: the map's values are those that the files decode."""
    message = pipeline_config.message(str(MAIN_CONFIG.with_name(f"{config}_widerface.config")))
    message.model.ssd.image_resizer.fixed_shape_resizer.height = message.model.ssd.image_resizer.fixed_shape_resizer.width = 64
    message.model.ssd.post_processing.batch_non_max_suppression.score_threshold = 0.5
    detector = registry.build(pipeline_config.from_message(message))
    random = np.random.default_rng(1)
    outputs = {name: tf.constant(random.normal(0, 3, (2, *head.shape[1:])), tf.float32) for name, head in detector.network.output.items()}
    masks, scores = detector.shown(outputs), detector.decode(outputs).scores.numpy()
    assert sorted(masks) == sorted(name for name in outputs if not name.startswith("class"))
    for kind, columns in (("box", 4), ("points", 10)):
        wanted = detector._joined(outputs, kind).numpy()[scores >= 0.5]
        maps = [np.reshape(outputs[name], (2, -1, columns)) for name in sorted(outputs) if name.startswith(kind)]
        marked = [np.reshape(masks[name], (2, -1, columns)) for name in sorted(outputs) if name.startswith(kind)]
        got, chosen = np.concatenate(maps, 1), np.concatenate(marked, 1)
        assert 0.2 < chosen.mean() < 0.8 and (chosen == chosen[..., :1]).all()
        np.testing.assert_array_equal(got[chosen].reshape(-1, columns), wanted)


def test_a_scores_range_ends_where_the_score_does(reference, records_dir):
    exporter.calibrate(reference, sorted(map(str, records_dir.glob("*val*"))), 6)
    low, high = reference.quantizable.ranges["class_head_0"].numpy()
    assert low == -12 and 20 < high <= 50


@pytest.mark.parametrize(("threshold", "least"), [(0.0, -6.0), (0.02, -5.39), (0.05, -4.44), (0.5, -4.0), (1.0, -4.0)])
def test_the_grid_of_scores_begins_a_little_below_the_files_threshold(threshold, least):
    text = BOXES_CONFIG.read_text().replace("score_threshold: 0.05", f"score_threshold: {threshold}")
    ranges = registry.build(pipeline_config.parse(text)).saturated()
    assert sorted(ranges) == [f"class_head_{level}" for level in range(4)]
    assert [low for low, _ in ranges.values()] == pytest.approx([least] * 4, abs=0.01)


def test_a_trained_range_does_not_cut_off_the_best_scores():
    """The average that training left ends at 2.3 and below, a score of .91."""
    reference = CheckpointDetector.from_checkpoint(pipeline_config.read(str(MAIN_CONFIG)), str(SHIPPED / "checkpoint"))
    ranges = {name: variable.numpy() for name, variable in reference.quantizable.ranges.items()}
    for level in range(4):
        np.testing.assert_allclose(ranges[f"class_head_{level}"], [-4.44, 4.44], atol=0.01)
        assert ranges[f"box_head_{level}"][0] != -ranges[f"box_head_{level}"][1]  # only scores' are laid


def test_the_command_writes_a_start_that_computes_the_same(records_dir, tmp_path):
    """Of a trained detector: more alike channels, a range for every activation, and int8 at once."""
    config = tmp_path / "narrow.config"
    config.write_text(config_text(records_dir, NARROW_CONFIG))
    shipped = ROOT / "exported_models" / NARROW_CONFIG.stem / "checkpoint"
    given = ["--pipeline_config_path", config, "--checkpoint", shipped, "--calibration_images", "8"]
    said = run("scripts/equalize_checkpoint.py", *given, "--output", tmp_path / "start")
    assert "layers give equalized, ranges of 8 pictures" in said
    recipe = pipeline_config.read(str(config))
    before, after = (CheckpointDetector.from_checkpoint(recipe, str(folder)) for folder in (shipped, tmp_path / "start"))
    assert after.quantize
    shown, _ = validation.sample(sorted(map(str, records_dir.glob("*val*"))), 1)
    picture = before.detector.input.normalize(tf.constant(before.detector.input.prepare(next(shown).image)[0][None], tf.float32))
    for name, head in before.quantizable.network(picture, training=False).items():
        np.testing.assert_allclose(after.quantizable.network(picture, training=False)[name], head, atol=0.02)

    def depthwise_input(detector):
        network = detector.quantizable.network
        values = tf.keras.Model(network.inputs, network.get_layer("Conv1_relu").output)(picture).numpy().max((0, 1, 2))
        return values[values > 0.01 * values.max()]

    assert np.std(np.log(depthwise_input(after))) < 0.8 * np.std(np.log(depthwise_input(before)))
    said = run("scripts/equalize_checkpoint.py", *given[:-1], "0", "--output", tmp_path / "no", code=2)
    assert "at least 1" in said and not (tmp_path / "no").exists()
