"""The schema of pipeline configs: the OD API's own, and what facedet adds in the range it leaves to extensions.

    [facedet.training] { anchors_per_face: 3 smallest_face: 4.5 }

stands at the end of a config. The OD API's own loop does not know it; none of its configs needs it.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from object_detection.protos import pipeline_pb2

TrainEvalPipelineConfig = pipeline_pb2.TrainEvalPipelineConfig


def _declare_extension():
    """The extension `facedet.training` of TrainEvalPipelineConfig, as protoc would declare it from a .proto."""
    kinds = descriptor_pb2.FieldDescriptorProto
    target = TrainEvalPipelineConfig.DESCRIPTOR
    file = descriptor_pb2.FileDescriptorProto(name="facedet/training.proto", package="facedet", dependency=[target.file.name])
    message = file.message_type.add(name="Training")
    # Each face takes that many anchors, the best first; past the first, those that reach unmatched_threshold only.
    message.field.add(name="anchors_per_face", number=1, type=kinds.TYPE_INT32, label=kinds.LABEL_OPTIONAL, default_value="1")
    # Faces of less height at the network's input, in px, are ignored; 0: those no anchor could overlap by matched_threshold.
    message.field.add(name="smallest_face", number=2, type=kinds.TYPE_FLOAT, label=kinds.LABEL_OPTIONAL)
    file.extension.add(
        name="training", number=1000, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_OPTIONAL, type_name=".facedet.Training",
        extendee=f".{target.full_name}",
    )  # fmt: skip
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    message_factory.GetMessageClass(pool.FindMessageTypeByName("facedet.Training"))
    return pool.FindExtensionByName("facedet.training")


_TRAINING = _declare_extension()


def parse(text: str) -> TrainEvalPipelineConfig:
    """Raises text_format.ParseError, with line and column, for text that is no pipeline config; unknown keys included."""
    return text_format.Parse(text, TrainEvalPipelineConfig())


def training(config: TrainEvalPipelineConfig):
    """The config's [facedet.training]; its defaults are the OD API's ways."""
    return config.Extensions[_TRAINING]
