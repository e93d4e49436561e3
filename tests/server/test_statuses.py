"""The reasons of errors and their statuses are those that the contract documents."""

from __future__ import annotations

import grpc

from dorian_server.domain.errors import Reason
from dorian_server.rpc.statuses import STATUS_CODES
from tests.contract import documented_statuses


def test_reasons_and_their_statuses_are_those_of_the_contract() -> None:
    assert {str(reason): code.name for reason, code in STATUS_CODES.items()} == documented_statuses()
    assert set(STATUS_CODES) == set(Reason)
    assert STATUS_CODES[Reason.INTERNAL] is grpc.StatusCode.INTERNAL
