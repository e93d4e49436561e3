"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dorian_training.data.sources import LOADERS

Command = TypeVar("Command", bound=Callable[..., Any])


def data_option(words: str, required: bool = True) -> Callable[[Command], Command]:
    """The option ``--data``, given once or more, as the argument ``sources``; ``words`` say what the faces are for."""
    return click.option(
        "--data",
        "sources",
        multiple=True,
        required=required,
        metavar="KIND:FOLDER",
        help=f"{words} Kinds: {', '.join(LOADERS)}.",
    )
