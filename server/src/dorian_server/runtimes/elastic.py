"""A graph opened twice: on all cores for a run that is alone, on one thread for runs that share them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dorian_bundle.graphs import Array, Signature
from dorian_server.runtimes.session import Session


class RunCounter:
    """Counts the runs in progress, of whatever graphs; safe to share between threads."""

    def __init__(self) -> None:
        self._runs = 0
        self._lock = threading.Lock()

    @contextmanager
    def count(self) -> Iterator[bool]:
        """Count a run for the time of the context, which gets whether the run is alone when it begins."""
        with self._lock:
            is_alone = self._runs == 0
            self._runs += 1
        try:
            yield is_alone
        finally:
            with self._lock:
                self._runs -= 1


class ElasticSession:
    """A session that is wide when alone, and narrow in company.

    Threads of one run wait for one another; runs side by side do not, and get more done together.

    Args:
        wide: The graph on many threads, for a run that is alone.
        narrow: The graph on one thread, for the others; ``wide`` again where a second copy is not worth its memory.
        counter: Counts the runs of all graphs.
    """

    def __init__(self, wide: Session, narrow: Session, counter: RunCounter) -> None:
        self._wide, self._narrow, self._counter = wide, narrow, counter

    @property
    def signature(self) -> Signature:
        return self._wide.signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with self._counter.count() as is_alone:
            return (self._wide if is_alone else self._narrow).run(inputs)
