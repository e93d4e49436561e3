"""dorian detect: list the faces of a photo."""

from __future__ import annotations

from pathlib import Path

import click

from dorian_client._faces import Face
from dorian_client._photos import open_upright, read_photo
from dorian_client._rendering import draw_faces
from dorian_client._results import DetectResult
from dorian_client.cli.connection import Connection, with_connection
from dorian_client.cli.options import OUTPUT, Command, option, with_json, with_photo
from dorian_client.cli.outputs import OUT_HELP, plan_picture, write_picture
from dorian_client.cli.reporting import format_estimate, format_face, format_interval, format_pose, print_json


@click.command(cls=Command, short_help="List the faces in a photo.")
@with_photo
@with_json
@option(
    OUTPUT, "--draw", "out", metavar="OUT", help=f"Write the photo with its faces outlined and numbered: {OUT_HELP}."
)
@with_connection
def detect(photo: Path, as_json: bool, out: str | None, connection: Connection) -> None:
    """List the faces in PHOTO, largest first: index, position, the detector's score and the estimated age.

    Where the server knows them, also between which ages the person is likely to be, how the face is turned, and how much of
    it can be seen.

    --face of the other commands takes the index. A photo without a face is no error. In a folder, the drawing is called
    PHOTO-faces. The photo itself is never overwritten.

    \b
    Examples:
      dorian detect wedding.jpg
      dorian detect wedding.jpg --draw faces.png
      dorian detect wedding.jpg --json
    """
    path = None if out is None else plan_picture(out, photo, "faces", None)
    data = read_photo(photo)
    with connection.open() as client:
        result = client.detect(data)
    if as_json:
        print_json(result)
    else:
        _print_faces(result)
    if path is not None:
        write_picture(draw_faces(open_upright(data), result.faces), path, on_stderr=as_json)


def _print_faces(result: DetectResult) -> None:
    if not result.faces:
        click.echo("no face found")
    for face in result.faces:
        click.echo(_describe_face(face))


def _describe_face(face: Face) -> str:
    parts = [format_face(face), f"score {face.score:.2f}"]
    parts += [f"age {format_estimate(face.estimated_age)}{format_interval(face.interval)}"]
    parts += [] if face.pose is None else [format_pose(face.pose)]
    parts += [] if face.visibility is None else [f"{face.visibility:.0%} visible"]
    return ", ".join(parts)
