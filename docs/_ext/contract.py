"""Writes the contract's reference page from the comments of proto/dorian/v1/*.proto.

A page with the line ``<!-- contract: admin.proto -->`` gets that file's comments in its place: services first, then messages
and enums in the file's order. `buf build` reads the files, so that the page shows what the compiler sees.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from sphinx.application import Sphinx

CONTRACT = Path(__file__).resolve().parents[2] / "proto"
MARKER = re.compile(r"^<!-- contract: (\S+) -->$", re.MULTILINE)
MESSAGE, ENUM, SERVICE = 4, 5, 6  # numbers of FileDescriptorProto's fields, which begin a location's path
CHILD, SYNTAX = 2, 12

Path_ = tuple[int, ...]
Comments = Mapping[Path_, str]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", insert_contract)
    return {"version": "1", "parallel_read_safe": True}


def insert_contract(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the markers of a page with the files that they name."""
    source[0] = MARKER.sub(lambda match: "\n".join(describe(match[1])), source[0])


@cache
def read_contract() -> Mapping[str, FileDescriptorProto]:
    """Return the contract's files with their comments, by file name."""
    buf = Path(sys.executable).with_name("buf")
    command = [str(buf), "build", str(CONTRACT), "-o", "-#format=binpb"]
    built = subprocess.run(command, check=True, capture_output=True)
    return {Path(file.name).name: file for file in FileDescriptorSet.FromString(built.stdout).file}


def describe(name: str) -> Iterator[str]:
    """Yield the lines of a file's reference, in MyST Markdown."""
    file = read_contract()[name]
    comments = {tuple(place.path): clean(place.leading_comments) for place in file.source_code_info.location}
    yield "```text"
    yield comments[(SYNTAX,)]
    yield "```"
    for index, service in enumerate(file.service):
        yield from describe_service(service, (SERVICE, index), comments)
    for index, message in enumerate(file.message_type):
        yield from describe_message(message, (MESSAGE, index), comments)
    for index, enum in enumerate(file.enum_type):
        yield from describe_enum(enum, (ENUM, index), comments)


def describe_service(service: ServiceDescriptorProto, path: Path_, comments: Comments) -> Iterator[str]:
    yield from heading(service.name, f"Service {service.name}", comments[path])
    yield from ("| RPC | takes | returns | meaning |", "|---|---|---|---|")
    for index, rpc in enumerate(service.method):
        response = ("a stream of " if rpc.server_streaming else "") + link(rpc.output_type)
        yield row(f"`{rpc.name}`", link(rpc.input_type), response, comments[(*path, CHILD, index)])
    yield ""


def describe_message(message: DescriptorProto, path: Path_, comments: Comments) -> Iterator[str]:
    yield from heading(message.name, message.name, comments[path])
    if not message.field:
        return
    yield from ("| field | type | meaning |", "|---|---|---|")
    for index, field in enumerate(message.field):
        yield row(f"`{field.name}` = {field.number}", type_of(field, message), comments[(*path, CHILD, index)])
    yield ""


def describe_enum(enum: EnumDescriptorProto, path: Path_, comments: Comments) -> Iterator[str]:
    yield from heading(enum.name, enum.name, comments[path])
    yield from ("| value | meaning |", "|---|---|")
    for index, value in enumerate(enum.value):
        yield row(f"`{value.name}` = {value.number}", comments[(*path, CHILD, index)])
    yield ""


def heading(label: str, title: str, comment: str) -> Iterator[str]:
    yield from ("", f"(contract-{label.lower()})=", f"### {title}", "", comment, "")


def row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def type_of(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    """Return a field's type with its label: repeated, optional, or the oneof that it belongs to."""
    if field.type_name:
        name = link(field.type_name)
    else:
        name = f"`{FieldDescriptorProto.Type.Name(field.type).removeprefix('TYPE_').lower()}`"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    if field.proto3_optional:
        return f"optional {name}"
    if field.HasField("oneof_index"):
        return f"{name}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return name


def link(type_name: str) -> str:
    name = type_name.rpartition(".")[2]
    return f"[{name}](#contract-{name.lower()})"


def clean(comment: str) -> str:
    """Return a comment without the space that follows each ``//``."""
    return "\n".join(line.removeprefix(" ") for line in comment.strip("\n").splitlines())
