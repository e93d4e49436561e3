"""``python -m bench.load``: measures a server under load. Flags after ``--`` are the server's."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bench.load import fairness, killing, memory, overload, reloading, soak, starting
from bench.load.report import Report
from bench.load.server import Server, running

_SERVER_FLAGS = click.argument("flags", nargs=-1, type=click.UNPROCESSED)
Run = Callable[[Server], Coroutine[Any, Any, Report]]
_JSON = click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="File to write the figures to as well."
)


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.option("--client-nice", default=0, help="Niceness of the client process; the server keeps its own.")
@click.pass_context
def main(context: click.Context, client_nice: int) -> None:
    """Put a server under load and measure. The exit status is 1 if something is not as wanted.

    \b
    python -m bench.load overload --seconds 60 --json overload.json -- --workers 4
    """
    context.obj = client_nice


@main.command("overload")
@click.option("--times", default=overload.Plan.times, help="Rate of calls, as a multiple of the server's capacity.")
@click.option("--seconds", default=overload.Plan.seconds, help="Duration of the overload.")
@click.option("--unloaded", default=overload.Plan.unloaded, help="Seconds of the unloaded measurement before it.")
@_JSON
@_SERVER_FLAGS
@click.pass_obj
def _overload(
    nice: int, times: float, seconds: float, unloaded: float, file: Path | None, flags: tuple[str, ...]
) -> None:
    """Many more calls than the server can do, and none of them sent again."""
    plan = overload.Plan(times, seconds, unloaded)
    _finish([_measured(lambda server: overload.overload(server, plan), flags, nice)], file)


@main.command("fairness")
@click.option("--greedy", default=fairness.Plan.greedy, help="Number of greedy callers.")
@click.option("--at-once", default=fairness.Plan.at_once, help="Calls that each of them has at once.")
@click.option("--seconds", default=fairness.Plan.seconds, help="Duration.")
@_JSON
@_SERVER_FLAGS
@click.pass_obj
def _fairness(nice: int, greedy: int, at_once: int, seconds: float, file: Path | None, flags: tuple[str, ...]) -> None:
    """A polite caller among greedy ones."""
    plan = fairness.Plan(greedy, at_once, seconds)
    with fairness.keys_of(plan) as (keys_file, keys):
        flags = (*flags, "--api-keys", str(keys_file))
        report = _measured(lambda server: fairness.fairness(server, plan, keys), flags, nice)
    _finish([report], file)


@main.command("memory")
@_JSON
@_SERVER_FLAGS
def _memory(file: Path | None, flags: tuple[str, ...]) -> None:
    """Memory by megapixels and workers, and after large photos."""
    _finish([memory.memory(memory.Plan(), flags)], file)


@main.command("soak")
@click.option("--calls", default=soak.Plan.calls, help="Number of calls.")
@click.option("--seed", default=soak.Plan.seed, help="Seed of the mix of calls.")
@click.option("--at-once", default=soak.Plan.at_once, help="Concurrent callers in busy phases; 0: two per worker.")
@click.option(
    "--trace", type=click.Path(path_type=Path, dir_okay=False), help="File to write memory, threads and open files to."
)
@_JSON
@_SERVER_FLAGS
@click.pass_obj
def _soak(
    nice: int, calls: int, seed: int, at_once: int, trace: Path | None, file: Path | None, flags: tuple[str, ...]
) -> None:
    """Calls of all kinds, good, bad, cancelled, timed out and cut off."""
    plan = soak.Plan(calls, seed, at_once, trace)
    _finish([_measured(lambda server: soak.soak(server, plan), flags, nice)], file)


@main.command("start")
@click.option("--rounds", default=starting.Plan.rounds, help="Number of starts.")
@click.option("--seconds", default=starting.Plan.seconds, help="Seconds of load after the last start.")
@_JSON
@_SERVER_FLAGS
@click.pass_obj
def _start(nice: int, rounds: int, seconds: float, file: Path | None, flags: tuple[str, ...]) -> None:
    """Starts, and memory after them and after load."""
    _finish([starting.start(starting.Plan(rounds, seconds), flags)], file)


@main.command("kill")
@click.option("--seconds", default=killing.Plan.seconds, help="Seconds of load before each signal.")
@_JSON
@_SERVER_FLAGS
@click.pass_obj
def _kill(nice: int, seconds: float, file: Path | None, flags: tuple[str, ...]) -> None:
    """SIGTERM under load and in a long search; SIGKILL for one of two processes."""
    plan = killing.Plan(seconds)
    reports = [
        _measured(lambda server: killing.terminate(server, plan), flags, nice),
        _measured(killing.terminate_search, (*flags, "--grace", "2"), nice),
        _measured(lambda server: killing.kill_one(server, plan), (*flags, "--processes", "2"), nice),
    ]
    _finish(reports, file)


@main.command("reload")
@click.option("--reloads", default=reloading.Plan.reloads, help="Number of reloads.")
@_JSON
@_SERVER_FLAGS
@click.pass_obj
def _reload(nice: int, reloads: int, file: Path | None, flags: tuple[str, ...]) -> None:
    """SIGHUP under load, for other bundles and broken ones."""
    plan = reloading.Plan(reloads)
    with reloading.versions() as bundle:
        flags = (*flags, "--bundle", str(bundle.folder))
        report = _measured(lambda server: reloading.reload(server, plan, bundle), flags, nice)
    _finish([report], file)


def _measured(run: Run, flags: Sequence[str], nice: int) -> Report:
    with running(flags) as server, _nice(nice):
        return asyncio.run(run(server))


@contextmanager
def _nice(more: int) -> Iterator[None]:
    """This process is nicer within the context, if it may become what it was afterwards."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    if more:
        os.setpriority(os.PRIO_PROCESS, 0, before + more)
    try:
        yield
    finally:
        if more:
            os.setpriority(os.PRIO_PROCESS, 0, before)


def _finish(reports: Sequence[Report], file: Path | None) -> None:
    for report in reports:
        report.show()
        click.echo()
    if file:
        file.write_text(json.dumps([report.as_dict() for report in reports], indent=1) + "\n")
    sys.exit(not all(report.good for report in reports))
