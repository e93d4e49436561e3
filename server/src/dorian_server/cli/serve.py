"""``dorian-server``: every flag is an environment variable too."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import click

from dorian_server import __version__
from dorian_server.cli.signals import SignalQueue
from dorian_server.cli.supervisor import CANNOT_START, Supervisor, shared_port
from dorian_server.domain.errors import StartupError
from dorian_server.runtimes.factory import Arithmetic, Runtime
from dorian_server.serving.server import start
from dorian_server.settings import Limits, Load, Security, Settings
from dorian_server.telemetry import logs
from dorian_server.telemetry.telemetry import Telemetry
from dorian_server.telemetry.traces import open_traces

Reload = Callable[[], None]


class NamedFolder(click.ParamType[tuple[str, Path]]):
    """NAME=FOLDER, as a pair."""

    name = "NAME=FOLDER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        name, equals, folder = value.partition("=")
        if not (equals and name and folder):
            self.fail(f"{value!r} is not NAME=FOLDER", param, ctx)
        return name, Path(folder)


@click.command(
    context_settings={"show_default": True, "auto_envvar_prefix": "DORIAN", "help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("models/default"),
    show_envvar=True,
    help="Folder of the models to serve.",
)
@click.option(
    "--further",
    type=NamedFolder(),
    multiple=True,
    callback=lambda context, option, pairs: dict(pairs),
    show_envvar=True,
    help="Another bundle to serve, by a name that requests ask for it by; may be repeated. In the variable, spaces divide them.",
)
@click.option("--host", default="0.0.0.0", show_envvar=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=50051, show_envvar=True, help="Port; 0 takes a free one."
)
@click.option(
    "--workers",
    type=click.IntRange(0, 256),
    default=Load.workers,
    show_envvar=True,
    help="Requests that are worked on at once, in each process; 0: one per core that it has.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=Load.processes,
    show_envvar=True,
    help="Processes that serve the port together; one that dies is begun again.",
)
@click.option(
    "--max-wait",
    type=click.FloatRange(0),
    show_envvar=True,
    help="Seconds of work that may wait, in each process; calls beyond are told to come again later. "
    "Unless given: half as much as the workers have.",
)
@click.option(
    "--batch-delay",
    type=click.FloatRange(0, 1),
    default=Load.batch_delay,
    show_envvar=True,
    help="Seconds that a batch which is not full waits for company.",
)
@click.option(
    "--calls-at-once",
    type=click.IntRange(1),
    show_envvar=True,
    help="Calls that each caller may have under way; no limit unless given.",
)
@click.option(
    "--calls-per-minute",
    type=click.IntRange(1),
    show_envvar=True,
    help="Calls that each caller may begin in a minute; no limit unless given.",
)
@click.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    show_envvar=True,
    help="Threads for each graph; 0: one per core for a run that is alone, else 1.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "fp16"]),
    default="auto",
    show_envvar=True,
    help="Which file of a graph to run, where the bundle has several; auto: the most precise.",
)
@click.option(
    "--runtime",
    type=click.Choice(get_args(Runtime)),
    default=Settings.runtime,
    show_envvar=True,
    help="What runs the graphs; one that is not installed is an error.",
)
@click.option(
    "--arithmetic",
    type=click.Choice(get_args(Arithmetic)),
    default=Settings.arithmetic,
    show_envvar=True,
    help="Arithmetic of the runtime openvino; auto: bf16 where the processor has it.",
)
@click.option(
    "--engine-cache",
    type=click.Path(path_type=Path, file_okay=False),
    show_envvar=True,
    help="Folder of TensorRT's engines, as dorian-export tensorrt fills it; the user's cache unless given.",
)
@click.option(
    "--max-message-bytes",
    type=click.IntRange(1024),
    default=Limits.max_message_bytes,
    show_envvar=True,
    help="Largest request, in bytes, with all that is in it.",
)
@click.option(
    "--max-image-bytes",
    type=click.IntRange(1),
    default=Limits.max_image_bytes,
    show_envvar=True,
    help="Largest photo, in bytes of its file.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=Limits.max_pixels,
    show_envvar=True,
    help="Largest photo, in pixels; refused before it is decoded.",
)
@click.option(
    "--max-steps",
    type=click.IntRange(1),
    default=Limits.max_steps,
    show_envvar=True,
    help="Steps at most that one search for a face's latent may take.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=10.0,
    show_envvar=True,
    help="Seconds that running requests have to end after SIGTERM.",
)
@click.option(
    "--tls-certificate",
    type=click.Path(path_type=Path),
    show_envvar=True,
    help="PEM of the server's certificate and its chain; with it, only TLS is spoken. Read anew when it changes.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), show_envvar=True, help="PEM of the certificate's key.")
@click.option(
    "--tls-client-ca",
    type=click.Path(path_type=Path),
    show_envvar=True,
    help="PEM of authorities; callers then need a certificate from one of them.",
)
@click.option(
    "--api-keys",
    type=click.Path(path_type=Path),
    show_envvar=True,
    help="File of dorian-server-keys; callers then need one of its keys. Read anew when it changes.",
)
@click.option(
    "--reflection",
    is_flag=True,
    show_envvar=True,
    help="Tell callers which services and messages there are, as grpcurl asks.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_envvar=True,
    help="What to log; nothing of a photo ever is.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_envvar=True,
    help="How to log: lines for people, or JSON objects.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    show_envvar=True,
    help="Port to answer Prometheus on; none unless given.",
)
@click.option(
    "--otlp-endpoint",
    metavar="URL",
    show_envvar=True,
    help="OpenTelemetry collector to send traces to, as http://collector:4317; none unless given.",
)
def main(**options: Any) -> None:
    """Serve face ageing over gRPC.

    \b
    dorian-server --bundle models/default --port 50051
    """
    logs.configure(options["log_level"], options["log_format"])
    settings = _settings(options)

    def serve(settings: Settings, number: int, on_ready: Callable[[int], None], reload_all: Reload | None) -> None:
        metrics_port = options["metrics_port"] and options["metrics_port"] + number
        _serve(settings, metrics_port, options["otlp_endpoint"], on_ready, reload_all)

    def tell(port: int) -> None:
        click.echo(f"listening on {settings.host}:{port}")

    try:
        if settings.load.processes == 1:
            serve(settings, 0, tell, None)
        else:
            sys.exit(_supervise(settings, serve, tell))
    except StartupError as error:
        raise click.ClickException(str(error)) from error


def _settings(options: Mapping[str, Any]) -> Settings:
    parts = {"limits": Limits, "load": Load, "security": Security}
    made = {name: kind(**_picked(kind, options)) for name, kind in parts.items()}
    return Settings(**_picked(Settings, options), **made)


def _picked(kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that are fields of the dataclass ``kind``."""
    return {field.name: options[field.name] for field in fields(kind) if field.name in options}


def _serve(
    settings: Settings,
    metrics_port: int | None,
    otlp_endpoint: str | None,
    on_ready: Callable[[int], None],
    reload_all: Reload | None,
) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reads the bundles anew. ``reload_all``: sends it to all processes on the port, if others are."""
    asked = SignalQueue()
    with ExitStack() as stack:
        traces = open_traces(otlp_endpoint) if otlp_endpoint else None
        if traces:
            stack.callback(traces.close)
        telemetry = Telemetry(traces=traces)
        if metrics_port:
            stack.enter_context(telemetry.metrics.served(settings.host, metrics_port))
        server = None
        with asked.interrupting():
            server = start(settings, telemetry, reload_all is not None, reload_all or (lambda: None))
        if server is None:
            return
        on_ready(server.port)
        while asked.next() == signal.SIGHUP:
            with asked.interrupting():
                server.reload_each()
        server.stop(settings.grace)


def _supervise(
    settings: Settings,
    serve: Callable[[Settings, int, Callable[[int], None], Reload], None],
    tell: Callable[[int], None],
) -> int:
    with shared_port(settings.host, settings.port) as port:
        sharing = replace(settings, port=port)

        def work(number: int, on_ready: Callable[[], None], reload_all: Reload) -> int:
            try:
                serve(sharing, number, lambda port: on_ready(), reload_all)
            except StartupError as error:
                click.echo(f"Error: {error}", err=True)
                return CANNOT_START
            return 0

        # They stop by themselves within their grace; a little more is for those that hang.
        return Supervisor(settings.load.processes, work, settings.grace + 5, lambda: tell(port)).run()


if __name__ == "__main__":
    main()
