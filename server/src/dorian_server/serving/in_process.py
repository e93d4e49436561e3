"""The service in this process, without a server: requests go to the same handlers, and nothing listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian_server.admission.queue import Admission
from dorian_server.rpc.call import AbortError, Call
from dorian_server.serving.bundles import Bundles, open_bundle
from dorian_server.serving.service import FaceAgingService
from dorian_server.serving.work_watch import WorkWatch
from dorian_server.settings import Settings
from dorian_server.telemetry.telemetry import Telemetry


class InProcessService:
    """Answers requests as a server with the same settings would, one at a time; close it at the end.

    Args:
        settings: What to serve, and how. Those of the port, of callers and of observability have no meaning.
        on_overdue: Called when the decoding of a photo takes longer than it may: it cannot be ended but with the process.

    Raises:
        StartupError: The bundle or the runtime cannot be used.
    """

    def __init__(self, settings: Settings, on_overdue: Callable[[], None]) -> None:
        telemetry = Telemetry()
        bundles = Bundles(
            settings.bundle, settings.extra_bundles, lambda bundle: open_bundle(bundle, settings, telemetry.metrics)
        )
        bundles.open()
        self._pools = ThreadPoolExecutor(1, "work"), ThreadPoolExecutor(1, "long work")
        self._watch = WorkWatch(1, settings.limits.decode_timeout, lambda are_stuck: None, on_overdue)
        self._service = FaceAgingService(bundles, Admission(1), *self._pools, telemetry, self._watch)
        self._watch.start()

    def age(self, request: pb.AgeTransformRequest) -> pb.AgeTransformResponse:
        """Return the photo with its faces at each target.

        Raises:
            grpc.aio.AioRpcError: What the call would end with, with the same status and details.
        """
        call = Call(cast(Any, _NoTransport()), ())
        try:
            return self._service.AgeTransform(request, call)
        except AbortError:
            raise _error_of(call) from None
        finally:
            call.close()

    def close(self) -> None:
        """End its threads."""
        self._watch.close()
        for pool in self._pools:
            pool.shutdown()


class _NoTransport:
    """What a call asks of its connection, where there is none."""

    def time_remaining(self) -> None:
        """Return that there is no deadline."""

    def peer(self) -> str:
        return "this process"

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {}


def _error_of(call: Call) -> grpc.aio.AioRpcError:
    trailers = grpc.aio.Metadata(*call.trailing_metadata())
    return grpc.aio.AioRpcError(
        call.code() or grpc.StatusCode.UNKNOWN, grpc.aio.Metadata(), trailers, call.details(), ""
    )
