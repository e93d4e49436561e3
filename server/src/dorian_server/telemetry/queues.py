"""Metrics of the two queues: that of requests, and that of each graph."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, Histogram

CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH_SECONDS = (0.0005, 0.001, 0.0025, *CALL_SECONDS[:-2])
_ROWS = (1, 2, 4, 8, 16, 32)


class QueueMetrics:
    """The queue of requests; a ``dorian_server.admission.queue.QueueWatch``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Gauge("dorian_queue_requests", "Requests that wait to begin.", registry=registry)
        self._seconds = Gauge("dorian_queue_seconds", "Work that waits, in seconds of this machine.", registry=registry)
        self._working = Gauge("dorian_working_requests", "Requests that are worked on.", registry=registry)
        self._waited = Histogram(
            "dorian_queue_wait_seconds",
            "Seconds that a request waited to begin.",
            buckets=CALL_SECONDS,
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
