"""Short attacks, held to what must be so on any machine, however busy: no fault, no odd outcome, nothing written, everybody answered."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.attack import asking, fuzzing, quiet, streams
from bench.attack.command import main
from bench.attack.odd_requests import make_request
from bench.attack.parts import LAYOUTS, Layout
from bench.attack.pictures import make_picture, seeds
from bench.attack.traces import ProcWatch, read_strace, strace_command
from bench.load.report import Report
from bench.load.server import Server, running

SECONDS = 60
SOON = 5  # seconds, within which a health check is answered however busy the machine is
WRITES = """
import socket, sys, time
with open(sys.argv[1], "w") as file:
    file.write("x")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lookup:
        lookup.connect(("127.0.0.1", int(sys.argv[2])))
        print("begun", flush=True)
        time.sleep(1)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(("--memory", "1536")) as started:
        yield started


def missed(report: Report) -> list[str]:
    return [f"{line.name}: {line.seen}, wanted {line.wanted}" for line in report.lines if line.met is False]


def test_fuzzed_pictures(server: Server) -> None:
    report = asyncio.run(fuzzing.fuzz(server, fuzzing.Plan(count=120, seed=2)))
    assert [line for line in missed(report) if not line.startswith("slower")] == []
    assert len(report.figures["outcomes"]) >= 3


def test_odd_requests(server: Server) -> None:
    report = asyncio.run(asking.ask(server, asking.Plan(count=60, seed=2)))
    assert missed(report) == []
    assert len(report.figures["outcomes"]) >= 5


def test_an_innocent_caller_is_answered_whatever_others_do(server: Server) -> None:
    attacks = ("400 calls of headers alone", "400 halves of a message", "empty data, priorities, windows")
    report = asyncio.run(streams.attack(server, streams.Plan(1.0, attacks)))
    assert server.process.poll() is None
    assert server.faults() == []
    for name in attacks:
        assert set(report.figures[name]["outcomes"]) == {"OK"}, name
        assert report.figures[name]["health"]["slowest"] < SOON


@pytest.mark.parametrize("runtime", quiet.installed_runtimes())
def test_serving_writes_nothing_and_calls_nobody(runtime: str) -> None:
    report = quiet.watch(quiet.Plan(seconds=2), (), [runtime])
    assert missed(report) == []
    assert report.figures[runtime]["calls"] > 0


# --- the tools themselves ---


def test_pictures_and_requests_come_from_their_seed() -> None:
    assert [make_picture(1, number) for number in range(20)] == [make_picture(1, number) for number in range(20)]
    assert make_picture(1, 0) != make_picture(2, 0)
    assert make_request(1, 3).name == make_request(1, 3).name
    assert len({make_request(1, number).name.split(" ", 1)[1] for number in range(200)}) > 20


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_files_are_written_as_they_were_read(layout: Layout) -> None:
    files = [data for data in seeds().values() if layout.matches(data)]
    if not files:
        pytest.skip("no file of this family can be made here")
    for data in files:
        written = layout.write(layout.read(data))
        assert layout.read(written) == layout.read(data)


@pytest.mark.parametrize("with_strace", [True, False])
def test_what_is_written_and_who_is_called_is_seen(with_strace: bool, tmp_path: Path) -> None:
    """Or the test of serving would pass for nothing."""
    if with_strace and not shutil.which("strace"):
        pytest.skip("strace is not installed")
    trace, written = tmp_path / "trace", tmp_path / "written"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as name_server:
        name_server.bind(("127.0.0.1", 0))
        arguments = [sys.executable, "-c", WRITES, str(written), str(name_server.getsockname()[1])]
        command = [*(strace_command(trace) if with_strace else ()), *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            if not with_strace:
                watch = ProcWatch(process.pid)
                with watch:
                    process.wait(SECONDS)
                seen = "\n".join(watch.seen)
        if with_strace:
            time.sleep(0.2)  # it writes the end of its trace once the process has ended
            seen = "\n".join(read_strace(trace.read_text().splitlines()))
    assert str(written) in seen
    assert ("connect(" if with_strace else "udp socket") in seen


def test_the_command_writes_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "attack.json"
    result = CliRunner().invoke(main, ["pictures", "--scale", "0.001", "--json", str(file)])
    (report,) = json.loads(file.read_text())
    assert report["figures"]["count"] == 10
    assert report["good"] == (result.exit_code == 0)
    assert "load average" in result.output
