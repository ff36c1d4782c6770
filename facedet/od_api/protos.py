"""The schema of pipeline configs."""

from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

TrainEvalPipelineConfig = pipeline_pb2.TrainEvalPipelineConfig


def parse(text: str) -> TrainEvalPipelineConfig:
    """Raises text_format.ParseError, with line and column, for text that is no pipeline config; unknown keys included."""
    return text_format.Parse(text, TrainEvalPipelineConfig())
