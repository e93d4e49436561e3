"""The fake server: its lifecycle, around the servicer and its behaviour."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType

import grpc

from dorian.v1.admin_pb2_grpc import add_AdminServicer_to_server
from dorian.v1.face_aging_pb2_grpc import add_FaceAgingServicer_to_server
from dorian_client._channel import MAX_MESSAGE_BYTES
from dorian_client.testing._behaviour import Behaviour
from dorian_client.testing._servicer import FakeServicer

_THREADS = 32


@dataclass(kw_only=True, eq=False)
class FakeServer(Behaviour):
    """A server for tests: real gRPC on a free local port, without networks. A context manager.

    It finds the same faces in every photo. Ageing inverts the photo's colours and writes the target's index into the red of
    the top left pixel, so that pictures differ; a latent search does the same to the face's crop, with the step's number,
    and mixing to the photo, with the number of references.
    Names of methods, age groups, filters and bundles that it does not have are rejected as by a real server. All attributes
    may be changed while it serves.

    Attributes:
        faces: The faces of every photo, by default two: one of 32 by 40 pixels at (8, 4), one of 12 by 14 at (50, 6).
        methods: The methods, by default "inverter", which does everything, "other", which has fewer age groups and no latent
            search but mixes styles, and "painter", which has the filters "young" and "old" only.
        bundles: Names of the bundles; all have the same methods.
        changed_bundles: Names of the bundles that differ after a reload.
        unusable_faces: Indices of faces that cannot be processed; their reports have the error FACE_UNUSABLE.
        similarity: Similarity of any two faces that are compared; one person's from 0.4375.
        years_apart: How many years apart real photographs with any similarity are; None for a server that does not know.
        warnings: Warnings in the reports of faces that are changed, by the face's index.
        workers: Calls that it says to work on at once.
        capacity: Calls that may be open at once, but for ListMethods; others are rejected as QUEUE_FULL, to be retried after
            0.05 s. None for no such bound.
        delay: Seconds that each call takes; a call that the client ends takes no longer.
        pause_after: Step of a latent search after which it stops and waits until the client ends it; None for never.
        on_response: Called with each response before it is sent; returns what is sent instead, or None to skip a response
            of a latent search. For responses that the fake does not make, such as those of a faulty server.
        requests: The requests received, as messages of `dorian.v1.face_aging_pb2` and `dorian.v1.admin_pb2`.
        metadata: The metadata of each request.
        seconds_left: The time that the client gave each request; None if it gave no timeout.
        most_calls: The most calls that were open at once.
        search_cancelled: Set when the client ended a latent search before its result.
        port: The port to serve; 0 for a free one.
        credentials: TLS credentials, as `grpc.ssl_server_credentials` makes them; None for an unencrypted server.
        max_message_bytes: Largest request, in bytes.

    Example:
        >>> with FakeServer() as server, Client(server.address) as client:
        ...     client.age("portrait.png", [20, "60+"])
        ...     assert [target.years for target in server.requests[0].targets] == [20, 0]
        >>> with FakeServer(unusable_faces={1}) as server, Client(server.address) as client:
        ...     assert client.age("wedding.png", 60).photos[0].faces[1].error.reason == "FACE_UNUSABLE"
    """

    port: int = 0
    credentials: grpc.ServerCredentials | None = None
    max_message_bytes: int = MAX_MESSAGE_BYTES
    _server: grpc.Server | None = field(default=None, init=False, repr=False)

    @property
    def address(self) -> str:
        """The address for `Client`; the port is known once the server has started."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> FakeServer:
        """Start to serve.

        Raises:
            RuntimeError: The port cannot be served, or the server has started already.
        """
        if self._server is not None:
            raise RuntimeError("the fake server has started already")
        options = [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
        server = grpc.server(ThreadPoolExecutor(_THREADS), options=options)
        if self.credentials is None:
            self.port = server.add_insecure_port(self.address)
        else:
            self.port = server.add_secure_port(self.address, self.credentials)
        servicer = FakeServicer(self)
        add_FaceAgingServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
        add_AdminServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
        server.start()
        self._server = server
        return self

    def stop(self) -> None:
        """Stop at once, and end the calls in progress; stopping twice does no harm."""
        if self._server is not None:
            self._server.stop(None).wait()

    def __enter__(self) -> FakeServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
