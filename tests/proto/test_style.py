"""What `buf lint` does not check of the contract: comments are sentences, and field numbers have no gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

FILES = ["dorian/v1/admin.proto", "dorian/v1/face_aging.proto"]


@pytest.fixture(scope="module")
def files(protoc: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileDescriptorProto]:
    """Return the contract's files as protoc reads them, with their comments, by name."""
    path = tmp_path_factory.mktemp("descriptors") / "set.pb"
    protoc("--include_source_info", f"--descriptor_set_out={path}")
    return {file.name: file for file in FileDescriptorSet.FromString(path.read_bytes()).file}


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest, files: dict[str, FileDescriptorProto]) -> FileDescriptorProto:
    return files[request.param]


def elements(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield every message, field, enum, value, service and RPC: its path in the descriptor, and its full name."""
    for m, message in enumerate(file.message_type):
        yield (4, m), message.name
        assert not message.enum_type, "nested enums are not checked here"
        assert not message.nested_type, "nested messages are not checked here"
        yield from (((4, m, 2, f), f"{message.name}.{field.name}") for f, field in enumerate(message.field))
    for e, enum in enumerate(file.enum_type):
        yield (5, e), enum.name
        yield from (((5, e, 2, v), f"{enum.name}.{value.name}") for v, value in enumerate(enum.value))
    for s, service in enumerate(file.service):
        yield (6, s), service.name
        yield from (((6, s, 2, r), f"{service.name}.{rpc.name}") for r, rpc in enumerate(service.method))


def test_no_file_is_left_out(files: dict[str, FileDescriptorProto]) -> None:
    assert sorted(files) == FILES
    assert sum(len(list(elements(file))) for file in files.values()) > 100


def test_every_comment_is_a_sentence(file: FileDescriptorProto) -> None:
    comments = {tuple(location.path): location.leading_comments.strip() for location in file.source_code_info.location}
    names = dict(elements(file))
    assert names
    assert [name for path, name in names.items() if len(comments.get(path, "")) < 5] == []
    assert [name for path, name in names.items() if not comments[path].endswith((".", '").'))] == []


def test_field_numbers_have_no_gaps(file: FileDescriptorProto) -> None:
    for message in file.message_type:
        assert [field.number for field in message.field] == list(range(1, len(message.field) + 1)), message.name
