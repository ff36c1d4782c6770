"""InputSpec: what a network takes, and where a picture lies in it. Written once; everything else asks here. numpy and Pillow only."""

import dataclasses
from typing import NamedTuple

import numpy as np
from PIL import Image

COLOUR_ORDERS = ("RGB", "BGR")
RESIZES = ("stretch", "pad")
PAD_PLACES = ("centre", "end")  # both sides, or right and bottom alone


class Placement(NamedTuple):
    """The part of the input that a picture fills, in fractions of the input; the rest is padding."""

    top: float
    left: float
    height: float
    width: float

    def to_picture(self, boxes_yxyx_norm: np.ndarray, height: int, width: int) -> np.ndarray:
        """[N, 4] fractions of the input -> [N, 4] xmin, ymin, xmax, ymax in pixels of the picture of height x width."""
        corners = (boxes_yxyx_norm.reshape(-1, 2, 2) - self._start) / self._extent
        return (corners[..., ::-1] * np.asarray((width, height), corners.dtype)).reshape(-1, 4)

    def points_to_picture(self, points_yx_norm: np.ndarray, height: int, width: int) -> np.ndarray:
        """[N, P, 2] y, x in fractions of the input -> [N, P, 2] x, y in pixels of the picture."""
        inside = (points_yx_norm - self._start) / self._extent
        return inside[..., ::-1] * np.asarray((width, height), inside.dtype)

    @property
    def _start(self) -> np.ndarray:
        return np.asarray((self.top, self.left), np.float32)

    @property
    def _extent(self) -> np.ndarray:
        return np.asarray((self.height, self.width), np.float32)


WHOLE = Placement(0.0, 0.0, 1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """The input of a network: a picture RGB 0..255 is brought to height x width, then normalized as (value - mean) * scale.

    colour_order: of the network; what an exported file takes is RGB always.  mean, scale: one number a channel, in that order.
    resize: 'stretch' to the input, or 'pad': aspect kept, the rest filled.  pad_place: 'centre', or 'end' (right and bottom).
    pad_value: RGB 0..255 of the padding; None: the mean, which is 0 to the network.
    """

    height: int
    width: int
    colour_order: str = "RGB"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    scale: tuple[float, float, float] = (2 / 255, 2 / 255, 2 / 255)
    resize: str = "stretch"
    pad_place: str = "centre"
    pad_value: tuple[int, int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height, width."""
        return self.height, self.width

    @property
    def offset(self) -> tuple[float, ...]:
        """What is added to value * scale."""
        return tuple(-mean * scale for mean, scale in zip(self.mean, self.scale, strict=True))

    @property
    def is_uniform(self) -> bool:
        """Whether all channels are normalized alike and in RGB order: then the bytes 0..255 themselves are a grid of its values."""
        return self.colour_order == "RGB" and len(set(self.mean)) == len(set(self.scale)) == 1

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest normalized value."""
        ends = [value * scale + offset for scale, offset in zip(self.scale, self.offset, strict=True) for value in (0, 255)]
        return min(ends), max(ends)

    @property
    def fill(self) -> tuple[int, int, int]:
        """RGB of the padding."""
        if self.pad_value is not None:
            return self.pad_value
        mean = self.mean if self.colour_order == "RGB" else self.mean[::-1]
        return tuple(round(min(max(value, 0), 255)) for value in mean)

    def normalize(self, images):
        """float [..., H, W, 3] RGB 0..255, of numpy or TensorFlow -> the network's values."""
        if self.is_uniform:
            return images * self.scale[0] - self.mean[0] * self.scale[0]
        if self.colour_order == "BGR":
            images = images[..., ::-1]
        return images * np.asarray(self.scale, np.float32) + np.asarray(self.offset, np.float32)

    def fit(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """A picture's size -> (height, width) that it gets in the input, (top, left) where it is put; in pixels."""
        if self.resize == "stretch":
            return self.size, (0, 0)
        ratio = min(self.height / height, self.width / width)
        size = tuple(min(side, max(1, round(old * ratio))) for side, old in zip(self.size, (height, width), strict=True))
        left_over = self.height - size[0], self.width - size[1]
        return size, ((left_over[0] // 2, left_over[1] // 2) if self.pad_place == "centre" else (0, 0))

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, Placement]:
        """RGB uint8 [H, W, 3] of any size -> uint8 [height, width, 3], and where the picture lies in it.

        Each pixel is the mean of those that it stands for.
        """
        size, (top, left) = self.fit(*image.shape[:2])
        resized = resize(image, *size)
        if size == self.size:
            return resized, WHOLE
        canvas = np.empty((*self.size, 3), np.uint8)
        canvas[:] = self.fill
        canvas[top : top + size[0], left : left + size[1]] = resized
        return canvas, Placement(top / self.height, left / self.width, size[0] / self.height, size[1] / self.width)

    def to_details(self) -> dict:
        """For a file's details; from_details() reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_details(cls, details: dict) -> "InputSpec":
        """Raises ValueError naming the field that does not fit."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(details, dict) or not {"height", "width"} <= details.keys() <= names:
            raise ValueError(f"fields {sorted(details) if isinstance(details, dict) else details!r}")
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in details.items()}
        return cls(**values)._checked()

    def _checked(self) -> "InputSpec":
        rules = {
            "height": _is_side, "width": _is_side, "colour_order": COLOUR_ORDERS.__contains__, "resize": RESIZES.__contains__,
            "pad_place": PAD_PLACES.__contains__, "mean": _are_three, "scale": lambda v: _are_three(v) and min(map(abs, v)) > 0,
            "pad_value": lambda v: v is None or (_are_three(v) and all(isinstance(x, int) and 0 <= x <= 255 for x in v)),
        }  # fmt: skip
        for name, fits in rules.items():
            if not fits(value := getattr(self, name)):
                raise ValueError(f"{name}: {str(value)[:40]}")
        return self


def _is_side(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096


def _are_three(values) -> bool:
    numbers = isinstance(values, tuple) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return numbers and len(values) == 3 and all(abs(v) <= 1e6 for v in values)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """RGB uint8 [H, W, 3] -> uint8 [height, width, 3]: stretched, each pixel the mean of those that it stands for."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))
