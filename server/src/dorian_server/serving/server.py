"""A server on its port: bundles, admission, services and health, and how to reload and stop it."""

from __future__ import annotations

import gc
import logging
import threading
import time
import types
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from dorian.v1 import admin_pb2_grpc, face_aging_pb2_grpc
from dorian_bundle import Bundle
from dorian_server.admission.gate import Gate
from dorian_server.admission.memory import MEBIBYTE, MemoryBudget, available_memory
from dorian_server.admission.queue import MAX_WAITING, SEARCHES_PER_WORKER, Admission
from dorian_server.domain.errors import RequestError, StartupError
from dorian_server.rpc.call_details import ADMIN_SERVICE, FACE_AGING_SERVICE, METHODS
from dorian_server.rpc.event_loop import event_loop, run_on_loop
from dorian_server.rpc.front import Front
from dorian_server.rpc.health_service import HealthService
from dorian_server.rpc.receiving import HEALTH_PATIENCE, HEALTH_PLACES, Receiving
from dorian_server.runtimes.cores import share_of_cores
from dorian_server.security.authentication import load_authentication
from dorian_server.security.credentials import load_credentials
from dorian_server.serving.admin_service import AdminService
from dorian_server.serving.bundles import Bundles, LoadedBundle, open_bundle
from dorian_server.serving.service import FaceAgingService
from dorian_server.serving.work_watch import WorkWatch
from dorian_server.settings import Load, Settings
from dorian_server.telemetry.calls import CallWatcher
from dorian_server.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

# Seconds in which calls are answered with STOPPING. Those that arrive while gRPC closes their connection end with CANCELLED.
_FAREWELL = 0.5
# Seconds after the grace in which what was cancelled ends.
_LAST_WAIT = 0.4
# Beside those that work and those that wait: calls that are rejected, and health checks.
_SPARE_THREADS = 64
# Requests that are received at once, however little memory there is.
_MIN_RECEIVING = 4
# Calls of one connection that are open at once; what it begins beyond waits with the caller.
_MAX_STREAMS = 100


class Server:
    """A server that listens from the start, and takes calls once it is ``open``.

    Args:
        settings: How to serve.
        telemetry: What to count, trace and time calls with.
        shares_port: Whether other processes listen on the port. Then this one listens once it is open; the others take the calls
            until then.
        on_reload: Called when an operator has reloaded bundles, so that the other processes do the same.
        held: Bundles to open first, by their folders, in place of what the folders hold now.

    Raises:
        StartupError: The port, a certificate or the file of API keys cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        shares_port: bool = False,
        on_reload: Callable[[], None] = lambda: None,
        held: Mapping[Path, Bundle] = types.MappingProxyType({}),
    ) -> None:
        self._settings, self._telemetry = settings, telemetry
        self._shares_port, self._on_reload = shares_port, on_reload
        metrics, load = telemetry.metrics, settings.load
        self._credentials = load_credentials(settings.security)
        self._bundles = Bundles(
            settings.bundle, settings.extra_bundles, lambda bundle: open_bundle(bundle, settings, metrics), held
        )
        workers = load.workers or share_of_cores(load.processes)
        self._memory = _open_budget(load)
        admission = Admission(workers, load.max_wait, metrics.queue, memory=self._memory)
        authentication = load_authentication(settings, metrics.count_rejection)
        self._threads: list[threading.Thread] = []
        self._requests = self._open_pool("request", workers + MAX_WAITING + _SPARE_THREADS)
        self._workers = self._open_pool("work", workers)
        self._searchers = self._open_pool("long work", SEARCHES_PER_WORKER * workers)
        timeout = settings.limits.request_timeout
        self._receiving = Receiving(self._receiving_places(), timeout)
        self._receiving_checks = Receiving(HEALTH_PLACES, timeout, HEALTH_PATIENCE)
        self._front = Front(
            [CallWatcher(telemetry), *authentication, Gate(admission, metrics.count_rejection)],
            self._requests,
            self._receiving,
            self._receiving_checks,
        )
        self._server = run_on_loop(self._create(shares_port))
        self._health = HealthService()
        # Called when the process should be replaced, as a photo cannot be decoded and the decoding cannot be ended.
        self.on_overdue: Callable[[], None] = lambda: None
        self._watch = WorkWatch(
            workers, settings.limits.decode_timeout, self._health.set_stuck, lambda: self.on_overdue()
        )
        pools = self._workers, self._searchers
        self._add_services(FaceAgingService(self._bundles, admission, *pools, telemetry, self._watch))
        self.port = settings.port
        if not shares_port:
            self._listen()

    def _receiving_places(self) -> int:
        """Return how many requests are received at once: as many as may, but no more than there is memory for."""
        limits = self._settings.limits
        return max(_MIN_RECEIVING, min(limits.max_receiving, self._memory.for_messages // limits.max_message_bytes))

    def _open_pool(self, name: str, size: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(size, name, initializer=lambda: self._threads.append(threading.current_thread()))

    async def _create(self, shares_port: bool) -> grpc.aio.Server:
        options = [
            ("grpc.max_receive_message_length", self._settings.limits.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", _MAX_STREAMS),
            ("grpc.so_reuseport", int(shares_port)),
            # Callers may ping every 10 s, between calls as well.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 9_000),
        ]
        return grpc.aio.server(handlers=[self._front], options=options)

    def _add_services(self, service: FaceAgingService) -> None:
        security = self._settings.security
        names = [FACE_AGING_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME]
        face_aging_pb2_grpc.add_FaceAgingServicer_to_server(service, self._front)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._front)
        if security.api_keys is not None:
            admin = AdminService(self._reload_everywhere)
            admin_pb2_grpc.add_AdminServicer_to_server(admin, self._front)  # type: ignore[no-untyped-call]
            names.append(ADMIN_SERVICE)
        if security.reflection:
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
                reflection.ReflectionServicer(names), self._front
            )
        self._front.register(self._server, METHODS)

    def _listen(self) -> None:
        address = f"{self._settings.host}:{self._settings.port}"
        try:
            if self._credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise StartupError(f"cannot listen on {address}: {error}") from error
        run_on_loop(self._server.start())

    def open(self) -> None:
        """Open and warm the bundles, then take calls; ``StartupError`` if a bundle cannot be served."""
        self._bundles.open()
        self._report_bundles()
        self._memory.open()
        _spare_collections()
        self._health.set_ready()
        self._watch.start()
        if self._shares_port:
            self._listen()
        for name in self._bundles.names:
            manifest = self._bundles.pipeline(name).bundle.manifest
            methods = ", ".join(method.name for method in manifest.methods)
            log.info("serving %s %s (%s) on %s:%d", name, manifest.version, methods, self._settings.host, self.port)

    def reload(self, name: str = "") -> list[LoadedBundle]:
        """Load the bundle ``name`` again, or all for an empty name, as ``Bundles.reload`` does."""
        bundles = self._bundles.reload(name)
        self._report_bundles()
        _spare_collections()
        return bundles

    def reload_each(self) -> None:
        """Reload all bundles one by one: one that is broken stays what it was, as the log says, and the others do not."""
        for name in self._bundles.names:
            with suppress(RequestError):
                self.reload(name)

    def _reload_everywhere(self, name: str) -> list[LoadedBundle]:
        bundles = self.reload(name)
        self._on_reload()
        return bundles

    def stop(self, grace: float | None = None) -> bool:
        """Take no more calls, let those in progress finish within ``grace`` seconds, and cancel the others.

        Returns:
            Whether all has ended. What has not shortly after the grace, a thread or a connection, is left alone.
        """
        deadline = time.monotonic() + (grace or 0.0) + _LAST_WAIT
        self._health.close()
        self._bundles.close()
        self._watch.close()
        gc.unfreeze()
        if grace:
            farewell = min(_FAREWELL, grace / 2)
            time.sleep(farewell)
            grace -= farewell
        for receiving in (self._receiving, self._receiving_checks):
            event_loop().call_soon_threadsafe(receiving.close)
        has_closed = True
        try:
            run_on_loop(self._server.stop(grace), deadline - time.monotonic())
        except TimeoutError:
            has_closed = False
        for pool in (self._requests, self._workers, self._searchers):
            pool.shutdown(wait=False)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return has_closed and not any(thread.is_alive() for thread in self._threads)

    def _report_bundles(self) -> None:
        self._telemetry.metrics.set_bundles({name: self._bundles.pipeline(name).bundle for name in self._bundles.names})


def _spare_collections() -> None:
    """Have Python's garbage collector pass over all objects that there are, which stay.

    Else each full collection holds Python's lock, and so all callers, for the time that it looks at the libraries' objects.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _open_budget(load: Load) -> MemoryBudget:
    """Return this process's share of the memory that there is."""
    available = available_memory() if load.memory is None else load.memory * MEBIBYTE
    return MemoryBudget(available // load.processes)


def start(
    settings: Settings,
    telemetry: Telemetry | None = None,
    shares_port: bool = False,
    on_reload: Callable[[], None] = lambda: None,
    held: Mapping[Path, Bundle] = types.MappingProxyType({}),
) -> Server:
    """Return a server that takes calls; arguments and errors are those of ``Server`` and its ``open``."""
    server = Server(settings, telemetry or Telemetry(), shares_port, on_reload, held)
    try:
        server.open()
    except BaseException:
        server.stop()
        raise
    return server
