"""Time spent on a request, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field


def _no_span(name: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass
class Clock:
    """Seconds spent, by stage. ``span`` opens what a stage is traced in."""

    span: Callable[[str], AbstractContextManager[None]] = _no_span
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            with self.span(name):
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
