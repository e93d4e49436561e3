"""A contender's turn: started, warmed up, loaded in one window after the other, stopped."""

from __future__ import annotations

import base64
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from bench.serving.contenders import SERVE, Setup
from bench.serving.figures import percentile
from bench.serving.load import Load
from bench.serving.processes import NotServingError, Tree
from bench.serving.results import Window

_START = 180.0  # seconds until it must have answered
_WARM_CALLERS, _WARM_SECONDS = 8, 1.0


class Turn:
    """A contender that answers, and the process that loads it, which may be the same."""

    def __init__(self, tree: Tree, loader: Tree) -> None:
        self._tree, self._loader = tree, loader

    def window(self, callers: int, seconds: float) -> tuple[Window, list[bytes]]:
        """What ``callers`` saw, and the different pictures that came. ``NotServingError`` if it fails."""
        before, busy = self._tree.cpu_seconds(), _busy_seconds()
        self._loader.write_line(f"{callers} {seconds}")
        load = Load(**json.loads(self._loader.read_line()))
        cpu, requests = self._tree.cpu_seconds() - before, len(load.latencies)
        client_cpu = 0.0 if self._loader is self._tree else load.cpu
        others = max(0.0, _busy_seconds() - busy - cpu - client_cpu)
        window = Window(
            requests=requests,
            rate=requests / load.elapsed,
            p50=percentile(load.latencies, 0.5),
            p99=percentile(load.latencies, 0.99),
            cpu=cpu / requests,
            client_cpu=client_cpu / requests,
            memory=self._tree.memory(),
            refusals=load.refusals,
            others=others / (load.elapsed * psutil.cpu_count()),
        )
        return window, [base64.b64decode(picture) for picture in load.pictures]


@contextmanager
def turn(setup: Setup) -> Iterator[Turn]:
    """Start ``setup``, and stop it in the end. ``NotServingError`` if it does not start."""
    port = _free_port()
    command = [str(setup.environment / "bin" / "python"), *(part.format(port=port) for part in setup.arguments)]
    tree = Tree(command, setup.settings.environment(port), talks=not setup.protocol)
    loader = tree
    try:
        if setup.protocol:
            module = ("-m", "bench.serving.over_network")
            address = f"127.0.0.1:{port}{setup.path}"
            loader = Tree([str(SERVE / "bin" / "python"), *module, setup.protocol, address], {}, talks=True)
        _await_ready(tree, loader)
        begun = Turn(tree, loader)
        begun.window(_WARM_CALLERS, _WARM_SECONDS)
        yield begun
    finally:
        for process in dict.fromkeys((loader, tree)):
            process.stop()


def _await_ready(tree: Tree, loader: Tree) -> None:
    deadline = time.monotonic() + _START
    while not select.select([loader], [], [], 0.2)[0]:
        if not tree.runs:
            raise NotServingError(tree.complaint())
        if time.monotonic() > deadline:
            raise NotServingError(f"no answer within {_START:g} s: {tree.complaint()}")
    loader.read_line()


def _busy_seconds() -> float:
    """Of all cores of the machine, since it started."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice  # guests' time is in user's too


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
