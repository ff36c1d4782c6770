"""Latency, memory and size of any exported files, of whatever format, side by side in one run.

    facedet benchmark 224 224-fast
    facedet benchmark exported_models/*/*_int8.tflite exported_models/*/*_int8.onnx --threads 1 2 --output benchmark.json

The time is that of FaceDetector.detect on 320x240 pictures: resizing, network, suppression. The files take turns.
--peers_dir names a folder with a package `peers` whose adapters.make(name, size, least_score) gives other detectors.
"""

import argparse
import json
import os
import pathlib
import sys

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from facedet import DetectorError, FaceDetector
from facedet.runtime import benchmark, shipped
from facedet.runtime.input_spec import resize
from facedet.runtime.pictures import read_picture


class Peer:
    """Another detector: takes BGR. Raises DetectorError where there is none of that name, or what it needs is absent."""

    def __init__(self, peers_dir: str, name: str):
        if peers_dir not in sys.path:
            sys.path.insert(0, peers_dir)
        stem, _, size = name.partition("@")
        if not size:
            raise DetectorError(f"--peers {name} names no size: NAME@SIZE is expected, {name}@320 or {name}@native.")
        try:
            from peers.adapters import make

            self._detector = make(stem, int(size) if size.isdigit() else size, 0.3)
        except Exception as error:  # code of others: it fails in any way
            raise DetectorError(f"{peers_dir} makes no peer {name} ({type(error).__name__}: {error}).") from error
        self._detector.square = False  # 4:3 goes in as it is

    def detect(self, image):
        return self._detector.detect(np.ascontiguousarray(image[:, :, ::-1]))


def _shown(path: str, paths: list[str]) -> str:
    """The shortest of its names that no other file has; with its suffix where they are of several formats."""
    forms = (lambda file: pathlib.Path(file).stem, lambda file: pathlib.Path(file).name)
    forms = forms[len({pathlib.Path(file).suffix for file in paths}) > 1 :]
    return next((form(path) for form in forms if sum(form(other) == form(path) for other in paths) == 1), path)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="facedet benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("files", nargs="+", metavar="NAME|FILE", help=f"{', '.join(shipped.NAMES)} or a file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="of the runtime (default: 1)")
    parser.add_argument("--rounds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--images", nargs="+", metavar="PICTURE", help="default: one picture of noise")
    parser.add_argument("--peers_dir", metavar="DIR")
    parser.add_argument("--peers", nargs="+", default=["zineos_blaze320@320"], metavar="NAME@SIZE", help="default: %(default)s")
    parser.add_argument("--output", metavar="FILE", help="the same as JSON")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least 1 is needed")
    images = [np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)]
    rows = []
    try:
        if args.images:
            images = [resize(read_picture(path), 240, 320) for path in args.images]
        detectors, facts = {}, {}
        files = [str(shipped.find(given) or given) for given in args.files]
        for threads in args.threads:
            for path in files:
                shown = _shown(path, files)
                name = f"{shown}, {threads} thread{'s' * (threads > 1)}"
                detectors[name] = FaceDetector(path, num_threads=threads)
                facts[name] = {"file": path, "threads": threads, "bytes": benchmark.size_bytes(path)}
                facts[name]["memory_bytes"] = benchmark.memory_bytes(path, threads)
        for name in args.peers if args.peers_dir else []:
            detectors[name], facts[name] = Peer(args.peers_dir, name), {}
    except DetectorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with tqdm(total=args.rounds + 1, desc="rounds") as bar:
        times = benchmark.latency(detectors, images, args.rounds, bar.update)
    reference = times[args.peers[0]]["cpu_ms_p50"] if args.peers_dir else next(iter(times.values()))["cpu_ms_p50"]
    for name, measured in times.items():
        rows.append({"name": name, **measured, "cpu_ratio": measured["cpu_ms_p50"] / reference, **facts[name]})
    table = [
        [r["name"], *(f"{r[key]:.2f}" for key in ("wall_ms_p50", "wall_ms_p95", "cpu_ms_p50", "cpu_ratio")),
         f"{r['memory_bytes'] / 1e6:.1f}" if "memory_bytes" in r else "", f"{r['bytes'] / 1e6:.2f}" if "bytes" in r else ""]
        for r in rows
    ]  # fmt: skip
    against = args.peers[0] if args.peers_dir else "the first"
    heading = ["", "p50 ms", "p95 ms", "CPU ms p50", f"CPU, to {against}", "memory MB", "file MB"]
    print(tabulate(table, heading, "github", disable_numparse=True))
    print(f"\nOn {benchmark.processor()}, {args.rounds} rounds of {len(images)} pictures in turns.")
    if args.output:
        machine = {"processor": benchmark.processor(), "cores": os.cpu_count(), "rounds": args.rounds}
        pathlib.Path(args.output).write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
