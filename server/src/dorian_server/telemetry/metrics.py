"""Metrics for Prometheus, on a port of their own. Names and labels of the calls' are those of go-grpc-prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from dorian_bundle import Bundle
from dorian_server.domain.errors import StartupError
from dorian_server.telemetry.metrics_listener import OPEN, Access, listening

_CALL = ("grpc_type", "grpc_service", "grpc_method")
_CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH_SECONDS = (0.0005, 0.001, 0.0025, *_CALL_SECONDS[:-2])
_ROWS = (1, 2, 4, 8, 16, 32)
_STAGE_SECONDS = (0.0005, 0.001, 0.0025, *_CALL_SECONDS)


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
            buckets=_CALL_SECONDS,
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
    def served(self, host: str, port: int, access: Access = OPEN) -> Iterator[int]:
        """Answer Prometheus for the time of the context.

        Args:
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            access: Who may read the metrics.

        Yields:
            The port.

        Raises:
            StartupError: The port is taken, or there is no such address.
        """
        with ExitStack() as stack:
            try:
                answered = stack.enter_context(listening(host, port, self.registry, access, self.count_rejection))
            except OSError as error:
                raise StartupError(f"cannot serve metrics on {host}:{port}: {error}") from error
            yield answered


class QueueMetrics:
    """The queue of requests; a ``dorian_server.admission.queue.QueueWatch``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Gauge("dorian_queue_requests", "Requests that wait to begin.", registry=registry)
        self._seconds = Gauge("dorian_queue_seconds", "Work that waits, in seconds of this machine.", registry=registry)
        self._working = Gauge("dorian_working_requests", "Requests that are worked on.", registry=registry)
        self._waited = Histogram(
            "dorian_queue_wait_seconds",
            "Seconds that a request waited to begin.",
            buckets=_CALL_SECONDS,
            registry=registry,
        )

    def waiting(self, requests: int, seconds: float) -> None:
        self._requests.set(requests)
        self._seconds.set(seconds)

    def working(self, requests: int) -> None:
        self._working.set(requests)

    def waited(self, seconds: float) -> None:
        self._waited.observe(seconds)


class BatchMetrics:
    """The batches of all graphs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._jobs = Gauge("dorian_graph_queue", "Runs of a graph that wait for it.", ("graph",), registry=registry)
        self._rows = Histogram("dorian_batch_rows", "Rows of a batch.", ("graph",), buckets=_ROWS, registry=registry)
        self._waits = Histogram(
            "dorian_batch_wait_seconds",
            "Seconds that a run of a graph waited for it.",
            ("graph",),
            buckets=_BATCH_SECONDS,
            registry=registry,
        )

    def of(self, graph: str) -> GraphMetrics:
        """Return the metrics of one graph."""
        return GraphMetrics(self._jobs.labels(graph), self._rows.labels(graph), self._waits.labels(graph))


class GraphMetrics:
    """The batches of one graph; a ``dorian_server.runtimes.batcher.BatchWatch``."""

    def __init__(self, jobs: Gauge, rows: Histogram, waits: Histogram) -> None:
        self._jobs, self._rows, self._waits = jobs, rows, waits

    def queued(self, jobs: int) -> None:
        self._jobs.set(jobs)

    def ran(self, rows: int, waits: Sequence[float]) -> None:
        self._rows.observe(rows)
        for seconds in waits:
            self._waits.observe(seconds)
