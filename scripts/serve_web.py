#!/usr/bin/env python3
"""Serves the page of web/ with the detectors of exported_models/: `make web`, then http://127.0.0.1:8000.

Nothing is uploaded: the browser fetches page, runtime and detector, and computes by itself.
"""

import argparse
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
import socket
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
LITERT = ROOT / "web" / "node_modules" / "@litertjs"
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".tflite": "application/octet-stream"}


def detectors(models_dir: pathlib.Path) -> list[dict]:
    """What the page offers: every .tflite beside a model card, the int8 files with NMS first, of those the larger network.

    A card that cannot be read is named on stderr and left out.
    """
    found = []
    for path in sorted(models_dir.glob("*/model_card.json")):
        try:
            found += _of_card(path)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            print(f"warning: {path} is left out: {error!r}", file=sys.stderr, flush=True)
    return sorted(found, key=lambda entry: (entry["kind"] != "int8", -entry["parameters"]))


def _of_card(path: pathlib.Path) -> list[dict]:
    card, found = json.loads(path.read_bytes(), parse_constant=_refuse), []
    parameters = float(card["parameters"])
    if not math.isfinite(parameters):
        raise ValueError(f"parameters: {parameters}")
    for file in card["files"]:
        name = pathlib.PurePosixPath(file["file"])
        if len(name.parts) == 1 and (path.parent / name).is_file():
            kind, size = file["kind"].replace("_", " "), f"{card['input']['width']}x{card['input']['height']}"
            label = f"{kind}, {size}, {file['bytes'] / 1e6:.1f} MB, {card['name']}"  # a phone shows its beginning
            url = urllib.parse.quote(f"models/{path.parent.name}/{name}")
            found.append({"label": label, "url": url, "kind": file["kind"], "parameters": parameters})
    return found


def _refuse(constant: str):
    raise ValueError(f"{constant} is no JSON")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of web/, of LiteRT and of the exports, no list of any folder; to nobody who calls it by another name."""

    timeout = 30  # seconds to wait for a client

    def __init__(self, *args, models_dir: pathlib.Path, names: set[str], **kwargs):
        self.models_dir, self.names = models_dir, names
        super().__init__(*args, directory=str(ROOT / "web"), **kwargs)

    def handle(self):
        with contextlib.suppress(ConnectionError, TimeoutError):  # a client that left
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


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1", help="browsers give the camera to localhost and https only (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (default: %(default)s)")
    parser.add_argument("--models_dir", default=str(ROOT / "exported_models"))
    args = parser.parse_args(argv)
    if not LITERT.is_dir():
        print("error: web/node_modules is missing: make web installs it (npm ci, in web/).", file=sys.stderr)
        return 1
    try:
        names = {args.host.lower(), "localhost", "127.0.0.1", "::1"}
        handler = functools.partial(Handler, models_dir=pathlib.Path(args.models_dir), names=names)
        server = http.server.ThreadingHTTPServer((args.host, args.port), handler)
    except (OSError, OverflowError) as error:
        print(f"error: {args.host}:{args.port}: {getattr(error, 'strerror', error)}. Choose another --port.", file=sys.stderr)
        return 1
    print(f"http://{args.host}:{server.server_port}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
