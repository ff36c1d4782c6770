"""scripts/adapt_config.py at another input size: what it writes is that recipe, with anchors of the same pixels, and a detector."""

import importlib.util

import numpy as np
import pytest
from conftest import BOXES_CONFIG, MAIN_CONFIG, NARROW_CONFIG, ROOT

from facedet.detectors import registry
from facedet.recipe import pipeline_config


def adapted(output, *arguments, config=BOXES_CONFIG) -> int:
    spec = importlib.util.spec_from_file_location("adapt_config", ROOT / "scripts" / "adapt_config.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(["--pipeline_config_path", str(config), "--output", str(output), *arguments])


def test_anchors_keep_their_pixels_at_another_size(tmp_path, capsys):
    output = tmp_path / "wide.config"
    assert adapted(output, "--height", "96", "--width", "128") == 0
    assert "96x128" in capsys.readouterr().out
    assert output.read_text().startswith("# ")
    detector = registry.build(pipeline_config.read(str(output)))
    assert detector.network.input_shape[1:3] == (96, 128)
    own = pipeline_config.message(str(BOXES_CONFIG)).model.ssd.anchor_generator.flexible_grid_anchor_generator.anchor_grid
    wanted = {(round(size / 0.6667**0.5, 1), round(size * 0.6667**0.5, 1)) for grid in own for size in grid.base_sizes}
    found = detector.anchors_yxhw[:, 2:] * (96, 128)
    assert {tuple(np.round(sides, 1).tolist()) for sides in found} == wanted
    assert len(found) == 3 * 24 * 32 + 2 * 12 * 16 + 2 * 6 * 8 + 4 * 3 * 4


def test_at_another_size_there_is_no_teacher(tmp_path, capsys):
    """One of the config's size would be refused when the training starts."""
    output = tmp_path / "small.config"
    assert adapted(output, "--height", "224", "--num_steps", "10", config=NARROW_CONFIG) == 0
    assert pipeline_config.read(str(output)).training.teacher and "teacher" not in capsys.readouterr().out
    assert adapted(output, "--height", "96", "--width", "96", config=NARROW_CONFIG) == 0
    assert not pipeline_config.read(str(output)).training.teacher and "Without the config's teacher" in capsys.readouterr().out


def test_a_piece_of_config_goes_over_the_rest(tmp_path):
    output = tmp_path / "points.config"
    pieces = (
        'train_config { update_trainable_variables: "^points_" } [facedet.training] { landmark_weight: 3 }',
        "graph_rewriter { quantization { delay: 7 } }",
    )
    assert adapted(output, "--num_steps", "40", *(part for piece in pieces for part in ("--merge", piece)), config=MAIN_CONFIG) == 0
    before, merged = pipeline_config.read(str(MAIN_CONFIG)), pipeline_config.read(str(output))
    assert merged.training.updated == ("^points_",) and merged.training.frozen == before.training.frozen
    assert merged.matching == before.matching and pipeline_config.message(str(output)).graph_rewriter.quantization.delay == 7
    assert merged.loss.landmark_weight == 3 != before.loss.landmark_weight and merged.training.num_steps == 40


@pytest.mark.parametrize(
    ("piece", "named"),
    [
        ("train_config { updated: 1 }", '"updated"'),
        ("train_config {", "--merge 'train_config {'"),
        ("[facedet.training] { landmark_weight: -1 }", "landmark_weight: -1"),
    ],
)
def test_a_piece_that_is_no_config_is_refused_by_name(piece, named, tmp_path, capsys):
    assert adapted(tmp_path / "never.config", "--merge", piece, config=MAIN_CONFIG) == 1
    assert named in capsys.readouterr().err and not (tmp_path / "never.config").exists()


@pytest.mark.parametrize(("arguments", "named"), [(["--height", "0"], "height: 0"), (["--width", "5000"], "width: 5000")])
def test_a_size_that_cannot_be_is_refused_by_name(arguments, named, tmp_path, capsys):
    assert adapted(tmp_path / "never.config", *arguments) == 1
    assert named in capsys.readouterr().err and not (tmp_path / "never.config").exists()
