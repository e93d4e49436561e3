"""``dorian-server``: every flag is an environment variable too."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from dorian_server import __version__
from dorian_server.errors import StartupError
from dorian_server.serving import start
from dorian_server.settings import Limits, Security, Settings
from dorian_server.telemetry import logs
from dorian_server.telemetry.telemetry import Telemetry
from dorian_server.telemetry.traces import open_traces


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
@click.option("--host", default="0.0.0.0", show_envvar=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=50051, show_envvar=True, help="Port; 0 takes a free one."
)
@click.option("--workers", type=click.IntRange(1, 256), default=4, show_envvar=True, help="Requests that run at once.")
@click.option(
    "--threads", type=click.IntRange(0), default=0, show_envvar=True, help="Threads for each graph; 0: one per core."
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "fp16"]),
    default="auto",
    show_envvar=True,
    help="Which file of a graph to run, where the bundle has several; auto: the most precise.",
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
    limits = Limits(**{name: options[name] for name in ("max_image_bytes", "max_pixels", "max_steps")})
    names = ("bundle", "host", "port", "workers", "threads", "precision", "grace")
    security = Security(**{field.name: options[field.name] for field in fields(Security)})
    settings = Settings(**{name: options[name] for name in names}, limits=limits, security=security)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        with ExitStack() as stack:
            traces = open_traces(options["otlp_endpoint"]) if options["otlp_endpoint"] else None
            if traces:
                stack.callback(traces.close)
            telemetry = Telemetry(traces=traces)
            server, port = start(settings, telemetry)
            if options["metrics_port"]:
                stack.enter_context(telemetry.metrics.served(settings.host, options["metrics_port"]))
            click.echo(f"listening on {settings.host}:{port}")
            stopping.wait()
            server.stop(settings.grace).wait()
    except StartupError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
