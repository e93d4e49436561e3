"""``dorian-server``: serves a bundle; every flag is an environment variable too."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import click

from dorian_server import __version__
from dorian_server.cli.options import GroupedCommand, read_settings, setting_options
from dorian_server.cli.signals import SignalQueue
from dorian_server.cli.supervisor import CANNOT_START, Supervisor, shared_port
from dorian_server.domain.errors import StartupError
from dorian_server.serving.server import start
from dorian_server.settings import Settings
from dorian_server.telemetry import logs
from dorian_server.telemetry.telemetry import Telemetry
from dorian_server.telemetry.traces import open_traces

_EXTRA_GRACE = 5.0  # seconds beyond their grace before processes that hang are killed


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@setting_options
def main(**options: Any) -> None:
    """Serve face ageing over gRPC.

    \b
    dorian-server --bundle models/default --port 50051
    dorian-server --processes 2 --metrics-port 9090 --log-format json
    dorian-server --extra-bundle canary=models/canary --api-keys keys.json
    """
    logs.configure(options["log_level"], options["log_format"])
    settings = read_settings(options)
    _forbid_core_dumps()

    def announce(port: int) -> None:
        click.echo(f"listening on {settings.host}:{port}")

    try:
        if settings.load.processes == 1:
            _serve(settings, announce)
        else:
            sys.exit(_supervise(settings, announce))
    except StartupError as error:
        raise click.ClickException(str(error)) from error


def _forbid_core_dumps() -> None:
    """Keep the memory of this process and its children, and photos with it, from being written to disk when one crashes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve(settings: Settings, on_ready: Callable[[int], None], on_reload: Callable[[], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads the bundles.

    Args:
        settings: How to serve.
        on_ready: Called with the port once calls are taken.
        on_reload: Makes all processes on the port reload, if others share it.
    """
    signals = SignalQueue()
    observability = settings.observability
    with ExitStack() as stack:
        traces = open_traces(observability.otlp_endpoint) if observability.otlp_endpoint else None
        if traces:
            stack.callback(traces.close)
        telemetry = Telemetry(traces=traces)
        if observability.metrics_port:
            stack.enter_context(telemetry.metrics.served(observability.metrics_host, observability.metrics_port))
        server = None
        with signals.interrupting():
            server = start(settings, telemetry, on_reload is not None, on_reload or (lambda: None))
        if server is None:
            return
        on_ready(server.port)
        while signals.next() == signal.SIGHUP:
            with signals.interrupting():
                server.reload_each()
        server.stop(settings.grace)


def _supervise(settings: Settings, on_ready: Callable[[int], None]) -> int:
    """Serve from several processes, and return the exit status."""
    with shared_port(settings.host, settings.port) as port:

        def serve_one(number: int, on_process_ready: Callable[[], None], on_reload: Callable[[], None]) -> int:
            try:
                _serve(_settings_of_process(settings, number, port), lambda port: on_process_ready(), on_reload)
            except StartupError as error:
                click.echo(f"Error: {error}", err=True)
                return CANNOT_START
            return 0

        grace = settings.grace + _EXTRA_GRACE
        return Supervisor(settings.load.processes, serve_one, grace, lambda: on_ready(port)).run()


def _settings_of_process(settings: Settings, number: int, port: int) -> Settings:
    """Return the settings of process ``number``: all on one port, each with its own port for metrics."""
    first = settings.observability.metrics_port
    metrics_port = None if first is None else first + number
    return replace(settings, port=port, observability=replace(settings.observability, metrics_port=metrics_port))


if __name__ == "__main__":
    main()
