"""The command that shows what the networks see in a photo."""

from __future__ import annotations

from pathlib import Path

import click

from dorian_client._commands import words
from dorian_client._commands.options import (
    FACE_HELP,
    connect,
    read_face,
    with_method,
    with_out,
    with_photo,
    with_server,
    with_source,
)
from dorian_client._outputs import plan_picture, write
from dorian_client._pictures import Picture
from dorian_client._results import Age, FaceLike, ReconstructResult
from dorian_client._sheet import make_sheet


@click.command()
@with_photo
@click.option(
    "--face", "faces", type=read_face, metavar="FACE", multiple=True,
    help=f"A face to show [default: all]; may be given several times. FACE: {FACE_HELP}.",
)  # fmt: skip
@with_out
@with_source
@with_method
@with_server
def reconstruct(
    photo: Path, faces: tuple[FaceLike, ...], out: str, source: Age | None, method: str | None,
    server: str, timeout: float,
) -> None:  # fmt: skip
    """Shows what the networks see in PHOTO: for each face, its crop beside what is drawn from its latent.

    OUT is a file ending in .jpg, .png or .webp, or a folder, where the sheet is called PHOTO-reconstruction. It has one
    row a face.

    \b
    Examples:
      dorian reconstruct portrait.jpg -o seen.png
      dorian reconstruct portrait.jpg --from 30-39 -o seen.png
      dorian reconstruct wedding.jpg --face 0 --face 2 -o seen.png
    """
    path = plan_picture(out, photo, "reconstruction", None)
    with connect(server, timeout) as client:
        result = client.reconstruct(photo, faces=faces or None, source=source, method=method, format="png")
    words.warn_of_failures(result.faces)
    pictures, labels = _print_and_collect(result)
    write(make_sheet(pictures, labels, columns=2), path)


def _print_and_collect(result: ReconstructResult) -> tuple[list[Picture], list[str]]:
    """Prints a line for each face that was drawn; returns their crops and drawings, and a label for each."""
    pictures: list[Picture] = []
    labels: list[str] = []
    for drawn in result.faces:
        if drawn.face is None or drawn.crop is None or drawn.picture is None:
            continue
        error = f"pixel error {drawn.pixel_error:.3f}"
        click.echo(f"{words.place(drawn.face)}, drawn as {words.origin(drawn)}, {error}{words.similarity(drawn)}")
        pictures += [drawn.crop, drawn.picture]
        labels += [f"face {drawn.face.index}", f"reconstruction {drawn.face.index}"]
    click.echo(f"drew {words.count_faces(len(pictures) // 2)} in {result.seconds:.2f} s")
    return pictures, labels
