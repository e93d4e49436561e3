"""``dorian-server``: flags, environment variables, messages and exit codes."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from dorian_server import __version__
from dorian_server.cli import serve as command
from dorian_server.cli.reference import render_flags
from dorian_server.domain.errors import StartupError
from dorian_server.settings import Limits, Load, Observability, Security, Settings
from dorian_server.telemetry.metrics import Metrics
from dorian_server.telemetry.telemetry import Telemetry

FLAGS = {
    option.name: option
    for option in command.main.params
    if option.name not in ("help", "version") and not (isinstance(option, click.Option) and option.hidden)
}
# Flags whose names are not their settings'.
RENAMED = {"extra_bundles": "extra_bundle"}
# Each flag with a value that is not its default, and where it arrives.
VALUES: dict[str, tuple[str, object]] = {
    "bundle": ("some/where", Path("some/where")),
    "extra_bundles": ("other=some/other", {"other": Path("some/other")}),
    "licences": ("commercial", "commercial"),
    "host": ("127.0.0.1", "127.0.0.1"),
    "port": ("50123", 50123),
    "workers": ("7", 7),
    "max_wait": ("0.25", 0.25),
    "batch_delay": ("0.01", 0.01),
    "memory": ("1024", 1024),
    "calls_at_once": ("8", 8),
    "calls_per_minute": ("90", 90),
    "threads": ("3", 3),
    "precision": ("fp16", "fp16"),
    "runtime": ("openvino", "openvino"),
    "arithmetic": ("bf16", "bf16"),
    "look": ("1024", 1024),
    "engine_cache": ("some/engines", Path("some/engines")),
    "max_message_bytes": ("2048", 2048),
    "max_image_bytes": ("1000", 1000),
    "max_pixels": ("2000", 2000),
    "decode_timeout": ("30", 30.0),
    "max_receiving": ("16", 16),
    "request_timeout": ("20", 20.0),
    "max_response_bytes": ("100000", 100000),
    "max_steps": ("30", 30),
    "grace": ("0.5", 0.5),
    "tls_certificate": ("some.pem", Path("some.pem")),
    "tls_key": ("some.key", Path("some.key")),
    "tls_client_ca": ("ca.pem", Path("ca.pem")),
    "api_keys": ("keys.json", Path("keys.json")),
    "reflection": ("true", True),
    "log_level": ("error", "error"),
    "log_format": ("json", "json"),
    "metrics_port": ("9090", 9090),
    "metrics_host": ("0.0.0.0", "0.0.0.0"),
    "otlp_endpoint": ("http://collector:4317", "http://collector:4317"),
}


def flag_of(name: str) -> str:
    return f"--{RENAMED.get(name, name).replace('_', '-')}"


def variable_of(name: str) -> str:
    return f"DORIAN_{RENAMED.get(name, name).upper()}"


class FakeServer:
    """Stands for a started server; notes what is asked of it. The first of ``signals`` comes once its port is known, which
    is 40000, and the next as soon as it has done what the one before asked for.
    """

    def __init__(self, *signals: signal.Signals) -> None:
        self._signals = list(signals)
        self.requested: list[str | float] = []

    @property
    def port(self) -> int:
        signal.raise_signal(self._signals.pop(0))
        return 40_000

    def reload_each(self) -> None:
        self.requested.append("reload")
        signal.raise_signal(self._signals.pop(0))

    def stop(self, grace: float) -> bool:
        self.requested.append(grace)
        return True


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Takes the command's signal handlers away again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps out what is set where the tests run."""
    for name in [*FLAGS, "further"]:
        monkeypatch.delenv(variable_of(name), raising=False)


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Takes back how the command has everything logged."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that the command would start with; it then fails with a message of ours."""
    recorded: list[Settings] = []

    def start(
        settings: Settings,
        telemetry: Telemetry,
        shares_port: bool,
        on_reload: Callable[[], None],
        held: Mapping[Path, Any],
    ) -> None:
        assert not shares_port
        assert not held
        recorded.append(settings)
        raise StartupError("this is as far as it goes")

    monkeypatch.setattr(command, "start", start)
    monkeypatch.setattr(Metrics, "served", lambda *_: nullcontext())  # its port may be in use
    return recorded


def read_setting(settings: Settings, name: str) -> Any:
    parts = (settings, settings.limits, settings.load, settings.security, settings.observability)
    return next(getattr(part, name) for part in parts if hasattr(part, name))


def test_help_names_each_flag_with_its_environment_variable_and_default() -> None:
    result = CliRunner().invoke(command.main, ["--help"], terminal_width=100)
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    for name, option in FLAGS.items():
        assert isinstance(option, click.Option)
        assert option.help
        entry = text[text.index(f"{flag_of(name)} ") :]
        assert option.help in entry
        has_default = isinstance(option.default, str | float | int | Path) and not option.is_flag
        default = f"; default: {option.default}" if has_default else ""
        assert f"[env var: {variable_of(name)}{default}" in entry
    assert CliRunner().invoke(command.main, ["-h"]).exit_code == 0


def test_every_setting_is_a_flag_with_the_same_default(started: list[Settings]) -> None:
    CliRunner().invoke(command.main)
    assert started == [Settings(Path("models/default"))]
    of_limits = {field.name for field in fields(Limits)} & set(FLAGS)
    of_parts = of_limits | {field.name for part in (Load, Security, Observability) for field in fields(part)}
    of_settings = {field.name for field in fields(Settings)} - {"limits", "load", "security", "observability"}
    assert of_settings | of_parts == set(VALUES) | {"processes"}, "more than one are started in another way"
    assert set(VALUES) | {"processes"} == set(FLAGS)


def test_metrics_are_for_this_machine_whatever_the_server_listens_on(
    started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts: list[str] = []
    monkeypatch.setattr(Metrics, "served", lambda _, host, port, access: nullcontext(hosts.append(host)))
    for flags in ([], ["--metrics-host", "0.0.0.0"]):
        CliRunner().invoke(command.main, ["--host", "0.0.0.0", "--metrics-port", "9090", *flags])
    assert hosts == ["127.0.0.1", "0.0.0.0"]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("by", ["flag", "environment"])
def test_settings_come_from_flags_or_the_environment(started: list[Settings], name: str, by: str) -> None:
    text, value = VALUES[name]
    if by == "flag":
        given = [] if name == "reflection" else [text]
        result = CliRunner().invoke(command.main, [flag_of(name), *given])
    else:
        result = CliRunner().invoke(command.main, env={variable_of(name): text})
    assert result.exit_code == 1
    (settings,) = started
    assert read_setting(settings, name) == value
    others = [other for other in VALUES if other not in (name, "bundle")]
    defaults = Settings(Path())
    assert all(read_setting(settings, other) == read_setting(defaults, other) for other in others)


@pytest.mark.parametrize("by", ["flags", "environment"])
@pytest.mark.parametrize("name", ["extra-bundle", "further"])
def test_several_extra_bundles(started: list[Settings], by: str, name: str) -> None:
    """By the former name of the flag or variable, too, with a warning."""
    variable = f"DORIAN_{name.replace('-', '_').upper()}"
    if by == "flags":
        result = CliRunner().invoke(command.main, [f"--{name}", "one=a/b", f"--{name}", "two=c=d"])
    else:
        result = CliRunner().invoke(command.main, env={variable: "one=a/b two=c=d"})
    assert started[0].extra_bundles == {"one": Path("a/b"), "two": Path("c=d")}
    warning = "--further (DORIAN_FURTHER) is deprecated and will be removed in the next release; use --extra-bundle"
    assert (warning in result.stderr) is (name == "further")


def test_the_former_and_the_new_name_of_a_flag_together(started: list[Settings]) -> None:
    CliRunner().invoke(command.main, ["--extra-bundle", "one=new", "--further", "one=old", "--further", "two=old"])
    assert started[0].extra_bundles == {"one": Path("new"), "two": Path("old")}
    assert "--further" not in CliRunner().invoke(command.main, ["--help"]).output


def test_a_value_that_only_the_settings_reject_is_a_usage_error_that_names_its_flag(started: list[Settings]) -> None:
    result = CliRunner().invoke(command.main, ["--grace", "nan"])
    assert result.exit_code == 2
    assert "Invalid value for '--grace': Input should be greater than or equal to 0" in result.output
    assert started == []


def test_help_lists_flags_by_group() -> None:
    output = CliRunner().invoke(command.main, ["--help"]).output
    headings = ["Server:", "Load:", "Limits:", "Security:", "Logs, metrics and traces:", "Other:"]
    assert [line for line in output.splitlines() if line in headings] == headings


def test_the_documented_flags_are_current() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "server-flags.md"
    assert page.read_text(encoding="utf-8") == render_flags()


def test_a_flag_goes_before_the_environment(started: list[Settings]) -> None:
    CliRunner().invoke(command.main, ["--port", "1"], env={"DORIAN_PORT": "2"})
    assert started[0].port == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "65536"],
        ["--workers", "-1"],
        ["--workers", "257"],
        ["--processes", "0"],
        ["--max-wait", "-0.1"],
        ["--batch-delay", "1.5"],
        ["--calls-at-once", "0"],
        ["--calls-per-minute", "0"],
        ["--max-message-bytes", "1023"],
        ["--extra-bundle", "name"],
        ["--extra-bundle", "=folder"],
        ["--further", "name="],
        ["--precision", "fp8"],
        ["--runtime", "tflite"],
        ["--max-pixels", "0"],
        ["--max-steps", "0"],
        ["--grace", "-1"],
        ["--bundle", __file__],
        ["--colour", "red"],
        ["extra"],
    ],
)
def test_wrong_flags_are_usage_errors(started: list[Settings], arguments: list[str]) -> None:
    result = CliRunner().invoke(command.main, arguments)
    assert result.exit_code == 2
    assert result.output.startswith("Usage: ")
    assert started == []


def test_a_start_that_fails_is_an_error_message(started: list[Settings]) -> None:
    result = CliRunner().invoke(command.main)
    assert result.exit_code == 1
    assert result.output == "Error: this is as far as it goes\n"


def test_ports_of_all_processes_are_checked_before_any_is_started() -> None:
    result = CliRunner().invoke(command.main, ["--processes", "3", "--metrics-port", "65534"])
    assert result.exit_code == 1
    message = "process 2 would answer Prometheus on port 65536; with 3 processes, --metrics-port is at most 65533"
    assert result.output == f"Error: {message}\n"


def serve(monkeypatch: pytest.MonkeyPatch, start: Callable[..., FakeServer]) -> Result:
    """What the command says while it serves what ``start`` gives."""
    monkeypatch.setattr(command, "start", start)
    return CliRunner().invoke(command.main, ["--host", "127.0.0.1", "--port", "0", "--grace", "2.5"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_listens_until_a_signal_and_then_stops_with_grace(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    server = FakeServer(number)
    result = serve(monkeypatch, lambda *given: server)
    assert result.exit_code == 0
    assert result.output == "listening on 127.0.0.1:40000\n"
    assert server.requested == [2.5]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_start_that_takes_long(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    def start(*given: object) -> FakeServer:
        signal.raise_signal(number)
        pytest.fail("it goes on")

    result = serve(monkeypatch, start)
    assert (result.exit_code, result.output) == (0, "")


def test_it_reloads_its_bundles_at_each_hangup_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer(signal.SIGHUP, signal.SIGHUP, signal.SIGTERM)
    result = serve(monkeypatch, lambda *given: server)
    assert result.exit_code == 0
    assert result.output == "listening on 127.0.0.1:40000\n"
    assert server.requested == ["reload", "reload", 2.5]


def test_version() -> None:
    assert __version__ in CliRunner().invoke(command.main, ["--version"]).output


def test_limits_are_one_by_default() -> None:
    assert Settings(Path()).limits == Limits()
    assert Settings(Path()).load == Load()


def test_the_process_ends_with_a_message_and_without_a_traceback(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "dorian_server", "--bundle", str(tmp_path / "nowhere")]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert ended.stderr == f"Error: {tmp_path / 'nowhere'} is no bundle: it has no manifest.json\n"
