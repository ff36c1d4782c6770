"""The schema of pipeline configs: the OD API's own, and what facedet adds in the range it leaves to extensions.

    [facedet.training] { anchors_per_face: 3 smallest_face: 4.5 }
    [facedet.backbone] { stem_channels: 16 expansions: [1, 2, 3, 3, 3, 3] blocks: [1, 1, 3, 3, 2, 2] }

stand at the end of a config. The OD API's own loop does not know them; none of its configs needs them.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from object_detection.protos import pipeline_pb2

TrainEvalPipelineConfig = pipeline_pb2.TrainEvalPipelineConfig


def _declare_extensions() -> list:
    """The extensions `facedet.training` and `facedet.backbone` of TrainEvalPipelineConfig, as protoc would declare them from a .proto."""
    kinds = descriptor_pb2.FieldDescriptorProto
    target = TrainEvalPipelineConfig.DESCRIPTOR
    file = descriptor_pb2.FileDescriptorProto(name="facedet/extensions.proto", package="facedet", dependency=[target.file.name])

    training = file.message_type.add(name="Training")
    # Each face takes that many anchors, the best first; past the first, those that reach unmatched_threshold only.
    training.field.add(name="anchors_per_face", number=1, type=kinds.TYPE_INT32, label=kinds.LABEL_OPTIONAL, default_value="1")
    # Faces of less height at the network's input, in px, are ignored; 0: those no anchor could overlap by matched_threshold.
    training.field.add(name="smallest_face", number=2, type=kinds.TYPE_FLOAT, label=kinds.LABEL_OPTIONAL)

    # MobileNetV2 with other rows in its table: filters of the first convolution, and for each stage up to stride 32 the
    # expansion and the number of blocks. What is left out is the paper's.
    backbone = file.message_type.add(name="Backbone")
    backbone.field.add(name="stem_channels", number=1, type=kinds.TYPE_INT32, label=kinds.LABEL_OPTIONAL, default_value="32")
    backbone.field.add(name="expansions", number=2, type=kinds.TYPE_INT32, label=kinds.LABEL_REPEATED)
    backbone.field.add(name="blocks", number=3, type=kinds.TYPE_INT32, label=kinds.LABEL_REPEATED)

    for number, (name, message) in enumerate((("training", "Training"), ("backbone", "Backbone")), 1000):
        file.extension.add(
            name=name, number=number, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_OPTIONAL, type_name=f".facedet.{message}",
            extendee=f".{target.full_name}",
        )  # fmt: skip
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    for message in ("Training", "Backbone"):
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"facedet.{message}"))
    return [pool.FindExtensionByName(f"facedet.{name}") for name in ("training", "backbone")]


_TRAINING, _BACKBONE = _declare_extensions()


def parse(text: str) -> TrainEvalPipelineConfig:
    """Raises text_format.ParseError, with line and column, for text that is no pipeline config; unknown keys included."""
    return text_format.Parse(text, TrainEvalPipelineConfig())


def training(config: TrainEvalPipelineConfig):
    """The config's [facedet.training]; its defaults are the OD API's ways."""
    return config.Extensions[_TRAINING]


def backbone(config: TrainEvalPipelineConfig):
    """The config's [facedet.backbone]; its defaults are the paper's."""
    return config.Extensions[_BACKBONE]
