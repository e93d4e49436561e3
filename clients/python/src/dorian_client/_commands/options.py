"""What several commands take: their options, and how ages and faces are written on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

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


def connect(server: str, timeout: float) -> Client:
    """Returns a client for what --server and --timeout say."""
    try:
        return Client(server, timeout=timeout)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def with_server(command: _Command) -> _Command:
    """Adds --server and --timeout."""
    server = click.option(
        "--server", default="localhost:50051", metavar="HOST:PORT", envvar="DORIAN_SERVER",
        show_envvar=True, show_default=True, help="The server's address.",
    )  # fmt: skip
    timeout = click.option(
        "--timeout", default=60.0, type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
        envvar="DORIAN_TIMEOUT", show_envvar=True, show_default=True, help="How long the server may take.",
    )  # fmt: skip
    return server(timeout(command))


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
