"""The contract's style: what buf's STANDARD rules ask, and a comment on every element."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet

Element = tuple[tuple[int, ...], str]


@pytest.fixture(scope="module")
def files(protoc: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileDescriptorProto]:
    """The contract's files as protoc understands them, with their comments, by name."""
    path = tmp_path_factory.mktemp("descriptors") / "set.pb"
    protoc("--include_source_info", f"--descriptor_set_out={path}")
    return {file.name: file for file in FileDescriptorSet.FromString(path.read_bytes()).file}


@pytest.fixture(params=["dorian/v1/admin.proto", "dorian/v1/face_aging.proto"])
def file(request: pytest.FixtureRequest, files: dict[str, FileDescriptorProto]) -> FileDescriptorProto:
    """Each file of the contract in turn."""
    return files[request.param]


def elements(file: FileDescriptorProto) -> Iterator[Element]:
    """Every message, field, enum, value, service and RPC: its path in the descriptor, and its full name."""
    for m, message in enumerate(file.message_type):
        yield (4, m), message.name
        assert not message.enum_type, "nested enums are not looked at here"
        assert not message.nested_type, "nested messages are not looked at here"
        yield from (((4, m, 2, f), f"{message.name}.{field.name}") for f, field in enumerate(message.field))
    for e, enum in enumerate(file.enum_type):
        yield (5, e), enum.name
        yield from (((5, e, 2, v), f"{enum.name}.{value.name}") for v, value in enumerate(enum.value))
    for s, service in enumerate(file.service):
        yield (6, s), service.name
        yield from (((6, s, 2, r), f"{service.name}.{rpc.name}") for r, rpc in enumerate(service.method))


def test_no_file_is_left_out(files: dict[str, FileDescriptorProto]) -> None:
    assert sorted(files) == ["dorian/v1/admin.proto", "dorian/v1/face_aging.proto"]
    assert sum(len(list(elements(file))) for file in files.values()) > 100


def test_every_element_has_a_comment(file: FileDescriptorProto) -> None:
    comments = {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}
    found = dict(elements(file))
    assert found
    assert [name for path, name in found.items() if len(comments.get(path, "")) < 5] == []
    assert [name for path, name in found.items() if not comments[path].endswith((".", '").'))] == []


def test_the_package_is_where_its_folder_says(file: FileDescriptorProto) -> None:
    assert file.syntax == "proto3"
    assert file.package == "dorian.v1"
    assert Path(file.name).parent.as_posix() == file.package.replace(".", "/")


def in_snake_case(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) is not None


def in_pascal_case(name: str) -> bool:
    return re.fullmatch(r"([A-Z][a-z0-9]+)+", name) is not None


def test_messages_and_fields_are_named_as_usual(file: FileDescriptorProto) -> None:
    messages: list[DescriptorProto] = list(file.message_type)
    assert all(in_pascal_case(message.name) for message in messages)
    assert [field.name for message in messages for field in message.field if not in_snake_case(field.name)] == []
    for message in messages:
        assert [field.number for field in message.field] == list(range(1, len(message.field) + 1)), message.name


def test_enums_are_named_as_usual_and_begin_with_unspecified(file: FileDescriptorProto) -> None:
    enums: list[EnumDescriptorProto] = list(file.enum_type)
    assert enums or file.name == "dorian/v1/admin.proto"
    for enum in enums:
        prefix = re.sub(r"(?<!^)([A-Z])", r"_\1", enum.name).upper()
        assert (enum.value[0].name, enum.value[0].number) == (f"{prefix}_UNSPECIFIED", 0)
        assert all(value.name.startswith(f"{prefix}_") for value in enum.value)


def test_rpcs_have_requests_and_responses_of_their_own(file: FileDescriptorProto) -> None:
    (service,) = file.service
    assert service.name == "".join(word.title() for word in Path(file.name).stem.split("_"))
    for rpc in service.method:
        assert in_pascal_case(rpc.name)
        assert rpc.input_type == f".dorian.v1.{rpc.name}Request"
        assert rpc.output_type == f".dorian.v1.{rpc.name}Response"
