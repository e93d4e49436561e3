"""Options that several commands of ``dorian-evaluate`` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from dorian_evaluation.judges import AGE_JUDGES, IDENTITY_JUDGES
from dorian_training.cli.options import DEFAULT_CACHE, Command

INPUT_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
INPUT_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
OUTPUT_FILE = click.Path(path_type=Path, dir_okay=False)


class RenamingCommand(click.Command):
    """A command whose options may also be given by the names that they had before, with a warning.

    Args:
        renamed: The options' names by their former names.
    """

    def __init__(self, *args: Any, renamed: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._renamed = renamed

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Replace former names, then parse."""
        return super().parse_args(ctx, [self._rename(argument) for argument in args])

    def _rename(self, argument: str) -> str:
        former, equals, value = argument.partition("=")
        if former not in self._renamed:
            return argument
        option = self._renamed[former]
        click.echo(f"Warning: {former} is deprecated and will be removed in the next release; use {option}", err=True)
        return f"{option}{equals}{value}"


def judges_option() -> Callable[[Command], Command]:
    """Return the option ``--judges``, a folder with a judge of age and one of identity."""
    age, identity = (" or ".join(names) for names in (AGE_JUDGES, IDENTITY_JUDGES))
    return click.option(
        "--judges", type=INPUT_FOLDER, required=True, help=f"Folder of {age} and {identity} (with its .bin)."
    )


def targets_option(default: str) -> Callable[[Command], Command]:
    """Return the option ``--targets``, as a tuple of different ages in years."""
    return click.option(
        "--targets", metavar="YEARS", default=default, callback=_parse_ages, help="Target ages in years: '25 35 45'."
    )


def cache_option() -> Callable[[Command], Command]:
    """Return the option ``--cache``, as a path without ``~``."""
    return click.option(
        "--cache",
        type=click.Path(path_type=Path),
        default=DEFAULT_CACHE,
        callback=lambda context, parameter, path: path.expanduser(),
        help="Folder of prepared crops.",
    )


def _parse_ages(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    ages: list[float] = [click.FloatRange(0, 120)(age, parameter, context) for age in value.replace(",", " ").split()]
    if not ages:
        raise click.BadParameter("give one age or more")
    return tuple(dict.fromkeys(ages))
