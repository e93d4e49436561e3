"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dorian_training.data.sources import LOADERS

DEFAULT_CACHE = Path("~/.cache/dorian")

Command = TypeVar("Command", bound=Callable[..., Any])


def data_help(purpose: str) -> str:
    """Return the help text of ``--data``; ``purpose`` says what the faces are for."""
    return f"{purpose} Kinds: {', '.join(LOADERS)}."


def data_option(purpose: str, required: bool = True) -> Callable[[Command], Command]:
    """Return the option ``--data``, given once or more, as the argument ``sources``; ``purpose`` says what the faces are for."""
    return click.option(
        "--data",
        "sources",
        multiple=True,
        required=required,
        metavar="KIND:FOLDER",
        help=data_help(purpose),
    )
