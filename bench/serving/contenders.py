"""The contenders, and the setups of each; of several setups the fastest counts, for each number of callers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.serving.results import LIMIT, NETWORKS
from bench.serving.task import BUNDLE, ROOT, PeerSettings

CORES = len(os.sched_getaffinity(0))
AT_ONCE = CORES  # what the server's --workers is by default
SERVE = ROOT / ".venv-serve"
_PACKAGE = "bench.serving"
_AS_SHIPPED = PeerSettings(1, AT_ONCE, 0)


@dataclass(frozen=True)
class Setup:
    """One way to run a contender: ``arguments`` for the Python of ``environment``, called by ``protocol`` at ``path``.

    In the arguments, ``{port}`` stands for the port. Without a protocol it loads itself, and is told how by lines.
    """

    words: str
    environment: Path
    arguments: tuple[str, ...]
    settings: PeerSettings = _AS_SHIPPED
    protocol: str = ""
    path: str = ""


@dataclass(frozen=True)
class Contender:
    """``requirements``: the file that its environment is made from, ``None`` for the server's own. ``callers``: those alone, if any."""

    name: str
    setups: tuple[Setup, ...]
    requirements: Path | None = None
    callers: tuple[int, ...] = ()


def _alone(part: str, at_once: int, threads: int) -> Setup:
    words = f"{_requests(at_once)} at once, {_threads(threads)}"
    return Setup(words, SERVE, ("-m", f"{_PACKAGE}.in_process", part, str(at_once), str(threads)))


def _server(*flags: str) -> Setup:
    words = " ".join(flags) or "as it ships"
    arguments = ("-m", "dorian_server", "--bundle", str(BUNDLE), "--host", "127.0.0.1", "--port", "{port}", *flags)
    return Setup(words, SERVE, arguments, protocol="grpc")


def _peer(name: str, short: str, protocol: str, path: str, at_once: int) -> Contender:
    """A peer as one process with all cores for each graph, and as one process a core, in all of them ``at_once`` requests."""
    setups = []
    for processes in (1, CORES):
        settings = PeerSettings(processes, max(1, at_once // processes), 0 if processes == 1 else 1)
        scope = " in each" if processes > 1 else ""
        words = f"{_processes(processes)}, {_requests(settings.at_once)} at once{scope}, {_threads(settings.threads)}"
        setups.append(Setup(words, _environment(short), _module(short), settings, protocol, path))
    return Contender(name, tuple(setups), _requirements(short))


def _instances(number: int, threads: int) -> Setup:
    """PyTriton's instances are threads of one process."""
    settings, path = PeerSettings(1, number, threads), "/v2/models/ageing/infer"
    words = f"{number} instances, {_threads(threads)}"
    return Setup(words, _environment("pytriton"), _module("pytriton"), settings, "triton", path)


def _environment(short: str) -> Path:
    return ROOT / f".venv-bench-{short}"


def _module(short: str) -> tuple[str, ...]:
    return "-m", f"{_PACKAGE}.peers.on_{short}"


def _requirements(short: str) -> Path:
    return ROOT / "requirements" / f"bench-{short}.txt"


def _requests(number: int) -> str:
    return "1 request" if number == 1 else f"{number} requests"


def _processes(number: int) -> str:
    return "1 process" if number == 1 else f"{number} processes"


def _threads(number: int) -> str:
    return {0: "a thread per core", 1: "1 thread"}.get(number, f"{number} threads")


_AIO = Setup(
    f"1 process, {AT_ONCE} requests at once, a thread per core",
    SERVE,
    _module("grpc_aio"),
    protocol="grpc",
)

_PROCESSES = ("--processes", str(CORES))

CONTENDERS = (
    Contender(
        LIMIT,
        (_alone("whole", CORES, 0), _alone("whole", 2 * CORES, 0), _alone("whole", CORES, 1), _alone("whole", 1, 0)),
    ),
    Contender("dorian", (_server(),)),
    Contender("dorian, long queue", (_server("--max-wait", "600"),)),
    Contender(
        f"dorian, {CORES} processes",
        (_server(*_PROCESSES, "--max-wait", "600"), _server(*_PROCESSES, "--threads", "1", "--max-wait", "600")),
    ),
    Contender("grpc.aio", (_AIO,)),
    _peer("mosec", "mosec", "http", "/inference", 1),
    _peer("LitServe", "litserve", "http", "/predict", 1),
    _peer("BentoML", "bentoml", "http", "/age", AT_ONCE),
    _peer("Ray Serve", "ray", "http", "/", AT_ONCE),
    Contender("PyTriton", (_instances(AT_ONCE, 0), _instances(CORES, 1)), _requirements("pytriton")),
    Contender(NETWORKS, (_alone("networks", 1, 0),), callers=(1,)),
)
