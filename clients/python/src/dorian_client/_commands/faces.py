"""The commands that look at faces and change nothing: detect and compare."""

from __future__ import annotations

from pathlib import Path

import click

from dorian_client._commands import words
from dorian_client._commands.options import FACE_HELP, Server, read_face, with_json, with_photo, with_server
from dorian_client._drawing import draw_faces
from dorian_client._outputs import plan_picture, write
from dorian_client._photos import open_upright, read_photo
from dorian_client._results import CompareResult, DetectResult, FaceLike


@click.command()
@with_photo
@with_json
@click.option("--draw", "out", metavar="OUT", help="Write the photo with its faces drawn and numbered.")
@with_server
def detect(photo: Path, as_json: bool, out: str | None, server: Server) -> None:
    """Lists the faces in PHOTO, largest first: index, place, the detector's score, and the age that they look.

    The index is what --face of the other commands takes. A photo without a face is no error.

    OUT is a file ending in .jpg, .png or .webp, or a folder, where the drawing is called PHOTO-faces. The photo itself
    is never overwritten.

    \b
    Examples:
      dorian detect wedding.jpg
      dorian detect wedding.jpg --draw faces.png
      dorian detect wedding.jpg --json
    """
    path = None if out is None else plan_picture(out, photo, "faces", None)
    data = read_photo(photo)
    with server.connect() as client:
        result = client.detect(data)
    if as_json:
        words.print_json(result)
    else:
        _print_faces(result)
    if path is not None:
        write(draw_faces(open_upright(data), result.faces), path, quietly=as_json)


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option(
    "--first", "first_face", type=read_face, metavar="FACE",
    help=f"The face of the first photo [default: largest]. FACE: {FACE_HELP}.",
)  # fmt: skip
@click.option(
    "--second", "second_face", type=read_face, metavar="FACE", help="The face of the second photo [default: largest]."
)
@click.option(
    "--false-accept-rate", type=click.FloatRange(min=0, min_open=True), metavar="RATE",
    help="How often two people may be taken for one; 'dorian methods --json' lists the rates [default: 0.001].",
)  # fmt: skip
@with_json
@with_server
def compare(
    first: Path, second: Path, first_face: FaceLike | None, second_face: FaceLike | None,
    false_accept_rate: float | None, as_json: bool, server: Server,
) -> None:  # fmt: skip
    """Tells whether a face in the photo FIRST and one in the photo SECOND are the same person's.

    The exit code is 0 for either answer.

    \b
    Examples:
      dorian compare then.jpg now.jpg
      dorian compare portrait.jpg wedding.jpg --second 3
      dorian compare then.jpg now.jpg --false-accept-rate 0.0001 --json
    """
    with server.connect() as client:
        result = client.compare(
            first, second, first_face=first_face, second_face=second_face, false_accept_rate=false_accept_rate
        )
    if as_json:
        words.print_json(result)
    else:
        click.echo(_verdict(result))


def _print_faces(result: DetectResult) -> None:
    if not result.faces:
        click.echo("no face found")
    for face in result.faces:
        click.echo(f"{words.place(face)}, score {face.score:.2f}, age {words.estimate(face.estimated_age)}")


def _verdict(result: CompareResult) -> str:
    answer = "same person" if result.same_person else "different people"
    rate = f" (1 in {round(1 / result.false_accept_rate):,} false accepts)" if result.false_accept_rate else ""
    return f"{answer}: similarity {result.similarity:.2f}, threshold {result.threshold:.2f}{rate}"
