"""What a JPEG says of itself, read from its markers without decoding a pixel (ITU-T T.81, annex B; Exif 2.3, 4.6).

What libjpeg, and so TensorFlow, refuses to decode stands in the markers too: damage within the coded pixels is only seen.
"""

import re
import struct
from typing import NamedTuple

_FRAMES = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive"}  # the processes that libjpeg decodes in TensorFlow
_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xCC}
_HUFFMAN_TABLES, _START_OF_SCAN, _QUANTIZATION_TABLES, _RESTART_INTERVAL = 0xC4, 0xDA, 0xDB, 0xDD
_END_OF_IMAGE, _APP1 = 0xD9, 0xE1
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD8)) | {0x01}
_SKIPPED = frozenset(range(0xE0, 0xF0)) | {0xCC, 0xDC, 0xFE}  # application data, arithmetic tables, number of lines, comment
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_MARKER_AFTER_DATA = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # restarts belong to coded data
_MOST_SIDE, _MOST_BYTES = 65500, 2**29 - 1  # libjpeg's and TensorFlow's limits
_MOST_BLOCKS = 10  # in a unit of an interleaved scan


class NotJpegError(ValueError):
    """The bytes are no JPEG: the message says what they look like."""


class TruncatedJpegError(ValueError):
    """A JPEG that stops before its end-of-image marker."""


class DamagedJpegError(ValueError):
    """A JPEG with headers that a decoder refuses: the message says which and what is wrong."""


class JpegInfo(NamedTuple):
    """height and width are those of the stored pixels; orientation is the EXIF tag, 1 where pixels are upright."""

    height: int
    width: int
    orientation: int


def read_info(data: bytes) -> JpegInfo:
    """Size and orientation of a whole JPEG that can be decoded.

    Raises NotJpegError for other content, TruncatedJpegError where the picture stops early (in coded data the byte 0xFF is
    followed by a marker only at its end, so an end-of-image marker after a scan proves a whole file) and DamagedJpegError.
    """
    if data[:3] != b"\xff\xd8\xff":
        raise NotJpegError(f"not a JPEG but {looks_like(data)}")
    headers, orientation, at = _Headers(), 1, 2
    while True:
        if headers.scans and _only_coded_data(data, at):
            break
        found = (_MARKER_AFTER_DATA if headers.scans else _MARKER).search(data, at)
        if found is None:
            where = "before its end-of-image marker" if headers.scans else "within its headers"
            raise TruncatedJpegError(f"stops after {len(data)} bytes, {where}")
        marker, at = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            break
        if marker in _WITHOUT_LENGTH:
            continue
        if at + 2 > len(data):
            raise TruncatedJpegError(f"stops after {len(data)} bytes, within its headers")
        length = max(2, int.from_bytes(data[at : at + 2], "big"))
        if at + length > len(data):
            raise TruncatedJpegError(f"stops after {len(data)} bytes, within its headers")
        segment = data[at + 2 : at + length]
        headers.read(marker, segment)
        if marker == _APP1 and segment.startswith(b"Exif\0\0"):
            orientation = _exif_orientation(segment[6:])
        at += length
    if not headers.scans:
        raise TruncatedJpegError("holds no picture: it ends before the first scan")
    return JpegInfo(headers.height, headers.width, orientation)


def _only_coded_data(data: bytes, at: int) -> bool:
    """Whether no marker but the end of the image follows. Counting is faster than the search, and most pictures have one scan."""
    end = data.find(b"\xff\xd9", at)
    return end >= 0 and data.count(b"\xff", at, end) == data.count(b"\xff\0", at, end)


class _Component(NamedTuple):
    horizontal: int  # sampling factors
    vertical: int
    quantization: int


class _Headers:
    """The state of a decoder that reads one marker segment after another, with libjpeg's checks of each."""

    def __init__(self):
        self.height = self.width = self.scans = 0
        self.process = ""
        self.components: dict[int, _Component] = {}
        self.quantization: set[int] = set()
        self.huffman: set[tuple[int, int]] = set()  # (0 DC or 1 AC, number)
        self.several_scans = False

    def read(self, marker: int, segment: bytes) -> None:
        """Raises DamagedJpegError where a decoder would stop."""
        try:
            if marker in _FRAMES:
                self._frame(_FRAMES[marker], segment)
            elif marker == _START_OF_SCAN:
                self._scan(segment)
            elif marker == _HUFFMAN_TABLES:
                self._huffman_tables(segment)
            elif marker == _QUANTIZATION_TABLES:
                self._quantization_tables(segment)
            elif marker == _RESTART_INTERVAL:
                _need(len(segment) == 2, "its restart interval has a wrong length")
            else:
                _need(marker not in _OTHER_FRAMES, f"its coding process (marker {marker:#x}) is not that of photographs")
                _need(marker in _SKIPPED, f"a marker of unknown meaning ({marker:#x}) stands among its headers")
        except (IndexError, struct.error) as error:
            raise DamagedJpegError(f"is damaged: the segment of marker {marker:#x} is too short") from error

    def _frame(self, process: str, segment: bytes) -> None:
        _need(not self.components, "it has a second frame header")
        precision, self.height, self.width, count = struct.unpack_from(">BHHB", segment)
        _need(precision == 8, f"its frame header says {precision} bits a sample, where 8 can be decoded")
        _need(self.height and self.width, f"its frame header says {self.width}x{self.height} pixels")
        _need(
            max(self.height, self.width) <= _MOST_SIDE and self.height * self.width * max(3, count) <= _MOST_BYTES,
            f"its frame header says {self.width}x{self.height} pixels, more than can be decoded",
        )
        _need(count in (1, 3, 4), f"its frame header says {count} color components, where 1, 3 or 4 can be decoded")
        _need(len(segment) == 6 + 3 * count, "its frame header has a wrong length")
        for i in range(6, len(segment), 3):
            self.components[segment[i]] = _Component(segment[i + 1] >> 4, segment[i + 1] & 15, segment[i + 2])
        _need(len(self.components) == count, "two components of its frame have one name")
        most = [max(component[axis] for component in self.components.values()) for axis in (0, 1)]
        for component in self.components.values():
            factors = component[:2]
            fit = all(1 <= factor <= 4 and high % factor == 0 for factor, high in zip(factors, most, strict=True))
            _need(fit, "its sampling factors cannot be decoded: {}x{} beside {}x{}".format(*factors, *most))
        self.process = process

    def _scan(self, segment: bytes) -> None:
        _need(self.components, "a scan stands before the frame header")
        count = segment[0]
        _need(1 <= count <= 4 and len(segment) == 4 + 2 * count, "its scan header has a wrong length")
        first, last, high_low = segment[1 + 2 * count :]
        chosen = {segment[i]: segment[i + 1] for i in range(1, 1 + 2 * count, 2)}
        _need(len(chosen) == count and set(chosen) <= set(self.components), "a scan names components that its frame has not")
        components = [self.components[name] for name in chosen]
        if count > 1:
            _need(sum(c.horizontal * c.vertical for c in components) <= _MOST_BLOCKS, "a scan interleaves too many blocks")
        progressive = self.process == "progressive"
        if not self.scans:
            self.several_scans = progressive or count < len(self.components)
        _need(self.several_scans or not self.scans, "a second scan follows one that held everything")
        _need(all(c.quantization in self.quantization for c in components), "a quantization table is missing")
        needed = {(kind, tables >> 4 if kind == 0 else tables & 15) for tables in chosen.values() for kind in (0, 1)}
        if progressive:
            high, low = divmod(high_low, 16)
            band = last == 0 if first == 0 else first <= last < 64 and count == 1
            _need(band and low <= 13 and (high == 0 or low == high - 1), "a scan's band or bits make no sense")
            needed = {table for table in needed if table[0] == (first > 0) and (first or not high)}
        # libjpeg would take the tables of T.81's annex K in place of missing ones: the picture would be noise.
        _need(needed <= self.huffman, "a Huffman table is missing")
        self.scans += 1

    def _huffman_tables(self, segment: bytes) -> None:
        at = 0
        while at < len(segment):
            kind, number = divmod(segment[at], 16)
            counts = segment[at + 1 : at + 17]
            symbols = segment[at + 17 : at + 17 + sum(counts)]
            whole = len(counts) == 16 and len(symbols) == sum(counts) <= 256
            _need(kind <= 1 and number <= 3 and whole, "a Huffman table is malformed")
            code = 0
            for bits, count in enumerate(counts, 1):
                code = code * 2 + count
                _need(code <= 1 << bits, "a Huffman table has more codes than bits")
            _need(kind == 1 or max(symbols, default=0) <= 15, "a Huffman table of DC values has symbols beyond 15")
            self.huffman.add((kind, number))
            at += 17 + len(symbols)

    def _quantization_tables(self, segment: bytes) -> None:
        at = 0
        while at < len(segment):
            precision, number = divmod(segment[at], 16)
            at += 1 + (128 if precision else 64)
            _need(number <= 3 and at <= len(segment), "a quantization table is malformed")
            self.quantization.add(number)


def _need(condition, message: str) -> None:
    if not condition:
        raise DamagedJpegError(f"is damaged: {message}")


def _exif_orientation(tiff: bytes) -> int:
    """The value of tag 0x0112 in the first directory; 1 where it is absent or makes no sense."""
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, at)
        for i in range(entries):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, at + 2 + 12 * i)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        pass
    return 1


def looks_like(data: bytes) -> str:
    """What the first bytes of a file that should be something else are, in words."""
    if not data:
        return "an empty file"
    head = data[:256].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, as a failed download leaves"
    for magic, name in ((b"\x89PNG", "a PNG"), (b"GIF8", "a GIF"), (b"RIFF", "a WebP"), (b"PK", "a zip"), (b"BM", "a BMP")):
        if data.startswith(magic):
            return name
    return f"something that begins with {data[:4].hex(' ')}"
