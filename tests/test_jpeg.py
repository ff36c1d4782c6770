import io

import numpy as np
import pytest
from PIL import Image

from facedet import jpeg


def encoded(size=(37, 21), **options) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True, "quality": 30}])
def test_size(options):
    assert jpeg.read_info(encoded(**options)) == (21, 37, 1)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert jpeg.read_info(encoded(exif=exif)).orientation == orientation


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_every_early_stop_is_found(share):
    data = encoded((300, 200))
    with pytest.raises(jpeg.TruncatedJpegError):
        jpeg.read_info(data[: max(4, int(len(data) * share))])


def test_bytes_after_the_end_are_no_fault():
    assert jpeg.read_info(encoded() + b"\0" * 500).height == 21


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "empty"), (b"<!DOCTYPE html><html>", "HTML"), (b"\x89PNG\r\n", "PNG"), (b"abcdef", "61 62")]
)
def test_other_content_is_named(data, said):
    with pytest.raises(jpeg.NotJpegError, match=said):
        jpeg.read_info(data)
