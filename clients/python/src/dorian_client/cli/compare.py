"""dorian compare: tell whether two faces belong to the same person."""

from __future__ import annotations

from pathlib import Path

import click

from dorian_client._faces import FaceLike
from dorian_client._results import CompareResult
from dorian_client.cli.connection import Connection, with_connection
from dorian_client.cli.options import FACE_HELP, FACES, Command, option, parse_face, with_json
from dorian_client.cli.reporting import print_json


@click.command(cls=Command, short_help="Tell whether two faces belong to the same person.")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@option(
    FACES, "--first", "first_face", type=parse_face, metavar="FACE",
    help=f"The face of the first photo [default: largest]. FACE: {FACE_HELP}.",
)  # fmt: skip
@option(
    FACES,
    "--second",
    "second_face",
    type=parse_face,
    metavar="FACE",
    help="The face of the second photo [default: largest].",
)
@option(
    FACES, "--false-accept-rate", type=click.FloatRange(min=0, min_open=True), metavar="RATE",
    help="How often two people may be taken for one; 'dorian methods --json' lists the rates [default: 0.001].",
)  # fmt: skip
@with_json
@with_connection
def compare(
    first: Path, second: Path, first_face: FaceLike | None, second_face: FaceLike | None,
    false_accept_rate: float | None, as_json: bool, connection: Connection,
) -> None:  # fmt: skip
    """Tell whether a face in the photo FIRST and a face in the photo SECOND belong to the same person.

    Where the server knows it, also how many years apart two real photos of one adult are that are as alike, on average.

    The exit code is 0 for either answer.

    \b
    Examples:
      dorian compare then.jpg now.jpg
      dorian compare portrait.jpg wedding.jpg --second 3
      dorian compare then.jpg now.jpg --false-accept-rate 0.0001 --json
    """
    with connection.open() as client:
        result = client.compare(
            first, second, first_face=first_face, second_face=second_face, false_accept_rate=false_accept_rate
        )
    if as_json:
        print_json(result)
    else:
        click.echo(_format_verdict(result))
        if result.match is not None and result.match.years_apart is not None:
            click.echo(f"they are {result.match.years_apart}")


def _format_verdict(result: CompareResult) -> str:
    answer = "same person" if result.same_person else "different people"
    rate = f" (1 in {round(1 / result.false_accept_rate):,} false accepts)" if result.false_accept_rate else ""
    return f"{answer}: similarity {result.similarity:.2f}, threshold {result.threshold:.2f}{rate}"
