"""The detectors that come with facedet, by short names: in a clone all, in an installed package those that are inside."""

import pathlib

from facedet.errors import DetectorError

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
NAMES = {
    "224": "ssd_mobilenet_v2_quantized_224x224_widerface",
    "224-fast": "ssd_mobilenet_v2_narrow_quantized_224x224_widerface",
    "320": "ssd_mobilenet_v2_quantized_320x320_widerface",
    "320-fast": "ssd_mobilenet_v2_narrow_quantized_320x320_widerface",
}
DEFAULT = "224"


def find(name: str) -> pathlib.Path | None:
    """The int8 file of a short name ('224 fast' is '224-fast'); None where it is no short name: a path, that is.

    Raises DetectorError for a name that this installation does not hold.
    """
    name = name.replace(" ", "-")
    if name not in NAMES:
        return None
    file = f"{NAMES[name]}_int8.tflite"
    places = (PACKAGE.parent / "exported_models" / NAMES[name] / file, PACKAGE / "models" / file)
    for place in places:
        if place.is_file():
            return place
    held = [other for other, stem in NAMES.items() if (PACKAGE / "models" / f"{stem}_int8.tflite").is_file()]
    raise DetectorError(
        f"'{name}' is not in the installed package, which holds {', '.join(held) or 'none'}: name the path of {file}, "
        f"which is in a clone of the repository under exported_models/{NAMES[name]}."
    )
