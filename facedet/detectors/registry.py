"""One functional Keras network per detector. README.md says how to add one."""

import importlib

from facedet.errors import ConfigError

# feature_extractor.type of a pipeline config -> the module here whose build() makes the network
NETWORKS = {
    "ssd_mobilenet_v2_keras": "ssd_mobilenet_v2",
    "ssd_mobilenet_v2_fpn_keras": "ssd_mobilenet_v2_fpn",
}


def build(ssd, anchors_per_location: list[int], backbone=None):
    """The network of an `ssd` message: image [B, H, W, 3] in -1..1 -> box encodings [B, N, 4], class logits [B, N, C].

    backbone: the config's [facedet.backbone]. ConfigError for a type that is not registered and for settings that the network
    cannot honour.
    """
    kind = ssd.feature_extractor.type
    if kind not in NETWORKS:
        raise ConfigError(f"model.ssd.feature_extractor.type: {kind!r} is not one of {', '.join(sorted(NETWORKS))}.")
    if ssd.image_resizer.WhichOneof("image_resizer_oneof") != "fixed_shape_resizer":
        raise ConfigError("model.ssd.image_resizer: a fixed_shape_resizer is needed; a phone's graph has one input size.")
    return importlib.import_module(f"facedet.detectors.{NETWORKS[kind]}").build(ssd, anchors_per_location, backbone)
