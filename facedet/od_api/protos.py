"""The schema of pipeline configs: the OD API's own, and facedet's options, which facedet_options.proto explains."""

from google.protobuf import text_format
from object_detection.protos import pipeline_pb2, string_int_label_map_pb2

from facedet.od_api import facedet_options_pb2 as options

TrainEvalPipelineConfig = pipeline_pb2.TrainEvalPipelineConfig


def parse(text: str) -> TrainEvalPipelineConfig:
    """Raises text_format.ParseError, with line and column, for text that is no pipeline config; unknown keys included."""
    return text_format.Parse(text, TrainEvalPipelineConfig())


def classes(text: str) -> dict[int, str]:
    """A label map's {id: name}. Raises text_format.ParseError for text that is none."""
    return {item.id: item.name for item in text_format.Parse(text, string_int_label_map_pb2.StringIntLabelMap()).item}


def training(config: TrainEvalPipelineConfig) -> options.Training:
    """[facedet.training]; this and those below give the defaults where the config says nothing."""
    return config.Extensions[options.training]


def backbone(config: TrainEvalPipelineConfig) -> options.Backbone:
    return config.Extensions[options.backbone]


def input(config: TrainEvalPipelineConfig) -> options.Input:
    return config.Extensions[options.input]


def augmentation(config: TrainEvalPipelineConfig) -> options.Augmentation:
    return config.Extensions[options.augmentation]


def detector(config: TrainEvalPipelineConfig) -> options.DetectorOptions:
    return config.Extensions[options.detector]


def loss(config: TrainEvalPipelineConfig) -> options.LossOptions:
    return config.Extensions[options.loss]


def box_coder(config: TrainEvalPipelineConfig) -> options.BoxCoderOptions:
    return config.Extensions[options.box_coder]
