"""Time spent on a request, by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field


def _no_span(name: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(eq=False)
class Clock:
    """Times the stages of one request.

    Args:
        span: Opens a trace's span for a stage, by its name.
        seconds: Seconds spent so far, by stage.
        faces: How many faces are worked on, once it is known.
    """

    span: Callable[[str], AbstractContextManager[None]] = _no_span
    seconds: dict[str, float] = field(default_factory=dict)
    stage_name: str = ""
    entered: float = 0.0
    faces: int | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time within the context to stage ``name``."""
        start = time.perf_counter()
        before, self.stage_name, self.entered = self.stage_name, name, start
        try:
            with self.span(name):
                yield
        finally:
            self.stage_name, self.entered = before, time.perf_counter()
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
