"""How the page looks on a desktop and on a phone, light and dark, with all that it shows: it fits and can be read."""

import json
import shutil

import landmark_file
import pytest
import web_page
from conftest import SHIPPED
from PIL import Image
from web_page import CHROMIUM, drive, needs_browser, serving

face = web_page.face  # fixture
LOOKS = [f"{width} {scheme}" for width in (1280, 390) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def looks(face, tmp_path_factory):
    """{width and scheme: what was seen}; a detector of landmarks, for which red squares are faces, beside one that ships."""
    work = tmp_path_factory.mktemp("look")
    shutil.copytree(SHIPPED, work / "models" / SHIPPED.name, ignore=shutil.ignore_patterns("checkpoint"))
    (work / "models" / "red").mkdir()
    (work / "models" / "red" / "red.tflite").write_bytes(landmark_file.make())
    shape = {"height": landmark_file.HEIGHT, "width": landmark_file.WIDTH}
    card = {"name": "red", "parameters": 1, "input": shape, "files": [{"file": "red.tflite", "kind": "landmarks", "bytes": 1}]}
    (work / "models" / "red" / "model_card.json").write_text(json.dumps(card))
    picture = face.copy()
    for row, column in ((2, 12), (8, 13)):
        picture[40 * row : 40 * (row + 1), 40 * column : 40 * (column + 1)] = 255, 0, 0  # a cell: 40 px of 640x480
    pictures = [work / f"{name}.png" for name in "abcdefgh"]  # more thumbnails than a phone is wide
    for path in pictures:
        Image.fromarray(picture).save(path)
    with serving("--models_dir", work / "models") as address:
        return drive("look.mjs", address, CHROMIUM, work, *pictures)


@needs_browser
@pytest.mark.parametrize("look", LOOKS)
def test_nothing_is_wider_than_the_screen(looks, look):
    width, told = look.split(" ")[0], looks[look]
    assert told["thumbnails"] == 8 and told["landmarks"][0] == [5] and told["landmarks"][1][:2] == [5, 5]  # all was there to be too wide
    assert told["width"] <= int(width)


@needs_browser
@pytest.mark.parametrize("look", LOOKS)
def test_text_stands_out(looks, look):
    """WCAG's 4.5:1: at the start, with pictures, after an error."""
    texts = looks[look]["texts"]
    hint, error = "Drop pictures here, open some, or start the camera.", "text.png is no picture that this browser can read."
    assert {hint, "Open pictures", "Save JSON", "Least score 0.50", error} < {text for text, _ in texts}
    assert [(text, ratio) for text, ratio in texts if ratio < 4.5] == []


@needs_browser
def test_the_page_is_dark_where_the_device_is(looks):
    grounds = {scheme: looks[f"1280 {scheme}"]["ground"] for scheme in ("light", "dark")}
    assert grounds == {"light": "rgb(246, 247, 249)", "dark": "rgb(17, 21, 24)"}
