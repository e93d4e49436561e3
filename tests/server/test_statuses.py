"""The reasons of errors and their statuses are those that the contract documents."""

from __future__ import annotations

import re
from pathlib import Path

import grpc

from dorian_server.domain.errors import Reason
from dorian_server.rpc.statuses import STATUS_CODES

PROTO = Path(__file__).resolve().parents[2] / "proto" / "dorian" / "v1"


def documented(name: str, heading: str) -> dict[str, str]:
    """The status of each reason in the comment at the head of the proto ``name``."""
    table = (PROTO / name).read_text(encoding="utf-8").partition(heading)[2].partition("Metadata that")[0]
    statuses, status = {}, ""
    for line in re.findall(r"^//   (.*)$", table.partition("syntax")[0], re.MULTILINE):
        first, _, rest = line.partition(" ")
        status = first or status
        for reason in re.findall(r"\b[A-Z][A-Z_]{3,}\b", re.sub(r"\([^)]*\)?", "", rest)):
            statuses[reason] = status
    return statuses


def test_reasons_and_their_statuses_are_those_of_the_contract() -> None:
    contract = documented("face_aging.proto", "The reasons:") | documented("admin.proto", "with these reasons:")
    assert {str(reason): code.name for reason, code in STATUS_CODES.items()} == contract
    assert set(STATUS_CODES) == set(Reason)
    assert STATUS_CODES[Reason.INTERNAL] is grpc.StatusCode.INTERNAL
