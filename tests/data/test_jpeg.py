import io

import numpy as np
import pytest
from PIL import Image

from facedet.data import jpeg


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


def start_of(data: bytes, marker: int) -> int:
    return data.index(bytes([0xFF, marker]))


def changed(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


def without(data: bytes, marker: int) -> bytes:
    """The JPEG without its segments of one marker."""
    while (at := data.find(bytes([0xFF, marker]))) >= 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data


DAMAGES = {
    "12 bits a sample": (lambda data: changed(data, start_of(data, 0xC0) + 4, 12), "12 bits"),
    "two components": (lambda data: changed(data, start_of(data, 0xC0) + 9, 2), "2 color components"),
    "no height": (lambda data: changed(changed(data, start_of(data, 0xC0) + 5, 0), start_of(data, 0xC0) + 6, 0), "37x0 pixels"),
    "a sampling factor of 0": (lambda data: changed(data, start_of(data, 0xC0) + 11, 0x02), "sampling factors"),
    "a fraction to sample by": (lambda data: changed(data, start_of(data, 0xC0) + 14, 0x31), "sampling factors"),
    "lossless": (lambda data: changed(data, start_of(data, 0xC0) + 1, 0xC3), "coding process"),
    "no quantization": (lambda data: without(data, 0xDB), "quantization table is missing"),
    "no Huffman table": (lambda data: without(data, 0xC4), "Huffman table is missing"),
    "another component in the scan": (lambda data: changed(data, start_of(data, 0xDA) + 5, 9), "its frame has not"),
    "a second frame": (
        lambda data: data[: start_of(data, 0xDA)] + data[start_of(data, 0xC0) : start_of(data, 0xC0) + 19] + data[start_of(data, 0xDA) :],
        "second frame header",
    ),
    "a Huffman table with too many codes": (lambda data: changed(data, start_of(data, 0xC4) + 5, 3), "Huffman table"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_headers_that_no_decoder_takes_are_named(damage):
    make, said = DAMAGES[damage]
    with pytest.raises(jpeg.DamagedJpegError, match=said):
        jpeg.read_info(make(encoded()))


def test_what_is_accepted_can_be_decoded():
    """By TensorFlow, whose error would name no picture in the middle of a training. Most damage is done to the headers."""
    tf = pytest.importorskip("tensorflow")
    pictures = [encoded(), encoded(progressive=True), encoded(subsampling=0, optimize=True), encoded(restart_marker_rows=1)]
    generator = np.random.default_rng(0)
    accepted = refused = 0
    for i in range(400):
        data = bytearray(pictures[i % len(pictures)])
        for _ in range(generator.integers(1, 4)):
            at = int(generator.integers(2, 640 if generator.random() < 0.8 else len(data)))
            if generator.random() < 0.7:
                data[at] = int(generator.integers(256))
            else:
                data[at : at + int(generator.integers(0, 6))] = generator.bytes(int(generator.integers(0, 6)))
        try:
            info = jpeg.read_info(bytes(data))
        except (jpeg.NotJpegError, jpeg.TruncatedJpegError, jpeg.DamagedJpegError):
            refused += 1
            continue
        assert tf.io.decode_jpeg(bytes(data), channels=3).shape[:2] == (info.height, info.width)
        accepted += 1
    assert accepted > 80 and refused > 80
