"""From labels of one's own to found faces, by the commands of the page that says how."""

import json
import re
import shlex

import pytest
from conftest import ROOT, run

PAGE, HEADING = ROOT / "dataset_tools" / "README.md", "## 50 pictures of your own"
# What makes it small. The parity of a network that has learned for six steps says nothing about an export: few pictures are enough.
SMALL = {
    "adapt_config.py": ["--num_steps", "6", "--batch_size", "4"],
    "import_dataset.py": ["--num_workers", "1"],
    "export_tflite.py": ["--parity_images", "4"],
}


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    """The page's, in order, as words."""
    text = PAGE.read_text()
    block = re.search(r"```sh\n(.*?)```", text[text.index(HEADING) :], re.DOTALL)[1]
    lines = block.strip().splitlines()
    name = lines[0].removeprefix("NAME=")
    return [shlex.split(line.replace("${NAME}", name).replace("$NAME", name)) for line in lines[1:]]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder to work in, as the project's: mine/ with 24 labelled pictures, two of them without a face, and the shipped detectors."""
    from facedet.data import sample, widerface

    directory = tmp_path_factory.mktemp("own")
    source = widerface.WiderFace(sample.make(str(directory / "sample"), num_train=24, num_val=1), "train")
    for folder in ("images", "labels"):
        (directory / "mine" / folder).mkdir(parents=True)
    from PIL import Image

    for entry in source.annotation():
        image, stem = entry.parse(), entry.name.split("/")[1].removesuffix(".jpg")
        with Image.open(source.images_dir / entry.name) as picture:
            width, height = picture.size
            picture.resize((width // 3, height // 3)).save(directory / "mine" / "images" / f"{stem}.png")
        lines = [f"0 {(x + w / 2) / width} {(y + h / 2) / height} {w / width} {h / height}" for x, y, w, h in image.boxes_xywh_px]
        (directory / "mine" / "labels" / f"{stem}.txt").write_text("\n".join(lines))
    for folder in ("exported_models", "label_maps"):
        (directory / folder).mkdir()
        for path in (ROOT / folder).iterdir():
            (directory / folder / path.name).symlink_to(path)
    (directory / "configs").mkdir()
    for path in (ROOT / "configs").glob("ssd_*224*.config"):  # the narrow one, and its teacher
        text = path.read_text()
        small = text.replace("height: 224 width: 224", "height: 96 width: 96")
        assert small != text
        (directory / "configs" / path.name).write_text(small)
    return directory


def test_own_labels_become_a_detector_that_finds_faces(commands, work):
    said = {}
    for command in commands:
        assert command[0] == "python"
        name = command[1].split("/")[1]
        said[name] = run(ROOT / command[1], *command[2:], *SMALL.get(name, []), cwd=work)
    assert list(said) == ["import_dataset.py", "adapt_config.py", "model_main.py", "export_tflite.py", "evaluate.py", "detect.py"]
    assert "holdout: 5 pictures" in said["import_dataset.py"] and "written_without_face" in said["import_dataset.py"]
    assert re.search(r"\b(\d+) of \1 weights fit", said["model_main.py"]) and "step 4: fake quantization is on" in said["model_main.py"]
    shipped, mine = re.findall(r"All faces\s*\| ([\d.]+)", said["evaluate.py"])
    assert float(shipped) > 0.2 and float(mine) > 0.2  # nothing is forgotten in six steps
    found = [json.loads(path.read_text()) for path in (work / "found").glob("*.json")]
    assert len(found) == 24 and sum(len(each["scores"]) for each in found) >= 5
