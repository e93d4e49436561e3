"""Options that several commands share, help texts in sections, and the syntax of ages and faces on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dorian_client._faces import Age, Box, FaceLike, Filter
from dorian_client._requests import BLENDS, OPTIMIZERS
from dorian_client.cli.outputs import OUT_HELP

FACE_HELP = "largest, an index as 'dorian detect' lists it, or X,Y,W,H in pixels"
_NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?"

# Sections of the help, in the order of a command's options.
FACES, METHOD, OUTPUT, SEARCH, SERVER = "Faces and ages", "Method", "Output", "Latent search", "Server"

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Option(click.Option):
    def __init__(self, *arguments: Any, section: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.section = section


class Command(click.Command):
    """A command whose help lists its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, in the order in which their first options were declared; --help comes last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        for parameter in sorted(options, key=lambda option: not isinstance(option, _Option)):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", "Other options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def option(section: str, *names: str, **attributes: Any) -> Callable[[_Command], _Command]:
    """Return a decorator that adds an option to a section of a command's help.

    Args:
        section: The section's title.
        names: As for `click.option`.
        **attributes: As for `click.option`.
    """
    return click.option(*names, cls=_Option, section=section, **attributes)


def parse_age(text: str) -> Age:
    """Return the age that a text stands for: years if it is a number, otherwise a group's label."""
    return float(text) if re.fullmatch(_NUMBER, text) else text


def parse_face(text: str) -> FaceLike:
    """Return the face that a text selects: "largest", an index, or "X,Y,W,H"."""
    if text == "largest":
        return "largest"
    if re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        return int(text)
    if re.fullmatch(rf"{_NUMBER}(?:,{_NUMBER}){{3}}", text):
        return Box(*map(float, text.split(",")))
    raise click.BadParameter(f"a face cannot be {text!r}; give {FACE_HELP}")


def parse_face_and_age(text: str) -> tuple[FaceLike, Age | None]:
    """Return what "FACE" or "FACE=AGE" stands for; the age is None without "="."""
    face, has_age, age = text.partition("=")
    if has_age and not age:
        raise click.BadParameter(f"no age after = in {text!r}")
    return parse_face(face), parse_age(age) if has_age else None


def with_search(command: _Command) -> _Command:
    """Add --optimizer and --steps."""
    optimizer = option(
        SEARCH, "--optimizer", type=click.Choice(list(OPTIMIZERS)), help="Optimizer of the search [default: l-bfgs-b]."
    )
    steps = option(
        SEARCH, "--steps", type=click.IntRange(min=1), metavar="NUMBER",
        help="Steps of the search at most [default: the server's].",
    )  # fmt: skip
    return optimizer(steps(command))


with_photo = click.argument("photo", type=click.Path(path_type=Path))
with_out = option(OUTPUT, "-o", "--out", required=True, metavar="OUT", help=f"Where to write: {OUT_HELP}.")
with_json = option(OUTPUT, "--json", "as_json", is_flag=True, help="Print JSON with all fields of the result.")
with_strength = option(
    METHOD, "--strength", type=float, metavar="NUMBER", help="How much of the change to make, 0 to 1.5 [default: 1]."
)
with_keep_identity = option(
    METHOD, "--keep-identity", type=float, metavar="SIMILARITY",
    help="Change each face only as far as its similarity to what it was stays at or above this, above 0 to 1 "
    "[default: the whole way].",
)  # fmt: skip
with_keep_hair = option(
    METHOD, "--keep-hair", is_flag=True, help="Leave hair, beards and brows as they are, whatever the age."
)
with_blend = option(
    METHOD, "--blend", type=click.Choice(list(BLENDS)),
    help="Add the change to the face, or replace the face by the drawn one [default: delta].",
)  # fmt: skip
with_ages = option(
    FACES, "--to", "ages", type=parse_age, metavar="AGE", multiple=True, help="Target age; repeat for several."
)
with_filters = option(
    FACES, "--filter", "filters", type=Filter, metavar="NAME", multiple=True,
    help="Target filter, as 'dorian methods' lists them; repeat for several.",
)  # fmt: skip
with_source = option(
    FACES, "--from", "source", type=parse_age, metavar="AGE", help="Current age of the faces [default: estimated]."
)
with_method = option(
    METHOD, "--method", metavar="NAME", help="A method's name [default: the first that can do what is requested]."
)
