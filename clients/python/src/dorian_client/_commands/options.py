"""What several commands take: their options, and how ages and faces are written on a command line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from dorian_client._channel import Priority, Tls
from dorian_client._client import Client
from dorian_client._requests import OPTIMIZERS
from dorian_client._results import Age, Box, FaceLike

FACE_HELP = "largest, an index as 'dorian detect' gives it, or X,Y,W,H in pixels"
_NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?"

_Command = TypeVar("_Command", bound=Callable[..., Any])


def read_age(text: str) -> Age:
    """Returns the age that a text means: years where it is a number, else a group's label."""
    return float(text) if re.fullmatch(_NUMBER, text) else text


def read_face(text: str) -> FaceLike:
    """Returns the face that a text names: "largest", an index, or "X,Y,W,H"."""
    if text == "largest":
        return "largest"
    if re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        return int(text)
    if re.fullmatch(rf"{_NUMBER}(?:,{_NUMBER}){{3}}", text):
        return Box(*map(float, text.split(",")))
    raise click.BadParameter(f"a face cannot be {text!r}; give {FACE_HELP}")


def read_face_and_age(text: str) -> tuple[FaceLike, Age | None]:
    """Returns what "FACE" or "FACE=AGE" means; the age is None where there is no "="."""
    name, has_age, age = text.partition("=")
    if has_age and not age:
        raise click.BadParameter(f"no age behind = in {text!r}")
    return read_face(name), read_age(age) if has_age else None


@dataclass(frozen=True)
class Server:
    """Which server to ask, and how: what the options of with_server() say; of with_connection(), all without a default."""

    server: str
    timeout: float
    tls: bool
    tls_ca: Path | None
    tls_certificate: Path | None
    tls_key: Path | None
    tls_server_name: str | None
    api_key_file: Path | None
    bundle: str = ""
    priority: Priority = "interactive"
    retries: int = 0

    def connect(self) -> Client:
        """Returns a client for it; what cannot be is the command line's fault."""
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
        # Never from the command line: other users of the machine see it in the list of processes.
        if self.api_key_file is not None:
            return self.api_key_file.read_text().strip()
        return os.environ.get("DORIAN_API_KEY") or None


def with_server(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that tell of the server and how to ask it, and hands them on as one argument, "server", a Server."""
    return _gather(command, [*_CONNECTION, *_ASKING])


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Adds those options of with_server() alone that tell of the server, for a command that asks it once, of no bundle."""
    return _gather(command, _CONNECTION)


def _gather(command: Callable[..., None], added: Sequence[Callable[[_Command], _Command]]) -> Callable[..., None]:
    @wraps(command)
    def gathered(**options: Any) -> None:
        server = Server(**{field.name: options.pop(field.name) for field in fields(Server) if field.name in options})
        command(**options, server=server)

    for option in reversed(added):
        gathered = option(gathered)
    return gathered


_FILE = click.Path(path_type=Path)
_CONNECTION = [
    click.option(
        "--server", default="localhost:50051", metavar="HOST:PORT", envvar="DORIAN_SERVER",
        show_envvar=True, show_default=True, help="The server's address.",
    ),
    click.option(
        "--timeout", default=60.0, type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
        envvar="DORIAN_TIMEOUT", show_envvar=True, show_default=True, help="How long the server may take.",
    ),
    click.option(
        "--tls", is_flag=True, envvar="DORIAN_TLS", show_envvar=True,
        help="Speak TLS, and trust the public authorities; the other --tls options imply it.",
    ),
    click.option(
        "--tls-ca", type=_FILE, metavar="PEM", envvar="DORIAN_TLS_CA", show_envvar=True,
        help="The authorities to trust in place of the public ones.",
    ),
    click.option(
        "--tls-certificate", type=_FILE, metavar="PEM", envvar="DORIAN_CLIENT_CERTIFICATE", show_envvar=True,
        help="Your certificate, for a server that wants one.",
    ),
    click.option(
        "--tls-key", type=_FILE, metavar="PEM", envvar="DORIAN_CLIENT_KEY", show_envvar=True,
        help="Your certificate's key.",
    ),
    click.option(
        "--tls-server-name", metavar="NAME", envvar="DORIAN_TLS_SERVER_NAME", show_envvar=True,
        help="The name in the server's certificate [default: the address's host].",
    ),
    click.option(
        "--api-key-file", type=_FILE, metavar="FILE", envvar="DORIAN_API_KEY_FILE", show_envvar=True,
        help="A file with your API key [default: the key in DORIAN_API_KEY].",
    ),
]  # fmt: skip
_ASKING = [
    click.option(
        "--bundle", default="", metavar="NAME", envvar="DORIAN_CLIENT_BUNDLE", show_envvar=True,
        help="Which of the server's bundles to ask [default: its first].",
    ),
    click.option(
        "--priority", default="interactive", type=click.Choice(get_args(Priority)), envvar="DORIAN_PRIORITY",
        show_envvar=True, show_default=True, help="Batch waits for interactive, and is refused first.",
    ),
    click.option(
        "--retries", default=5, type=click.IntRange(min=0), metavar="NUMBER", envvar="DORIAN_RETRIES",
        show_envvar=True, show_default=True,
        help="How often to ask again, within --timeout, where the server is busy or not there.",
    ),
]  # fmt: skip


def with_search(command: _Command) -> _Command:
    """Adds --optimizer and --steps."""
    optimizer = click.option(
        "--optimizer", type=click.Choice(list(OPTIMIZERS)), help="What searches the latent [default: l-bfgs-b]."
    )
    steps = click.option(
        "--steps", type=click.IntRange(min=1), metavar="NUMBER",
        help="How many steps the search may take [default: the server's].",
    )  # fmt: skip
    return optimizer(steps(command))


with_photo = click.argument("photo", type=click.Path(path_type=Path))
with_out = click.option("-o", "--out", required=True, metavar="OUT", help="Where to write.")
with_source = click.option(
    "--from", "source", type=read_age, metavar="AGE", help="Age that the faces have now [default: estimated]."
)
with_method = click.option(
    "--method", metavar="NAME", help="A method's name [default: the first that can draw what is asked for]."
)
with_json = click.option("--json", "as_json", is_flag=True, help="As JSON, with everything that is known.")
