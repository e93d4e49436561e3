"""The wire stays as it was published: nothing is renamed, renumbered, retyped or removed; additions are free.

``data/wire.textproto`` holds the published contract. After an addition is released, write it again with
``python -m tests.proto.test_wire``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

from dorian.v1 import admin_pb2, face_aging_pb2

PUBLISHED = Path(__file__).parent / "data" / "wire.textproto"


def current_contract() -> FileDescriptorSet:
    """Return the descriptors of today's stubs, which carry no comments."""
    contract = FileDescriptorSet()
    for module in (admin_pb2, face_aging_pb2):
        module.DESCRIPTOR.CopyToProto(contract.file.add())
    return contract


def published_contract() -> FileDescriptorSet:
    return text_format.Parse(PUBLISHED.read_text(encoding="utf-8"), FileDescriptorSet())


def elements(contract: FileDescriptorSet) -> dict[str, str]:
    """Return what the wire depends on of each element, as text by full name.

    A parent's entry leaves out its children, which have entries of their own.
    """
    described: dict[str, str] = {}
    for file in contract.file:
        described[file.name] = f"{file.syntax} package {file.package}"
        for message in file.message_type:
            described |= message_elements(file.package, message)
        for enum in file.enum_type:
            described |= enum_elements(file.package, enum)
        for service in file.service:
            name = f"{file.package}.{service.name}"
            described[name] = "service"
            described |= {f"{name}.{method.name}": as_text(method) for method in service.method}
    return described


def message_elements(scope: str, message: DescriptorProto) -> dict[str, str]:
    name = f"{scope}.{message.name}"
    described = {name: f"message {as_text(message.options)}"}
    for field in message.field:
        # a oneof is compared by name: its index moves when another is added before it
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None
        bare = type(field).FromString(field.SerializeToString())
        bare.ClearField("oneof_index")
        described[f"{name}.{field.name}"] = f"field {as_text(bare)} oneof: {oneof}"
    for nested in message.nested_type:
        described |= message_elements(name, nested)
    for enum in message.enum_type:
        described |= enum_elements(name, enum)
    return described


def enum_elements(scope: str, enum: EnumDescriptorProto) -> dict[str, str]:
    name = f"{scope}.{enum.name}"
    return {name: f"enum {as_text(enum.options)}"} | {f"{name}.{value.name}": as_text(value) for value in enum.value}


def as_text(message: Message) -> str:
    return text_format.MessageToString(message, as_one_line=True)


def changes(published: FileDescriptorSet, current: FileDescriptorSet) -> list[str]:
    """Return the full names of published elements that are gone from ``current`` or differ in it."""
    today = elements(current)
    return [name for name, text in elements(published).items() if today.get(name) != text]


def test_no_published_element_has_changed() -> None:
    published = published_contract()
    assert len(elements(published)) > 100
    assert changes(published, current_contract()) == []


def edited_contract(edit: str) -> FileDescriptorSet:
    contract = published_contract()
    file: FileDescriptorProto = contract.file[1]
    request = next(message for message in file.message_type if message.name == "AgeTransformRequest")
    (service,) = file.service
    match edit:
        case "field number":
            request.field[0].number = 99
        case "field name":
            request.field[0].name = "photo"
        case "field type":
            request.field[0].type_name = ".dorian.v1.Age"
        case "field removed":
            del request.field[0]
        case "message removed":
            file.message_type.remove(request)
        case "enum value":
            file.enum_type[0].value[1].number = 99
        case "method streams":
            service.method[0].server_streaming = not service.method[0].server_streaming
        case "method renamed":
            service.method[0].name = "Age"
        case "package":
            file.package = "dorian.v2"
        case _:
            raise AssertionError(edit)
    return contract


@pytest.mark.parametrize(
    "edit",
    [
        "field number",
        "field name",
        "field type",
        "field removed",
        "message removed",
        "enum value",
        "method streams",
        "method renamed",
        "package",
    ],
)
def test_a_change_is_noticed(edit: str) -> None:
    assert changes(published_contract(), edited_contract(edit))


def test_additions_are_free() -> None:
    contract = published_contract()
    file = contract.file[1]
    file.message_type.add(name="Added").field.add(name="text", number=1)
    file.message_type[0].field.add(name="added", number=98)
    file.enum_type[0].value.add(name="ADDED", number=98)
    file.service[0].method.add(name="Added")
    assert changes(published_contract(), contract) == []


if __name__ == "__main__":
    PUBLISHED.write_text(text_format.MessageToString(current_contract()), encoding="utf-8")
