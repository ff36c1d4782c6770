"""What a phone wants of the page: it can be installed, and has its camera at the address that `make web HTTPS=1` tells."""

import ipaddress
import json
import pathlib
import urllib.parse

import pytest
import web_page
from conftest import ROOT
from PIL import Image
from web_page import CHROMIUM, drive, needs_browser, serving

face, server = web_page.face, web_page.server  # fixtures


@pytest.fixture
def film(face, tmp_path):
    web_page.write_film(face, tmp_path / "camera.y4m")
    return tmp_path / "camera.y4m"


@needs_browser
def test_the_page_can_be_installed(server, film):
    assert drive("phone.mjs", server, CHROMIUM, film)["installabilityErrors"] == []
    icons = json.loads((ROOT / "web" / "manifest.webmanifest").read_text())["icons"]
    sizes = {icon["sizes"]: Image.open(ROOT / "web" / icon["src"]).size for icon in icons if icon["type"] == "image/png"}
    assert sizes == {"512x512": (512, 512)}


@needs_browser
def test_a_phone_in_the_room_gets_its_camera(film):
    with serving("--https") as address:
        alone = ipaddress.ip_address(urllib.parse.urlsplit(address).hostname).is_loopback
        seen = drive("phone.mjs", address, CHROMIUM, film)
    assert seen["secure"] and seen["status"] == "1 face"
    routes = [line.split()[1] for line in pathlib.Path("/proc/net/route").read_text().splitlines()[1:]]
    assert alone == ("00000000" not in routes)  # a machine in no network has no other address
