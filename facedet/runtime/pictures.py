"""Pictures of every kind -> RGB uint8 [H, W, 3], upright. numpy and Pillow."""

import os
import pathlib

import numpy as np
from PIL import Image, ImageOps

from facedet.errors import DetectorError

CHANNELS = ("RGB", "BGR")
_EXPECTED = "a path, a PIL picture, or an array of uint8 or uint16, [H, W] or [H, W, 1, 3 or 4], is expected"


def read_picture(path: str | os.PathLike) -> np.ndarray:
    """A picture file -> RGB uint8 [H, W, 3], upright as its EXIF says; 16-bit grey is scaled to 8 bits; of several pages the first.

    Raises DetectorError for what is no file, cannot be decoded, or is past Pillow's limit of pixels.
    """
    path = pathlib.Path(path)
    if not path.is_file():  # a pipe would be waited on for ever
        raise DetectorError(f"{path} is no file.")
    try:
        with Image.open(path) as opened:
            opened.load()
            return _from_pil(opened, str(path))
    except DetectorError:
        raise
    except Image.DecompressionBombError as error:
        raise DetectorError(f"{path} cannot be read as a picture: {error} Make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS.") from error
    except Exception as error:  # a damaged file leads Pillow to errors of every type: struct, zlib, Value, Syntax, Index, ...
        if path.suffix.lower() in (".heic", ".heif"):
            raise DetectorError(f"{path} cannot be read as a picture: Pillow reads no HEIC; save it as JPEG or PNG.") from error
        raise DetectorError(f"{path} cannot be read as a picture: {error or type(error).__name__}") from error


def count_pages(path: str | os.PathLike) -> int:
    """Pages or frames of a picture file that can be read; 1 of what has no such thing."""
    with Image.open(path) as opened:
        return 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)  # a telephone's second is a preview


def to_rgb(image, channels: str = "RGB", name: str = "image") -> np.ndarray:
    """A path, a PIL picture (turned by its EXIF) or an array -> RGB uint8 [H, W, 3].

    Arrays: uint8 or uint16 (scaled), grey [H, W] or [H, W, 1], colour [H, W, 3], or [H, W, 4] whose fourth is left out.
    channels: the order of an array's colours, 'RGB' or 'BGR' (OpenCV's).  name: for errors.  Raises DetectorError for anything else.
    """
    if channels not in CHANNELS:
        raise DetectorError(f"channels: {channels!r}; one of {', '.join(CHANNELS)} is expected.")
    if isinstance(image, str | os.PathLike):
        return read_picture(image)
    if isinstance(image, Image.Image):
        return _from_pil(image, name)
    if not isinstance(image, np.ndarray):
        raise DetectorError(f"{name}: {type(image).__name__}; {_EXPECTED}.")
    depth = 1 if image.ndim == 2 else image.shape[2] if image.ndim == 3 else 0
    if depth not in (1, 3, 4) or image.dtype not in (np.uint8, np.uint16) or 0 in image.shape:
        raise DetectorError(f"{name}: {image.dtype} {list(image.shape)}; {_EXPECTED}: RGB uint8 [H, W, 3] best of all.")
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if depth == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    image = image[:, :, :3]
    return image if channels == "RGB" else np.ascontiguousarray(image[:, :, ::-1])


def _from_pil(picture: Image.Image, name: str) -> np.ndarray:
    picture = ImageOps.exif_transpose(picture)
    if picture.mode[0] not in "IF":
        return np.asarray(picture.convert("RGB"))
    grey = np.asarray(picture)  # convert() would cut 16 bits at 255: white
    if grey.dtype.kind == "f" or grey.min() < 0 or grey.max() > 65535:
        raise DetectorError(f"{name}: grey values of {grey.dtype} from {grey.min()} to {grey.max()}; save it with 8 or 16 bits.")
    return to_rgb(grey.astype(np.uint16), name=name)
