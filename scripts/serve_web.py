#!/usr/bin/env python3
"""Serves the page of web/ with the detectors of exported_models/: `make web`, then http://127.0.0.1:8000.

Nothing is uploaded: the browser fetches page, runtime and detector, and computes by itself. `make web HTTPS=1` serves it to the phones in
the room, too, for a browser gives its camera to https and localhost only.
"""

import argparse
import collections
import contextlib
import functools
import http.server
import io
import ipaddress
import json
import math
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
LITERT = ROOT / "web" / "node_modules" / "@litertjs"
CERTIFICATES = ROOT / "web" / ".certificate"
TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".tflite": "application/octet-stream",
    ".webmanifest": "application/manifest+json",
}
COMMON_WORDS = {"ssd", "mobilenet", "v2", "quantized", "narrow", "widerface"}  # of a detector's name; they tell none from another
GROUPS = {(True, True): "For every device", (False, False): "For the GPU"}  # of (whether int8, whether it suppresses by itself)


def detectors(models_dir: pathlib.Path) -> list[dict]:
    """What the page offers: every .tflite beside a model card, the int8 files with NMS first, of those the larger network.

    Each {label: short and unlike any other, title: in full, group, url, kind, parameters}. A card that cannot be read is named on stderr and
    left out.
    """
    found = []
    for path in sorted(models_dir.glob("*/model_card.json")):
        try:
            found += _of_card(path)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            print(f"warning: {path} is left out: {error!r}", file=sys.stderr, flush=True)
    order = [*GROUPS.values(), "Others"]
    found.sort(key=lambda entry: (order.index(entry["group"]), -entry["parameters"]))
    times = collections.Counter(entry["label"] for entry in found)
    for entry in found:
        if times[entry["label"]] > 1:
            entry["label"] += f" ({urllib.parse.unquote(entry['url']).split('/')[1]})"
    return found


def _of_card(path: pathlib.Path) -> list[dict]:
    card, found = json.loads(path.read_bytes(), parse_constant=_refuse), []
    parameters = float(card["parameters"])
    if not math.isfinite(parameters):
        raise ValueError(f"parameters: {parameters}")
    for file in card["files"]:
        name = pathlib.PurePosixPath(file["file"])
        if name.suffix == ".tflite" and len(name.parts) == 1 and (path.parent / name).is_file():
            label, group = _names(card["name"], card["input"]["height"], card["input"]["width"], file["kind"])
            title = f"{card['name']}, {file['kind'].replace('_', ' ')}, {card['input']['width']}x{card['input']['height']}, {file['bytes'] / 1e6:.1f} MB"
            url = urllib.parse.quote(f"models/{path.parent.name}/{name}")
            found.append({"label": label, "title": title, "group": group, "url": url, "kind": file["kind"], "parameters": parameters})
    return found


def _names(name: str, height: int, width: int, kind: str) -> tuple[str, str]:
    """Short name and group of a file: the input's size, "fast" for a narrow network, what else its name says, precision if it is not int8.

    ssd_mobilenet_v2_narrow_quantized_224x224_widerface, float16_raw -> "224 fast float16 raw", "For the GPU".
    """
    size, (precision, *form) = f"{width}x{height}", kind.split("_")
    words = name.split("_")
    own = [word for word in words if word not in COMMON_WORDS | {size}]
    shown = [str(width) if width == height else size, *["fast"] * ("narrow" in words), *own, *[precision] * (precision != "int8"), *form]
    return " ".join(shown), GROUPS.get((precision == "int8", "raw" not in form), "Others") if form in ([], ["raw"]) else "Others"


def _refuse(constant: str):
    raise ValueError(f"{constant} is no JSON")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of web/, of LiteRT and of the exports, no list of any folder; to nobody who calls it by another name."""

    timeout = 30  # seconds to wait for a client

    def __init__(self, *args, models_dir: pathlib.Path, names: set[str], **kwargs):
        self.models_dir, self.names = models_dir, names
        super().__init__(*args, directory=str(ROOT / "web"), **kwargs)

    def handle(self):
        with contextlib.suppress(ConnectionError, TimeoutError, ssl.SSLError):  # a client that left, or does not trust the certificate
            super().handle()

    def send_head(self):
        """What GET and HEAD answer, headers sent; None after an error."""
        if not self._called_by_its_name():
            self.send_error(http.HTTPStatus.MISDIRECTED_REQUEST, explain=f"Served as {', '.join(sorted(self.names))} only.")
        elif self._path() == "/detectors.json":
            body = json.dumps(detectors(self.models_dir)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return io.BytesIO(body)
        elif not os.path.isfile(self.translate_path(self.path)):
            self.send_error(http.HTTPStatus.NOT_FOUND)
        else:
            return super().send_head()
        return None

    def _called_by_its_name(self) -> bool:
        """A page of another site whose name was pointed at this machine (DNS rebinding) sends that name."""
        name = re.sub(r":\d*$", "", self.headers.get("Host", "")).strip("[]").lower()
        if not self.names & {"0.0.0.0", "::", ""}:
            return name in self.names
        with contextlib.suppress(ValueError):  # served on every address: a number cannot be pointed elsewhere
            ipaddress.ip_address(name)
            return True
        return name in {*self.names, socket.gethostname().lower()}

    def _path(self) -> str:
        return urllib.parse.unquote(re.split("[?#]", self.path, maxsplit=1)[0])

    def translate_path(self, path):
        first, _, rest = self._path().lstrip("/").partition("/")
        folder = {"models": self.models_dir, "litertjs": LITERT}.get(first)
        if folder is None:
            folder, rest = ROOT / "web", self._path().lstrip("/") or "index.html"
        try:
            wanted = (folder / rest).resolve()
            if wanted.is_relative_to(folder.resolve()) and not rest.endswith("/"):
                return str(wanted)
        except (OSError, ValueError, RuntimeError):  # a NUL byte, too long a name, a ring of links
            pass
        return os.devnull  # no regular file

    def end_headers(self):
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def guess_type(self, path):
        return TYPES.get(pathlib.Path(path).suffix) or super().guess_type(path)

    def log_message(self, *args):
        pass


def lan_address() -> str:
    """This machine's own in the room; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
            return asked.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def certificate(address: str, folder: pathlib.Path) -> pathlib.Path:
    """A self-made certificate with its key in one file, for address and localhost; kept, so that a device accepts it once.

    Raises RuntimeError where openssl is missing or fails.
    """
    path = folder / f"{address.replace(':', '_')}.pem"
    if not shutil.which("openssl"):
        raise RuntimeError("openssl was not found: install it (apt-get install openssl), or name a --certificate of your own.")
    if (
        path.is_file()
        and subprocess.run(["openssl", "x509", "-checkend", "86400", "-noout", "-in", path], capture_output=True).returncode == 0
    ):
        return path
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    path.touch(mode=0o600)
    names = f"subjectAltName=IP:{address},IP:127.0.0.1,DNS:localhost"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "397",
        "-subj",
        "/CN=facedet",
    ]
    said = subprocess.run([*command, "-addext", names, "-keyout", path, "-out", "-"], capture_output=True, text=True)
    if said.returncode:
        path.unlink()
        raise RuntimeError(f"openssl made no certificate: {said.stderr.strip().splitlines()[-1]}")
    with path.open("a") as file:
        file.write(said.stdout)
    return path


def serve_https(server: http.server.ThreadingHTTPServer, pem: pathlib.Path) -> None:
    """From now on. Hands are shaken by a client's own thread: one that is silent keeps nobody waiting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1; with --https the one in the local network)")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (default: %(default)s)")
    parser.add_argument("--models_dir", default=str(ROOT / "exported_models"))
    parser.add_argument("--https", action="store_true", help="with a self-made certificate, so that phones in the room get their camera")
    parser.add_argument("--certificate", help="one of your own, PEM with the key in it; implies --https")
    args = parser.parse_args(argv)
    secure = args.https or args.certificate is not None
    host = args.host or (lan_address() if secure else "127.0.0.1")
    if not LITERT.is_dir():
        print("error: web/node_modules is missing: make web installs it (npm ci, in web/).", file=sys.stderr)
        return 1
    try:
        names = {host.lower(), "localhost", "127.0.0.1", "::1"}
        handler = functools.partial(Handler, models_dir=pathlib.Path(args.models_dir), names=names)
        server = http.server.ThreadingHTTPServer((host, args.port), handler)
    except (OSError, OverflowError) as error:
        print(f"error: {host}:{args.port}: {getattr(error, 'strerror', error)}. Choose another --port.", file=sys.stderr)
        return 1
    if secure:
        try:
            serve_https(server, pathlib.Path(args.certificate) if args.certificate else certificate(lan_address(), CERTIFICATES))
        except (OSError, RuntimeError) as error:  # ssl's errors are OSErrors
            print(f"error: {f'{args.certificate}: ' if args.certificate else ''}{error}", file=sys.stderr)
            return 1
    shown = lan_address() if secure and host in ("0.0.0.0", "::") else host
    print(f"http{'s' * secure}://{shown}:{server.server_port}", flush=True)
    if secure and not args.certificate:
        print("Open it on a phone in the same network. The browser warns of the certificate, which this machine made itself: choose")
        print("Advanced > Proceed (Chrome), Show Details > visit this website (Safari), then allow the camera.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
