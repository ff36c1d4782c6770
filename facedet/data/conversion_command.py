"""What the commands that convert a data set share: the flags of shard.Options, and the balance that they print."""

import argparse
import dataclasses
import pathlib

from tabulate import tabulate

from facedet.data import records
from facedet.data.shard import Options

_HELP = {
    "min_face_px": "faces whose longer side is below, in pixels of the picture, are written as ignored",
    "max_faces_per_image": "faces of a picture to learn: the smallest past so many are written as ignored; max_number_of_boxes has to hold them too",
    "holdout_percent": "so much of each event's train pictures goes to another split, holdout, for tuning",
    "seed": "of the order of the pictures and of the held-out part",
    "allow_missing_images": "go on where listed pictures are missing; they are counted",
    "verify_images": "decode every picture in full, not only its headers and its end",
    "strict": "stop at the first bad picture or row",
    "num_workers": "processes; 0 is one a core",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """A flag for each of shard.Options."""
    for field in dataclasses.fields(Options):
        flag, default = f"--{field.name}", field.default
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true", help=_HELP[field.name])
        else:
            parser.add_argument(flag, type=type(default), default=default, help=f"{_HELP[field.name]} (default: %(default)s)")


def options(args: argparse.Namespace) -> Options:
    return Options(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Options)})


def report(manifest: dict, output_dir: str) -> None:
    """Prints what became of pictures and faces, split by split."""
    for name, split in manifest["splits"].items():
        print(f"\n{name}: {sum(split['images'].values()):,} pictures, {split['faces']['stated']:,} faces, {len(split['shards'])} shards")
        print(tabulate(_balance_rows(split), headers=["", "reason", "faces"], intfmt=","))
        print(tabulate(sorted(split["images"].items()), headers=["pictures", ""], intfmt=","))
    print(f"\nManifest: {pathlib.Path(output_dir) / records.MANIFEST}")


def _balance_rows(split: dict) -> list[tuple]:
    """What became of the faces, as table rows whose numbers add up to the last one."""
    faces = split["faces"]
    rows = [("written", "", faces["written"])]
    rows += [(outcome, reason, count) for outcome in ("ignored", "dropped") for reason, count in faces[outcome].items()]
    return [*rows, ("= stated", "", faces["stated"])]
