"""``dorian-server``: serves a bundle; every flag is an environment variable too."""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

import click

from dorian_bundle import Bundle, BundleError
from dorian_server import __version__
from dorian_server.cli.options import GroupedCommand, read_settings, setting_options
from dorian_server.cli.signals import SignalQueue
from dorian_server.cli.supervisor import CANNOT_START, Supervisor, shared_port
from dorian_server.domain.errors import StartupError
from dorian_server.security.authentication import load_metrics_check
from dorian_server.security.credentials import load_tls_contexts
from dorian_server.serving.held_bundles import HeldBundle, hold_bundle
from dorian_server.serving.server import start
from dorian_server.settings import Settings
from dorian_server.telemetry import logs
from dorian_server.telemetry.metrics_listener import Access
from dorian_server.telemetry.telemetry import Telemetry
from dorian_server.telemetry.traces import open_traces

log = logging.getLogger(__name__)

_MAX_PORT, _STDERR = 65_535, 2
_OVERDUE = 75  # exit status of a process that is to be replaced

# Seconds beyond its grace after which a process that hangs is ended from within, even where no Python runs any more, and is killed.
_EXTRA_GRACE, _LAST_GRACE = 0.8, 1.0


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
            _end(_serve(settings, announce))
        else:
            sys.exit(_supervise(settings, announce))
    except StartupError as error:
        raise click.ClickException(str(error)) from error


def _forbid_core_dumps() -> None:
    """Keep the memory of this process and its children, and photos with it, from being written to disk when one crashes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Ending(Enum):
    """How a process has served to its end."""

    WHOLE = auto()  # all threads and connections have ended
    LEFT = auto()  # some have not, and are beyond their grace
    OVERDUE = auto()  # the process is to be replaced, as work in it cannot be ended


def _end(ending: Ending) -> None:
    """End the only process, whatever its threads do, or replace it by itself from the start."""
    if ending is Ending.WHOLE:
        return
    logging.shutdown()
    sys.stdout.flush()
    if ending is Ending.OVERDUE:
        os.execv(sys.executable, sys.orig_argv)
    os._exit(0)


@contextmanager
def _ending_within(seconds: float) -> Iterator[None]:
    """End the process if the context takes longer than ``seconds``: by C code, as a library may hold Python's lock."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _serve(
    settings: Settings,
    on_ready: Callable[[int], None],
    on_reload: Callable[[], None] | None = None,
    held: Mapping[Path, Bundle] = types.MappingProxyType({}),
) -> Ending:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads the bundles.

    Args:
        settings: How to serve.
        on_ready: Called with the port once calls are taken.
        on_reload: Makes all processes on the port reload, if others share it.
        held: Bundles to open first, by their folders.

    Returns:
        How it has ended.
    """
    signals, is_overdue = SignalQueue(), threading.Event()

    def replace_process() -> None:
        is_overdue.set()
        os.kill(os.getpid(), signal.SIGTERM)

    observability = settings.observability
    with ExitStack() as stack:
        traces = open_traces(observability.otlp_endpoint) if observability.otlp_endpoint else None
        if traces:
            stack.callback(traces.close)
        telemetry = Telemetry(traces=traces)
        if observability.metrics_port:
            access = Access(load_tls_contexts(settings.security), load_metrics_check(settings))
            host, port = observability.metrics_host, observability.metrics_port
            stack.enter_context(telemetry.metrics.served(host, port, access))
            log.info("Prometheus is answered on %s:%d", host, port)
        server = None
        with signals.interrupting():
            server = start(settings, telemetry, on_reload is not None, on_reload or (lambda: None), held)
        if server is None:
            return Ending.WHOLE
        server.on_overdue = replace_process
        on_ready(server.port)
        while signals.next() == signal.SIGHUP:
            with signals.interrupting():
                server.reload_each()
        with _ending_within(settings.grace + _EXTRA_GRACE):
            since = time.monotonic()
            has_ended = server.stop(settings.grace) and time.monotonic() < since + settings.grace
        if is_overdue.is_set():
            return Ending.OVERDUE
        if not has_ended:
            log.warning(
                "calls or connections have outlasted the grace of %g s; the process ends without them", settings.grace
            )
        return Ending.WHOLE if has_ended else Ending.LEFT


def _supervise(settings: Settings, on_ready: Callable[[int], None]) -> int:
    """Serve from several processes, and return the exit status."""
    _check_metrics_ports(settings)
    held = _hold_bundles(settings)
    with shared_port(settings.host, settings.port) as port:

        def serve_one(number: int, on_process_ready: Callable[[], None], on_reload: Callable[[], None]) -> int:
            try:
                own = _settings_of_process(settings, number, port)
                ending = _serve(own, lambda port: on_process_ready(), on_reload, held)
            except StartupError as error:
                click.echo(f"Error: {error}", err=True)
                return CANNOT_START
            return _OVERDUE if ending is Ending.OVERDUE else 0

        def reload() -> None:
            for folder, bundle in held.items():
                try:
                    held[folder] = hold_bundle(folder)
                    bundle.release()
                except BundleError as error:
                    log.error("processes that are restarted serve the bundle in %s as it was: %s", folder, error)

        grace = settings.grace + _LAST_GRACE
        return Supervisor(settings.load.processes, serve_one, grace, lambda: on_ready(port), reload).run()


def _hold_bundles(settings: Settings) -> dict[Path, HeldBundle]:
    """Return the bundles as they are now: a process that is restarted serves the same as the others, whatever has changed since."""
    try:
        return {folder: hold_bundle(folder) for folder in {settings.bundle, *settings.extra_bundles.values()}}
    except BundleError as error:
        raise StartupError(str(error)) from error


def _check_metrics_ports(settings: Settings) -> None:
    first, count = settings.observability.metrics_port, settings.load.processes
    if first is not None and first + count - 1 > _MAX_PORT:
        message = f"process {count - 1} would answer Prometheus on port {first + count - 1}"
        raise StartupError(f"{message}; with {count} processes, --metrics-port is at most {_MAX_PORT - count + 1}")


def _settings_of_process(settings: Settings, number: int, port: int) -> Settings:
    """Return the settings of process ``number``: all on one port, each with its own port for metrics."""
    first = settings.observability.metrics_port
    metrics_port = None if first is None else first + number
    return replace(settings, port=port, observability=replace(settings.observability, metrics_port=metrics_port))


if __name__ == "__main__":
    main()
