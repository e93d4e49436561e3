"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dorian_training.data.sources import LOADERS

AGE_JUDGE = "faceapi_age_gender.onnx"
RECOGNISER = "face-reidentification-retail-0095.xml"

Command = TypeVar("Command", bound=Callable[..., Any])


def data_help(purpose: str) -> str:
    """Return the help text of ``--data``; ``purpose`` says what the faces are for."""
    return f"{purpose} Kinds: {', '.join(LOADERS)}."


def data_option(purpose: str, required: bool = True) -> Callable[[Command], Command]:
    """The option ``--data``, given once or more, as the argument ``sources``; ``purpose`` says what the faces are for."""
    return click.option(
        "--data",
        "sources",
        multiple=True,
        required=required,
        metavar="KIND:FOLDER",
        help=data_help(purpose),
    )


def judges_option() -> Callable[[Command], Command]:
    """The option ``--judges``, the folder of a judge of age and one of identity."""
    return click.option(
        "--judges",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        required=True,
        help=f"Folder of {AGE_JUDGE} and {RECOGNISER} (with its .bin).",
    )


def targets_option(default: str) -> Callable[[Command], Command]:
    """The option ``--targets``, as a tuple of different ages in years."""
    return click.option("--targets", default=default, callback=_years, help="Ages to ask for, in years.")


def _years(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    found: list[float] = [
        click.FloatRange(0, 120)(word, parameter, context) for word in value.replace(",", " ").split()
    ]
    if not found:
        raise click.BadParameter("give one age or more")
    return tuple(dict.fromkeys(found))
