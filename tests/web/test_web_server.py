"""What scripts/serve_web.py gives to whom, without a browser."""

import functools
import http.client
import http.server
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import threading

import pytest
from conftest import ROOT, SHIPPED
from web_page import install, needs_browser


@needs_browser
def test_https_with_a_self_made_certificate(tmp_path):
    """A client that trusts it gets the page, and one that does not, or is silent, keeps nobody waiting."""
    import ssl

    install()
    process = subprocess.Popen(
        [sys.executable, "scripts/serve_web.py", "--port", "0", "--https", "--host", "127.0.0.1"], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    address = process.stdout.readline().strip()
    assert address.startswith("https://127.0.0.1:") and "same network" in process.stdout.readline()
    port = int(address.rsplit(":", 1)[1])
    pem = ROOT / "web" / ".certificate" / f"{load_server().lan_address()}.pem"
    assert pem.stat().st_mode & 0o077 == 0
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        with pytest.raises(ssl.SSLCertVerificationError):
            http.client.HTTPSConnection("127.0.0.1", port, timeout=10).request("GET", "/")
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=ssl.create_default_context(cafile=str(pem)))
        connection.request("GET", "/manifest.webmanifest")
        answer = connection.getresponse()
        manifest = json.loads(answer.read())
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/manifest+json"
    assert all((ROOT / "web" / icon["src"]).is_file() for icon in manifest["icons"])
    process.terminate()
    _, said = process.communicate()
    assert said == ""


def load_server():
    spec = importlib.util.spec_from_file_location("serve_web", ROOT / "scripts" / "serve_web.py")
    serve_web = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve_web)
    return serve_web


@pytest.fixture(scope="module")
def bare_server(tmp_path_factory):
    """Without a browser, on cards of which all but one are broken, with a shorter timeout; its port."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(SHIPPED, models / SHIPPED.name, ignore=shutil.ignore_patterns("checkpoint"))
    good = json.loads((SHIPPED / "model_card.json").read_text())
    outside = [{**good["files"][0], "file": "../" + SHIPPED.name + "/" + good["files"][0]["file"]}]
    broken = ["", "[]", "{}", "null", '{"files": 3}', "[" * 9999, json.dumps({**good, "parameters": float("nan")}),
              json.dumps({**good, "parameters": "many"}), json.dumps({**good, "parameters": 7e77}).replace("7e+77", "1e999"), json.dumps({**good, "files": outside}), "\xff"]  # fmt: skip
    for i, text in enumerate(broken):
        (models / f"broken{i}").mkdir()
        (models / f"broken{i}" / "model_card.json").write_bytes(text.encode("latin-1"))
    serve_web = load_server()
    handler = type("Quick", (serve_web.Handler,), {"timeout": serve_web.Handler.timeout and 1})
    handler = functools.partial(handler, models_dir=models, names={"localhost", "127.0.0.1"})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port, path, method="GET", **headers) -> tuple[int, bytes, http.client.HTTPMessage]:
    """One request as it stands, no path tidied; ends with an exception where the server hangs up."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, "/", skip_host="Host" in headers)
    connection._buffer[0] = f"{method} {path} HTTP/1.1".encode("latin-1")  # putrequest refuses the odd ones
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_a_broken_card_leaves_the_others(bare_server):
    status, body, _ = ask(bare_server, "/detectors.json")
    assert status == 200 and len(json.loads(body)) == len(list(SHIPPED.glob("*.tflite")))
    for entry in json.loads(body):
        assert ask(bare_server, "/" + entry["url"], "HEAD")[0] == 200


def test_short_names_tell_the_files_apart(tmp_path):
    """Size, width, what else a name says, precision; of two cards that say the same, the folder."""
    serve_web = load_server()
    for folder, name in (("a", "ssd_mobilenet_v2_quantized_224x224_widerface"), ("b", "ssd_mobilenet_v2_quantized_224x224_widerface"),
                         ("c", "ssd_mobilenet_v2_narrow_quantized_224x224_widerface"), ("d", "blazeface_320x240_widerface")):  # fmt: skip
        (tmp_path / folder).mkdir()
        width, height = (320, 240) if folder == "d" else (224, 224)
        files = [{"file": f"{kind}.tflite", "kind": kind, "bytes": 1} for kind in ("int8", "float16_raw")]
        for file in files:
            (tmp_path / folder / file["file"]).touch()
        card = {
            "name": name,
            "parameters": 1,
            "input": {"height": height, "width": width},
            "files": files + [{"file": "x.onnx", "kind": "int8", "bytes": 1}],
        }
        (tmp_path / folder / "x.onnx").touch()
        (tmp_path / folder / "model_card.json").write_text(json.dumps(card))
    labels = [entry["label"] for entry in serve_web.detectors(tmp_path)]
    assert {"224 fast", "224 fast float16 raw", "320x240 blazeface", "320x240 blazeface float16 raw"} < set(labels)
    assert len(labels) == len(set(labels)) == 8


@pytest.mark.parametrize(
    "path",
    ["/%00", "/models/%00", "/models/", "/models", f"/models/{SHIPPED.name}", f"/models/{SHIPPED.name}/", "/test", "/test/", "//[x", "/%ff%fe",
     "/models/../README.md", "/models/%2e%2e/README.md", "/litertjs/..%2f..%2fpackage.json", "/../README.md", "/%2e%2e/scripts/serve_web.py",
     "/models//etc/passwd", "/" + "a" * 5000, "/" + "%2e%2e/" * 500 + "etc/passwd", "/index.html/", "/models/%5b%00%5d?x#y"],
)  # fmt: skip
def test_odd_paths_and_folders_are_not_found(bare_server, path):
    assert ask(bare_server, path)[0] == 404


def test_head_is_get_without_the_body(bare_server):
    for path in ("/", "/index.html", "/detectors.json"):
        status, body, headers = ask(bare_server, path)
        assert (status, len(body)) == (200, int(headers["Content-Length"]))
        status, body, own = ask(bare_server, path, "HEAD")
        assert (status, body, own["Content-Length"], own["Content-Type"]) == (200, b"", headers["Content-Length"], headers["Content-Type"])


def test_only_its_own_name_is_answered(bare_server):
    assert ask(bare_server, "/", Host="localhost:1234")[0] == ask(bare_server, "/", Host="127.0.0.1")[0] == 200
    for host in ("evil.example", f"evil.example:{bare_server}", "localhost.evil.example", ""):
        assert ask(bare_server, "/detectors.json", Host=host)[0] == 421, host


def test_a_client_that_says_nothing_is_left(bare_server):
    with socket.create_connection(("127.0.0.1", bare_server), timeout=10) as silent:
        silent.sendall(b"GET / HT")
        assert silent.recv(1) == b""
