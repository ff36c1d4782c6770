"""Small sets in WIDER FACE's layout, written by hand, and their conversion in one process."""

import io

import numpy as np
from PIL import Image

from facedet.data import conversion
from facedet.data.conversion import Options


def picture(width=100, height=80, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)).save(stream, "JPEG", **options)
    return stream.getvalue()


def dataset(directory, pictures: dict, split="train"):
    """pictures: {name: (bytes or None for a missing one, [rows])}."""
    lines = []
    for name, (data, rows) in pictures.items():
        lines += [name, str(len(rows)), *(rows or ["0 0 0 0 0 0 0 0 0 0"])]
        path = directory / f"WIDER_{split}" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is not None:
            path.write_bytes(data)
    (directory / "wider_face_split").mkdir(exist_ok=True)
    (directory / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt").write_text("\n".join(lines) + "\n")
    return directory


def convert(source, target, **options):
    return conversion.convert(source, target, ["train"], Options(num_workers=1, **options), say=lambda text: None)["splits"]["train"]
