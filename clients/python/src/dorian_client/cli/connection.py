"""The connection of a command: each setting is one field, which is its flag, environment variable, default and help."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import click

from dorian_client._channel import DEFAULT_ADDRESS, DEFAULT_PRIORITY, DEFAULT_RETRIES, DEFAULT_TIMEOUT, Priority, Tls
from dorian_client._client import Client
from dorian_client.cli.options import SERVER, option

# Not a flag: other users of the machine could read the key in the list of processes.
API_KEY_VARIABLE = "DORIAN_API_KEY"
_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class _Setting:
    """What a flag needs besides its name and its default, which are the field's.

    Attributes:
        variable: Environment variable that stands for the flag.
        help: Help text.
        type: Type of the value, as click takes it; bool for a flag without a value.
        metavar: Placeholder of the value in the help.
        is_admin: Whether commands for operators have it, too.
    """

    variable: str
    help: str
    type: Any = str
    metavar: str | None = None
    is_admin: bool = True


@dataclass(frozen=True)
class Connection:
    """Which server to call, and how."""

    server: Annotated[str, _Setting("DORIAN_SERVER", "Address of the server.", metavar="HOST:PORT")] = DEFAULT_ADDRESS
    timeout: Annotated[
        float,
        _Setting(
            "DORIAN_TIMEOUT", "Seconds that the server may take, with all retries.",
            type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
        ),
    ] = DEFAULT_TIMEOUT  # fmt: skip
    tls: Annotated[
        bool,
        _Setting(
            "DORIAN_TLS", "Use TLS and trust the public authorities; the other --tls options imply it.", type=bool
        ),
    ] = False
    tls_ca: Annotated[
        Path | None,
        _Setting("DORIAN_TLS_CA", "Authorities to trust instead of the public ones.", type=_PATH, metavar="PEM"),
    ] = None
    tls_certificate: Annotated[
        Path | None,
        _Setting(
            "DORIAN_CLIENT_CERTIFICATE", "Your certificate, for a server that requires one.", type=_PATH, metavar="PEM"
        ),
    ] = None
    tls_key: Annotated[
        Path | None, _Setting("DORIAN_CLIENT_KEY", "Key of your certificate.", type=_PATH, metavar="PEM")
    ] = None
    tls_server_name: Annotated[
        str | None,
        _Setting(
            "DORIAN_TLS_SERVER_NAME", "Name in the server's certificate [default: host of the address].", metavar="NAME"
        ),
    ] = None
    api_key_file: Annotated[
        Path | None,
        _Setting(
            "DORIAN_API_KEY_FILE", f"File with your API key [default: the key in {API_KEY_VARIABLE}].",
            type=_PATH, metavar="FILE",
        ),
    ] = None  # fmt: skip
    bundle: Annotated[
        str,
        _Setting(
            "DORIAN_CLIENT_BUNDLE", "Bundle of the server to use [default: its first].", metavar="NAME", is_admin=False
        ),
    ] = ""
    priority: Annotated[
        Priority,
        _Setting(
            "DORIAN_PRIORITY", "Interactive calls go before batch calls, which are the first to be rejected.",
            type=click.Choice(get_args(Priority)), is_admin=False,
        ),
    ] = DEFAULT_PRIORITY  # fmt: skip
    retries: Annotated[
        int,
        _Setting(
            "DORIAN_RETRIES", "Retries within --timeout, if the server is busy or cannot be reached.",
            type=click.IntRange(min=0), metavar="NUMBER", is_admin=False,
        ),
    ] = DEFAULT_RETRIES  # fmt: skip

    def open(self) -> Client:
        """Return a client for the server.

        Raises:
            click.UsageError: The settings cannot be used.
        """
        details = Tls(self.tls_ca, self.tls_certificate, self.tls_key, self.tls_server_name)
        tls = details if self.tls or details != Tls() else None
        try:
            return Client(
                self.server, bundle=self.bundle, priority=self.priority, timeout=self.timeout, retries=self.retries,
                tls=tls, api_key=self._read_key(),
            )  # fmt: skip
        except OSError as error:
            raise click.UsageError(f"cannot read {error.filename}: {error.strerror}") from None
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    def _read_key(self) -> str | None:
        if self.api_key_file is not None:
            return self.api_key_file.read_text().strip()
        return os.environ.get(API_KEY_VARIABLE) or None


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a connection, and pass their values on as one argument, `connection`."""
    return _add_settings(command, is_admin=False)


def with_admin_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Add those options of a connection that suit commands for operators: their calls have no bundle and no retries."""
    return _add_settings(command, is_admin=True)


def _add_settings(command: Callable[..., None], *, is_admin: bool) -> Callable[..., None]:
    hints = get_type_hints(Connection, include_extras=True)
    settings = {name: hint.__metadata__[0] for name, hint in hints.items()}
    if is_admin:
        settings = {name: setting for name, setting in settings.items() if setting.is_admin}
    defaults = Connection()

    @wraps(command)
    def with_settings(**options: Any) -> None:
        connection = Connection(**{name: options.pop(name) for name in settings})
        command(**options, connection=connection)

    decorated: Callable[..., None] = with_settings
    for name, setting in reversed(settings.items()):
        decorated = _option(name, getattr(defaults, name), setting)(decorated)
    return decorated


def _option(name: str, default: Any, setting: _Setting) -> Callable[[Callable[..., None]], Callable[..., None]]:
    is_flag = setting.type is bool
    return option(
        SERVER, f"--{name.replace('_', '-')}", name, default=default, is_flag=is_flag,
        type=None if is_flag else setting.type, metavar=setting.metavar, envvar=setting.variable, show_envvar=True,
        show_default=not is_flag and default not in (None, ""), help=setting.help,
    )  # fmt: skip
