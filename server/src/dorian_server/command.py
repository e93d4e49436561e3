"""``dorian-server``: every flag is an environment variable too."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Any

import click

from dorian_server import __version__
from dorian_server.errors import StartupError
from dorian_server.serving import start
from dorian_server.settings import Limits, Settings


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
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_envvar=True,
    help="What to log; nothing of a photo ever is.",
)
def main(**options: Any) -> None:
    """Serve face ageing over gRPC.

    \b
    dorian-server --bundle models/default --port 50051
    """
    logging.basicConfig(level=options["log_level"].upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    limits = Limits(**{name: options[name] for name in ("max_image_bytes", "max_pixels", "max_steps")})
    names = ("bundle", "host", "port", "workers", "threads", "precision", "grace")
    settings = Settings(**{name: options[name] for name in names}, limits=limits)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        server, port = start(settings)
    except StartupError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"listening on {settings.host}:{port}")
    stopping.wait()
    server.stop(settings.grace).wait()


if __name__ == "__main__":
    main()
