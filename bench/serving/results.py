"""Results of the bench: plain data, stored as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

LIMIT = "in process"
NETWORKS = "one face: networks' part"


@dataclass(frozen=True)
class Window:
    """One contender under load for one window of time. ``p50`` and ``p99`` in seconds, of requests from their first try on.

    ``cpu`` and ``client_cpu``: seconds of processor per request, of the contender and of the process that loads it (0: the same
    process). ``memory``: bytes that the contender's processes take, what they share counted once.
    ``others``: the share of the cores that other processes of the machine took meanwhile.
    """

    requests: int
    rate: float
    p50: float
    p99: float
    cpu: float
    client_cpu: float
    memory: float
    refusals: int
    others: float


@dataclass
class Result:
    """One way to set up a contender: its medians by callers, or the ``failure`` that kept it from being measured.

    ``difference``: the largest difference of its pictures from the limit's, in grey levels, and in how many pixels there is one.
    """

    name: str
    set_up: str
    figures: dict[int, Window] = field(default_factory=dict)
    difference: tuple[int, int] = (0, 0)
    failure: str = ""


@dataclass(frozen=True)
class Run:
    """All of a run: ``results`` in the order of their contenders, a description of the ``machine``, windows of ``seconds``, ``rounds``."""

    machine: str
    cores: int
    seconds: float
    rounds: int
    results: list[Result]


def write_run(run: Run, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(run), indent=1) + "\n")


def read_run(file: Path) -> Run:
    stored = json.loads(file.read_text())
    for result in stored["results"]:
        result["figures"] = {int(callers): Window(**window) for callers, window in result["figures"].items()}
        result["difference"] = tuple(result["difference"])
    return Run(**stored | {"results": [Result(**result) for result in stored["results"]]})
