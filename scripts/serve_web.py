#!/usr/bin/env python3
"""Serves the page of web/ with the detectors of exported_models/: `make web`, then http://127.0.0.1:8000.

Nothing is uploaded: the browser fetches page, runtime and detector, and computes by itself.
"""

import argparse
import contextlib
import functools
import http.server
import json
import pathlib
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
LITERT = ROOT / "web" / "node_modules" / "@litertjs"
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".tflite": "application/octet-stream"}


def detectors(models_dir: pathlib.Path) -> list[dict]:
    """What the page offers: every .tflite beside a model card, the int8 files with NMS first, of those the larger network."""
    found = []
    for path in sorted(models_dir.glob("*/model_card.json")):
        card = json.loads(path.read_text())
        for file in card["files"]:
            if (path.parent / file["file"]).is_file():
                kind, size = file["kind"].replace("_", " "), f"{card['input']['width']}x{card['input']['height']}"
                label = f"{kind}, {size}, {file['bytes'] / 1e6:.1f} MB, {card['name']}"  # a phone shows its beginning
                url = f"models/{path.parent.name}/{file['file']}"
                keys = ("iou_threshold", "max_detections", "score_threshold", "parameters")
                found.append({"label": label, "url": url, "kind": file["kind"], **{key: card[key] for key in keys}})
    return sorted(found, key=lambda entry: (entry["kind"] != "int8", -entry["parameters"]))


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args, models_dir: pathlib.Path, **kwargs):
        self.models_dir = models_dir
        super().__init__(*args, directory=str(ROOT / "web"), **kwargs)

    def do_GET(self):
        if urllib.parse.urlsplit(self.path).path == "/detectors.json":
            body = json.dumps(detectors(self.models_dir)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            super().do_GET()

    def translate_path(self, path):
        first, _, rest = urllib.parse.urlsplit(path).path.lstrip("/").partition("/")
        folder = {"models": self.models_dir, "litertjs": LITERT}.get(first)
        if folder is None:
            return super().translate_path(path)
        wanted = (folder / urllib.parse.unquote(rest)).resolve()
        return str(wanted) if wanted.is_relative_to(folder.resolve()) else str(folder / "nothing")

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
        handler = functools.partial(Handler, models_dir=pathlib.Path(args.models_dir))
        server = http.server.ThreadingHTTPServer((args.host, args.port), handler)
    except OSError as error:
        print(f"error: {args.host}:{args.port}: {error.strerror}. Choose another --port.", file=sys.stderr)
        return 1
    print(f"http://{args.host}:{server.server_port}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
