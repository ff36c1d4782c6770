"""`facedet benchmark` beside other detectors: a package `peers` of somebody else's."""

import json

import pytest
from conftest import SHIPPED, run

PEERS = '''
import time

class Slow:
    """Fails unless it gets BGR as it is; takes a millisecond of processor time for each of its size."""

    def __init__(self, size):
        self.size = size

    def detect(self, image):
        assert image.shape == (240, 320, 3) and image.flags.c_contiguous and not self.square
        assert (image == (0, 0, 200)).all(), "not BGR"
        end = time.process_time() + self.size / 1000
        while time.process_time() < end:
            pass

def make(name, size, least_score):
    return {"slow": Slow}[name](size)
'''


@pytest.fixture(scope="module")
def peers_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("others")
    (folder / "peers").mkdir()
    (folder / "peers" / "__init__.py").touch()
    (folder / "peers" / "adapters.py").write_text(PEERS)
    return folder


def test_times_are_relative_to_the_first_peer(peers_dir, tmp_path):
    from PIL import Image

    Image.new("RGB", (320, 240), (200, 0, 0)).save(tmp_path / "red.png")
    command = ["scripts/benchmark.py", "224-fast", "--rounds", "2", "--images", tmp_path / "red.png", "--output", tmp_path / "told.json"]
    said = run(*command, "--peers_dir", peers_dir, "--peers", "slow@40", "slow@80")
    rows = {row["name"]: row for row in json.loads((tmp_path / "told.json").read_text())["rows"]}
    assert list(rows)[1:] == ["slow@40", "slow@80"] and "CPU, to slow@40" in said
    assert rows["slow@40"]["cpu_ratio"] == 1 and 1.6 < rows["slow@80"]["cpu_ratio"] < 2.4


@pytest.mark.parametrize("peer, said", [
    ("quick@40", "{dir} makes no peer quick@40 (KeyError: 'quick')."), ("slow", "--peers slow names no size: NAME@SIZE is expected")
])  # fmt: skip
def test_a_peer_that_is_none_is_a_sentence(peers_dir, peer, said):
    (int8,) = SHIPPED.glob("*_int8.tflite")
    told = run("scripts/benchmark.py", int8, "--rounds", "1", "--peers_dir", peers_dir, "--peers", "slow@1", peer, code=1)
    assert told.splitlines()[-1].startswith("error: " + said.format(dir=peers_dir))


def test_a_folder_without_peers_is_a_sentence(tmp_path):
    told = run("scripts/benchmark.py", "224-fast", "--rounds", "1", "--peers_dir", tmp_path, code=1)
    assert told.splitlines()[-1].startswith(f"error: {tmp_path} makes no peer zineos_blaze320@320 (ModuleNotFoundError")
