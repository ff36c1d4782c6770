"""facedet_options_pb2.py is made of facedet_options.proto: neither can change without the other."""

import re

from conftest import ROOT

from facedet.od_api import facedet_options_pb2

from google.protobuf import descriptor_pb2  # isort: skip

PROTO = ROOT / "facedet" / "od_api" / "facedet_options.proto"
FIELD = re.compile(r"(?:(optional|repeated) )?([\w.]+) (\w+) = (\d+)(?: \[default = ([^\]]+)\])?;")


def written() -> set[tuple]:
    """(message or what is extended, oneof, label, type, field, number, default) of each field of the .proto."""
    text = re.sub(r"//.*", "", PROTO.read_text())
    found, where = set(), []
    for opened, name, closed, *field in re.findall(rf"(message|extend|oneof) ([\w.]+) {{|(}})|{FIELD.pattern}", text):
        if opened:
            where.append((opened, name))
        elif closed:
            where.pop()
        else:
            label, kind, name, number, default = field
            oneof = where[-1][1] if where[-1][0] == "oneof" else ""
            message = where[-2 if oneof else -1][1]
            found.add((message, oneof, label or "optional", kind, name, int(number), plain(kind, default)))
    assert not where
    return found


def held() -> set[tuple]:
    """The same of the module's descriptor."""
    file = descriptor_pb2.FileDescriptorProto()
    facedet_options_pb2.DESCRIPTOR.CopyToProto(file)
    found = {of_field(field.extendee.removeprefix("."), "", field) for field in file.extension}
    for message in file.message_type:
        for field in message.field:
            oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            found.add(of_field(message.name, oneof, field))
    return found


def of_field(message, oneof, field) -> tuple:
    kinds = descriptor_pb2.FieldDescriptorProto
    kind = field.type_name.removeprefix(".facedet.") or kinds.Type.Name(field.type).removeprefix("TYPE_").lower()
    label = kinds.Label.Name(field.label).removeprefix("LABEL_").lower()
    return message, oneof, label, kind, field.name, field.number, plain(kind, field.default_value)


def plain(kind: str, default: str):
    if kind == "string":
        return default.strip('"')
    return f"{float(default or 0):.6g}" if kind in ("int32", "float") else default  # as 32 bits keep it


def test_the_module_holds_what_the_proto_says():
    says, holds = written(), held()
    assert len(says) > 40
    assert says - holds == set(), "run protoc again, as facedet_options.proto says"
    assert holds - says == set(), "run protoc again, as facedet_options.proto says"


def test_messages_of_the_proto_are_those_of_the_module():
    """One without fields stands in no row above."""
    messages = re.findall(r"^message (\w+)", PROTO.read_text(), re.MULTILINE)
    assert sorted(messages) == sorted(facedet_options_pb2.DESCRIPTOR.message_types_by_name)
