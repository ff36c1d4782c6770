"""The steps of a Recipe's augmentation, in the order in which they are done.

Those that show another window come before decoding as long as nothing else stands before them, and those that leave faces where
they are, or only mirror them, last, at the input's size, as do turns that no window follows: whatever the order in the config, they mean
the same. Options of the OD API come in the config's order where one of them is more than that.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from facedet.augment import colour, geometry, windows
from facedet.augment.picture import Picture, whole_points
from facedet.errors import ConfigError
from facedet.od_api import augmentation as od_api
from facedet.recipe.recipe import Augmentation
from facedet.runtime.input_spec import InputSpec

_WINDOWS = {step.__name__: step for step in (windows.crop_around_faces, windows.data_anchor_sampling, windows.expand)}
_TURNS = {"rotate": geometry.rotate}
_LAST = {step.__name__: step for step in (geometry.mirror, colour.photometric_distortion, colour.blur, colour.noise, colour.jpeg_quality)}


class Plan(NamedTuple):
    """windows: done while decoding.  moves: then, on the picture as it is.  last: at the size that it has in the input."""

    windows: tuple[windows.WindowStep, ...]
    moves: tuple[Callable[[Picture], Picture], ...]
    last: tuple[Callable[[Picture], Picture], ...]


def plan(augmentation: Augmentation, input: InputSpec) -> Plan:
    """Raises ConfigError naming the option of the OD API and its field that cannot be honoured."""
    moving, turns, last = [], [], []
    in_turn = any(od_api.needs_picture(option) for option in augmentation.od_api if not od_api.crop_around_faces(option))
    for i, option in enumerate(augmentation.od_api):
        try:
            if crop := od_api.crop_around_faces(option):
                moving.append(windows.crop_around_faces(input, **crop))
            else:
                (moving if in_turn else last).append(_of_od_api(od_api.build(option)))
        except ValueError as error:
            raise ConfigError(f"train_config.data_augmentation_options[{i}].{od_api.name(option)}.{error}.") from error
    for message in augmentation.facedet:
        name = message.WhichOneof("step")
        fields = _fields(getattr(message, name))
        if name in _LAST:
            last.append(_LAST[name](**fields))
        elif name in _TURNS:
            turns.append(_TURNS[name](input, **fields))
        else:
            moving += [*turns, _WINDOWS[name](input, **fields)]
            turns = []
    leading = next((i for i, step in enumerate(moving) if not isinstance(step, windows.WindowStep)), len(moving))
    return Plan(tuple(moving[:leading]), tuple(moving[leading:]), (*turns, *last))


def _fields(message) -> dict:
    fields = {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}
    return {name: value if isinstance(value, int | float) else tuple(value) for name, value in fields.items()}


def _of_od_api(function) -> Callable[[Picture], Picture]:
    def step(picture: Picture) -> Picture:
        image, boxes, points, weights = function(tf.cast(picture.image, tf.float32), picture.boxes, picture.points, picture.weights)
        return picture._replace(image=image, boxes=boxes, points=whole_points(points), weights=weights)

    return step
