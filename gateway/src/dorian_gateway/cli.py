"""The command ``dorian-gateway``: its flags are the fields of ``settings.py``."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
import uvicorn
from pydantic import ValidationError

from dorian_gateway.app import create_app
from dorian_gateway.protocol import make_protocol
from dorian_gateway.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])
_PREFIX = "DORIAN_GATEWAY"
_BACKLOG = 1024


def _type_of(annotation: Any) -> click.ParamType[Any]:
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    if Path in (annotation, *get_args(annotation)):
        return click.Path(path_type=Path, exists=True, dir_okay=False)
    types: dict[Any, click.ParamType[Any]] = {bool: click.BOOL, int: click.INT, float: click.FLOAT}
    return types.get(annotation, click.STRING)


def _setting_options(command: _Command) -> _Command:
    infos = Settings.__pydantic_fields__  # type: ignore[attr-defined]
    for field in reversed(fields(Settings)):
        info, name = infos[field.name], field.name.replace("_", "-")
        is_bool = info.annotation is bool
        command = click.option(
            f"--{name}/--no-{name}" if is_bool else f"--{name}",
            field.name,
            type=_type_of(info.annotation),
            default=None if field.default is MISSING else field.default,
            envvar=f"{_PREFIX}_{field.name.upper()}",
            show_envvar=True,
            show_default=True,
            help=info.description,
        )(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@_setting_options
@click.version_option(package_name="dorian-gateway")
def main(**options: Any) -> None:
    """Serve HTTP and the web page for a Dorian server."""
    try:
        settings = Settings(**options)
    except ValidationError as error:
        problem = error.errors()[0]
        option = str(problem["loc"][0]).replace("_", "-")
        raise click.UsageError(f"Invalid value for '--{option}': {problem['msg']}") from error
    try:
        listener = _listen(settings)
        app = create_app(settings)
    except OSError as error:
        raise click.ClickException(f"cannot serve {settings.host}:{settings.port}: {error}") from error
    config = uvicorn.Config(
        app,
        http=make_protocol(settings),
        ws="none",
        lifespan="off",
        log_level=settings.log_level,
        server_header=False,
        timeout_graceful_shutdown=round(settings.grace),
    )
    host, port = listener.getsockname()[:2]
    click.echo(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
    uvicorn.Server(config).run(sockets=[listener])


def _listen(settings: Settings) -> socket.socket:
    """Return a socket that listens; connections inherit its options."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    # asyncio sets it only on sockets that name their protocol. Without it, a response waits 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Closes connections on which nothing can be sent, those that wait to be closed included; Linux has it.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = round(1000 * settings.send_timeout)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return listener
