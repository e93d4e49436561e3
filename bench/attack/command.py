"""``python -m bench.attack``: attacks servers that it starts on this machine. Flags after ``--`` are the servers'."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from bench.attack import asking, fuzzing, quiet, streams
from bench.load.report import Report
from bench.load.server import running


@dataclass(frozen=True)
class Options:
    """How much is sent, of which seed, and to a server with which flags."""

    scale: float
    seed: int
    first: int
    flags: tuple[str, ...]

    def count(self, number: int) -> int:
        """Return ``number`` at this scale, at least 1."""
        return max(1, round(number * self.scale))


def _pictures(options: Options) -> Report:
    plan = fuzzing.Plan(options.count(fuzzing.Plan.count), options.seed, options.first)
    with running(("--memory", str(plan.memory), *options.flags)) as server:
        return asyncio.run(fuzzing.fuzz(server, plan))


def _requests(options: Options) -> Report:
    plan = asking.Plan(options.count(asking.Plan.count), options.seed, options.first)
    with running(("--memory", str(plan.memory), *options.flags)) as server:
        return asyncio.run(asking.ask(server, plan))


def _streams(options: Options) -> Report:
    plan = streams.Plan(streams.Plan.seconds * options.scale)
    with running(("--memory", str(plan.memory), *options.flags)) as server:
        return asyncio.run(streams.attack(server, plan))


def _quiet(options: Options) -> Report:
    plan = quiet.Plan(quiet.Plan.seconds * options.scale, options.seed)
    return quiet.watch(plan, options.flags, quiet.installed_runtimes())


PARTS: dict[str, Callable[[Options], Report]] = {
    "pictures": _pictures,
    "requests": _requests,
    "streams": _streams,
    "quiet": _quiet,
}


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--scale", default=1.0, help="Factor on what is sent, and for how long.")
@click.option("--seed", default=1, help="Seed of pictures and requests.")
@click.option(
    "--first", default=0, help="Number of the first picture or request, to send one again with a small scale."
)
@click.option("--server", "flags", default="", help="Flags of the server, as one word: '--workers 2'.")
@click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="File to write the figures to as well."
)
def main(parts: Sequence[str], scale: float, seed: int, first: int, flags: str, file: Path | None) -> None:
    """Attack a server on this machine, in PARTS (all unless given). The exit status is 1 if something is not as wanted.

    \b
    python -m bench.attack pictures streams --scale 0.1 --json attack.json
    """
    options = Options(scale, seed, first, tuple(shlex.split(flags)))
    reports = []
    for part in parts or PARTS:
        load = os.getloadavg()[0]
        report = PARTS[part](options)
        report.tell("load average of the machine before and after", f"{load:.1f}, {os.getloadavg()[0]:.1f}")
        report.figures |= {"load_before": load, "load_after": os.getloadavg()[0]}
        report.show()
        click.echo()
        reports.append(report)
    if file:
        file.write_text(json.dumps([report.as_dict() for report in reports], indent=1) + "\n")
    sys.exit(not all(report.good for report in reports))
