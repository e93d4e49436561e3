"""What a server counts and traces, and the clock that requests are timed by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dorian_server.domain.clock import Clock
from dorian_server.telemetry.metrics import Metrics
from dorian_server.telemetry.traces import Traces


@dataclass(frozen=True)
class Telemetry:
    """Metrics, which are always counted, and traces where they are sent somewhere."""

    metrics: Metrics = field(default_factory=Metrics)
    traces: Traces | None = None

    @contextmanager
    def clock(self) -> Iterator[Clock]:
        """Time one request; its stages are counted when it ends, however it ends."""
        clock = Clock(self.traces.stage) if self.traces else Clock()
        try:
            yield clock
        finally:
            self.metrics.count_stages(clock.seconds)
