"""Callers who call a server all the time, each over a connection of its own, and what becomes of their calls."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub

SECONDS = 60
# Without retries, and without sharing connections.
_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]


@dataclass(frozen=True)
class Outcome:
    """A call by its id: the hash of the bundle that answered it, or the status that it failed with, and its message."""

    id: str
    bundle: str = ""
    failure: str = ""
    message: str = ""


class Callers(AbstractContextManager["Callers", None]):
    """``number`` of them, each of whom asks for the faces of ``photo`` again and again until a call fails, or the context ends."""

    def __init__(self, address: str, photo: bytes, number: int) -> None:
        self._address, self._request = address, pb.DetectFacesRequest(image=pb.Image(data=photo))
        self._outcomes: list[list[Outcome]] = [[] for _ in range(number)]
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(caller,)) for caller in range(number)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def join(self) -> None:
        """Returns when all have stopped."""
        for thread in self._threads:
            thread.join()

    @property
    def outcomes(self) -> list[list[Outcome]]:
        """Those of each caller, in their order."""
        with self._changed:
            return [list(outcome) for outcome in self._outcomes]

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcomes in self.outcomes for outcome in outcomes if outcome.failure]

    def wait_until(self, holds: Callable[[list[Outcome]], bool]) -> None:
        """Returns once it holds for every caller; not if a call fails."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: (
                    all(map(holds, self._outcomes))
                    or any(outcome and outcome[-1].failure for outcome in self._outcomes)
                ),
                SECONDS,
            ), "they were not answered in time"
        assert self.failures == []

    def _call(self, caller: int) -> None:
        with grpc.insecure_channel(self._address, _OPTIONS) as channel:
            for number in itertools.count():
                if self._over.is_set() or not self._call_once(FaceAgingStub(channel), caller, f"{caller}-{number}"):
                    return

    def _call_once(self, stub: FaceAgingStub, caller: int, name: str) -> bool:
        try:
            answer = stub.DetectFaces(self._request, metadata=(("x-request-id", name),), timeout=SECONDS)
            outcome = Outcome(name, answer.provenance.bundle_sha256)
        except grpc.RpcError as error:
            outcome = Outcome(name, failure=error.code().name, message=error.details())
        with self._changed:
            self._outcomes[caller].append(outcome)
            self._changed.notify_all()
        return not outcome.failure
