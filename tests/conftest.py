"""What the tests share: a small sample in WIDER FACE's layout, its records, and pipeline configs that point at them."""

import os
import pathlib
import re
import subprocess
import sys

import hypothesis
import pytest

hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is no failure
hypothesis.settings.load_profile("any machine")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"  # real data, where a developer has it; every test has a twin that does without
CONFIGS = sorted((ROOT / "configs").glob("*.config"))
MAIN_CONFIG = ROOT / "configs" / "ssd_mobilenet_v2_quantized_224x224_widerface.config"
BOXES_CONFIG = MAIN_CONFIG.with_name("ssd_mobilenet_v2_boxes_quantized_224x224_widerface.config")
NARROW_CONFIG = MAIN_CONFIG.with_name("ssd_mobilenet_v2_narrow_quantized_224x224_widerface.config")
SHIPPED = ROOT / "exported_models" / MAIN_CONFIG.stem
sys.path.insert(0, str(ROOT))


def readme_picture(path: str, image) -> None:
    """Where FACEDET_PICTURES=1 asks for it, RGB uint8 [H, W, 3] becomes one of the README's pictures."""
    if os.environ.get("FACEDET_PICTURES") == "1":
        from PIL import Image

        Image.fromarray(image).save(ROOT / path, **({"quality": 85, "subsampling": 0} if path.endswith(".jpg") else {"optimize": True}))


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory) -> pathlib.Path:
    from facedet.data import sample

    return sample.make(str(tmp_path_factory.mktemp("sample")), num_train=24, num_val=12)


@pytest.fixture(scope="session")
def records_dir(sample_dir, tmp_path_factory) -> pathlib.Path:
    from facedet.data import conversion

    directory = tmp_path_factory.mktemp("records")
    landmarks = sample_dir / "landmarks" / "train_label.txt"
    conversion.convert(sample_dir, directory, landmarks_path=landmarks, options=conversion.Options(num_workers=1))
    return directory


def config_text(records_dir: pathlib.Path, path: pathlib.Path = BOXES_CONFIG, **train) -> str:
    """A config's text with its records in records_dir and other numbers in train_config or graph_rewriter."""
    text = path.read_text().replace("data/widerface/", f"{records_dir}/")
    for key, value in train.items():
        text, count = re.subn(rf"\b{key}: [^\s}}]+", f"{key}: {value}", text)
        assert count, key
    return text


@pytest.fixture
def quick_config(records_dir, tmp_path) -> pathlib.Path:
    """The boxes config cut down to 96x96 and eight steps of four pictures, quantized from the fourth on, random weights."""
    text = config_text(records_dir, batch_size=4, num_steps=8, total_steps=8, warmup_steps=2, delay=4)
    text = text.replace("height: 224 width: 224", "height: 96 width: 96").replace('  fine_tune_checkpoint: "imagenet"\n', "")
    path = tmp_path / "quick.config"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def exported(records_dir, tmp_path_factory) -> pathlib.Path:
    """All files of the shipped checkpoint, as the export command makes them."""
    directory = tmp_path_factory.mktemp("exported")
    config = directory / MAIN_CONFIG.name
    config.write_text(config_text(records_dir, MAIN_CONFIG))
    command = ["scripts/export_tflite.py", "--pipeline_config_path", config, "--checkpoint_dir", SHIPPED / "checkpoint"]
    run(*command, "--output_dir", directory / "files", "--parity_images", "12")
    return directory / "files"


def run(*command, code: int = 0, cwd: pathlib.Path = ROOT, **environment) -> str:
    """Runs a command of the project as a user does; returns what it printed. Any other exit code fails the test."""
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert result.returncode == code, f"{' '.join(map(str, command))} ended with {result.returncode}:\n{result.stdout[-4000:]}"
    return result.stdout
