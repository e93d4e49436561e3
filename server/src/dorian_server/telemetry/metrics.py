"""Metrics for Prometheus, on a port of their own. Names and labels of the calls' are those of go-grpc-prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from dorian_bundle import Bundle
from dorian_server.domain.errors import StartupError
from dorian_server.telemetry.queues import CALL_SECONDS, BatchMetrics, QueueMetrics

_CALL = ("grpc_type", "grpc_service", "grpc_method")
_STAGE_SECONDS = (0.0005, 0.001, 0.0025, *CALL_SECONDS)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.started = Counter("grpc_server_started", "Calls begun.", _CALL, registry=self.registry)
        self.handled = Counter(
            "grpc_server_handled", "Calls ended, by status.", (*_CALL, "grpc_code"), registry=self.registry
        )
        self.seconds = Histogram(
            "grpc_server_handling_seconds",
            "Seconds from begin to end of a call.",
            _CALL,
            buckets=CALL_SECONDS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "dorian_stage_seconds",
            "Seconds of a request in a stage.",
            ("stage",),
            buckets=_STAGE_SECONDS,
            registry=self.registry,
        )
        self.rejected = Counter(
            "dorian_refused", "Calls rejected before any work, by reason.", ("reason",), registry=self.registry
        )
        names = ("served_as", "name", "version", "sha256")
        self._bundles = Gauge("dorian_bundle_info", "1 for each bundle that is served.", names, registry=self.registry)
        self.queue = QueueMetrics(self.registry)
        self.batches = BatchMetrics(self.registry)

    def set_bundles(self, bundles: Mapping[str, Bundle]) -> None:
        """Report which bundles are served, by the names that requests have for them, and no others."""
        self._bundles.clear()
        for name, bundle in bundles.items():
            self._bundles.labels(name, bundle.manifest.name, bundle.manifest.version, bundle.sha256).set(1)

    def count_stages(self, seconds: Mapping[str, float]) -> None:
        """Count the seconds of a request by stage."""
        for stage, spent in seconds.items():
            self.stages.labels(stage).observe(spent)

    def count_rejection(self, reason: str) -> None:
        """Count a call that was rejected for ``reason``."""
        self.rejected.labels(reason).inc()

    @contextmanager
    def served(self, host: str, port: int) -> Iterator[int]:
        """Answer Prometheus for the time of the context.

        Args:
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.

        Yields:
            The port.

        Raises:
            StartupError: The port is taken.
        """
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise StartupError(f"cannot serve metrics on {host}:{port}: {error}") from error
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
