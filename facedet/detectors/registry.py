"""Which file builds which detector. README.md says how to add one."""

import importlib

from facedet.detectors.base import Detector
from facedet.errors import ConfigError
from facedet.recipe.recipe import Recipe

# feature_extractor.type of a pipeline config -> the module here whose build(recipe) makes the detector
DETECTORS = {
    "ainnoface_resnet": "ainnoface",
    "blazeface_paper": "blazeface_paper",
    "blazeface_short_range": "blazeface_short_range",
    "blazeface": "blazeface",
    "retinaface_mobilenet": "retinaface_mobilenet025",
    "rfb": "slim",
    "slim": "slim",
    "ssd_mobilenet_v2_keras": "ssd_mobilenet_v2",
    "ssd_mobilenet_v2_fpn_keras": "ssd_mobilenet_v2_fpn",
    "tiny_grid_mobilenet_v2": "tiny_grid_mobilenetv2",
}


def build(recipe: Recipe) -> Detector:
    """ConfigError for a type that is not registered and for settings that its network cannot honour; it names the config."""
    kind = recipe.feature_extractor.type
    if kind not in DETECTORS:
        raise ConfigError(f"{recipe.name}: model.ssd.feature_extractor.type: {kind!r} is not one of {', '.join(sorted(DETECTORS))}.")
    try:
        return importlib.import_module(f"facedet.detectors.{DETECTORS[kind]}").build(recipe)
    except ConfigError as error:
        raise ConfigError(f"{recipe.name}: {error}") from error
