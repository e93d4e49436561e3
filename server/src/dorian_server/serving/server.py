"""A server on its port: bundles, admission, services, health, and the ways to change or stop it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from dorian.v1 import admin_pb2_grpc, face_aging_pb2, face_aging_pb2_grpc
from dorian_server.admission.gate import Gate
from dorian_server.admission.queue import MOST_WAITING, Admission
from dorian_server.domain.errors import RequestError, StartupError
from dorian_server.rpc.health_service import SERVICE_NAME, Readiness
from dorian_server.runtimes.cores import share_of_cores
from dorian_server.security.authentication import load_authentication
from dorian_server.security.credentials import load_credentials
from dorian_server.serving.admin_service import ADMIN_SERVICE, AdminService
from dorian_server.serving.bundles import Bundles, ServedBundle
from dorian_server.serving.opening import open_bundle
from dorian_server.serving.service import FaceAgingService
from dorian_server.settings import Settings
from dorian_server.telemetry.calls import CallWatcher
from dorian_server.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

# Seconds in which callers are told that the server stops. Those who come while gRPC closes their connection are told CANCELLED.
_FAREWELL = 0.5
# Beside those that work and those that wait: calls that are refused, and health checks.
_SPARE_THREADS = 64
_QUEUED_METHODS = frozenset(
    f"/{SERVICE_NAME}/{method.name}"
    for method in face_aging_pb2.DESCRIPTOR.services_by_name["FaceAging"].methods
    if method.name != "ListMethods"
)


class Server:
    """A server that listens from the start, and takes calls once it is ``ready``. ``StartupError`` if it cannot.

    With ``shares_port`` it does not listen before it is ready: the others take the calls until then. ``on_reload`` is called when an
    operator has had bundles read anew, and is to have the others do the same.
    """

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        shares_port: bool = False,
        on_reload: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._telemetry = settings, telemetry
        metrics, load = telemetry.metrics, settings.load
        self._credentials = load_credentials(settings.security)
        self._shares_port, self._on_reload = shares_port, on_reload
        authentication = load_authentication(settings, metrics.refuse)
        self._bundles = Bundles(
            settings.bundle, settings.extra_bundles, lambda bundle: open_bundle(bundle, settings, metrics)
        )
        workers = load.workers or share_of_cores(load.processes)
        admission = Admission(workers, load.max_wait, metrics.queue)
        self._server = grpc.server(
            ThreadPoolExecutor(workers + MOST_WAITING + _SPARE_THREADS, thread_name_prefix="request"),
            options=[
                ("grpc.max_receive_message_length", settings.limits.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", int(shares_port)),
            ],
            interceptors=[CallWatcher(telemetry), *authentication, Gate(admission, _QUEUED_METHODS, metrics.refuse)],
        )
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="work")
        service = FaceAgingService(self._bundles, admission, self._workers, telemetry)
        face_aging_pb2_grpc.add_FaceAgingServicer_to_server(service, self._server)  # type: ignore[no-untyped-call]
        if settings.security.api_keys is not None:
            admin = AdminService(self._reload_everywhere)
            admin_pb2_grpc.add_AdminServicer_to_server(admin, self._server)  # type: ignore[no-untyped-call]
        self._readiness = Readiness()
        health_pb2_grpc.add_HealthServicer_to_server(self._readiness, self._server)
        if settings.security.reflection:
            names = [SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME]
            names += [ADMIN_SERVICE] if settings.security.api_keys is not None else []
            reflection.enable_server_reflection(names, self._server)
        self.port = settings.port
        if not shares_port:
            self._listen()

    def _listen(self) -> None:
        address = f"{self._settings.host}:{self._settings.port}"
        try:
            if self._credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise StartupError(f"cannot listen on {address}: {error}") from error
        self._server.start()

    def ready(self) -> None:
        """Open and warm the bundles, then take calls. ``StartupError`` if a bundle cannot be served."""
        self._bundles.open()
        self._tell_bundles()
        self._readiness.begin()
        if self._shares_port:
            self._listen()
        for name in self._bundles.names:
            manifest = self._bundles.pipeline(name).bundle.manifest
            methods = ", ".join(method.name for method in manifest.methods)
            log.info("serving %s %s (%s) on %s:%d", name, manifest.version, methods, self._settings.host, self.port)

    def reload(self, name: str = "") -> list[ServedBundle]:
        """Read the bundle ``name`` anew, or all for an empty name, as ``Bundles.reload``."""
        served = self._bundles.reload(name)
        self._tell_bundles()
        return served

    def reload_each(self) -> None:
        """Read every bundle anew, each by itself: one that is broken stays what it was, as the log says, and the others do not wait for it."""
        for name in self._bundles.names:
            with suppress(RequestError):
                self.reload(name)

    def _reload_everywhere(self, name: str) -> list[ServedBundle]:
        served = self.reload(name)
        self._on_reload()
        return served

    def stop(self, grace: float | None = None) -> None:
        """Take no more calls, let those that were taken end within ``grace`` seconds, and end the others. Returns when all have."""
        self._readiness.end()
        self._bundles.close()
        if grace:
            farewell = min(_FAREWELL, grace / 2)
            time.sleep(farewell)
            grace -= farewell
        self._server.stop(grace).wait()
        self._workers.shutdown(wait=False)

    def _tell_bundles(self) -> None:
        self._telemetry.metrics.tell_bundles(
            {name: self._bundles.pipeline(name).bundle for name in self._bundles.names}
        )


def start(
    settings: Settings,
    telemetry: Telemetry | None = None,
    shares_port: bool = False,
    on_reload: Callable[[], None] = lambda: None,
) -> Server:
    """A server that is ready, watched by ``telemetry``; with ``shares_port`` other processes may listen where it does. As ``Server``.

    ``StartupError`` if it cannot start.
    """
    server = Server(settings, telemetry or Telemetry(), shares_port, on_reload)
    try:
        server.ready()
    except BaseException:
        server.stop()
        raise
    return server
