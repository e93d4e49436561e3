"""A graph opened twice: on all cores for one who is alone, on one thread for those who share them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dorian_bundle.graphs import Array, Signature
from dorian_server.runtimes.session import Session


class Company:
    """How many runs, of whatever graphs, are under way; safe to share between threads."""

    def __init__(self) -> None:
        self._runs = 0
        self._lock = threading.Lock()

    @contextmanager
    def joined(self) -> Iterator[bool]:
        """A run for the time of the context, which is told whether it began alone."""
        with self._lock:
            alone = self._runs == 0
            self._runs += 1
        try:
            yield alone
        finally:
            with self._lock:
                self._runs -= 1


class ElasticSession:
    """``wide``, on many threads, while nobody else of ``company`` runs, and ``narrow``, on one, while others do.

    Threads of one run wait for one another; runs side by side do not, so that together they get more done.
    """

    def __init__(self, wide: Session, narrow: Session, company: Company) -> None:
        self._wide, self._narrow, self._company = wide, narrow, company

    @property
    def signature(self) -> Signature:
        return self._wide.signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with self._company.joined() as alone:
            return (self._wide if alone else self._narrow).run(inputs)
