"""The command that shows what the networks see in a photo."""

from __future__ import annotations

from pathlib import Path

import click

from dorian_client._commands import words
from dorian_client._commands.latents import describe_latents
from dorian_client._commands.options import (
    FACE_HELP,
    Server,
    read_face,
    with_method,
    with_out,
    with_photo,
    with_search,
    with_server,
    with_source,
)
from dorian_client._outputs import plan_latents, plan_picture, write, write_json
from dorian_client._pictures import Picture
from dorian_client._requests import MODES
from dorian_client._results import Age, FaceLike, ReconstructResult
from dorian_client._sheet import make_sheet


@click.command()
@with_photo
@click.option(
    "--face", "faces", type=read_face, metavar="FACE", multiple=True,
    help=f"A face to show [default: all]; may be given several times. FACE: {FACE_HELP}.",
)  # fmt: skip
@with_out
@click.option("--latents", metavar="OUT.json", help="Write the latents, too, for 'dorian age --latent'.")
@click.option(
    "--mode", type=click.Choice(list(MODES)), default="initial",
    help="How the latent is found: the encoder's first approximation, or a search [default: initial].",
)  # fmt: skip
@with_search
@with_source
@with_method
@with_server
def reconstruct(
    photo: Path, faces: tuple[FaceLike, ...], out: str, latents: str | None, mode: str, optimizer: str | None,
    steps: int | None, source: Age | None, method: str | None, server: Server,
) -> None:  # fmt: skip
    """Shows what the networks see in PHOTO: for each face, its crop beside what is drawn from its latent.

    OUT is a file ending in .jpg, .png or .webp, or a folder, where the sheet is called PHOTO-reconstruction. It has one
    row a face.

    The modes are those of Antipov et al. 2017: "initial" takes the latent as the encoder finds it; then "pixelwise"
    searches for the drawing whose pixels are nearest to the face's, "identity" for the one whose embedding is, and
    "blended" for both at once. Only a method that optimises can search; 'dorian optimize' shows a search as it goes.

    \b
    Examples:
      dorian reconstruct portrait.jpg -o seen.png
      dorian reconstruct portrait.jpg --from 30-39 -o seen.png
      dorian reconstruct wedding.jpg --face 0 --face 2 -o seen.png
      dorian reconstruct wedding.jpg --mode identity --latents latents.json -o seen.png
    """
    if mode == "initial" and (optimizer is not None or steps is not None):
        raise click.UsageError("nothing is searched: --optimizer and --steps go with a --mode other than initial")
    path = plan_picture(out, photo, "reconstruction", None)
    latents_path = None if latents is None else plan_latents(latents, photo)
    with server.connect() as client:
        result = client.reconstruct(
            photo, faces=faces or None, mode=mode, optimizer=optimizer, max_steps=steps, source=source, method=method,
            format="png",
        )  # fmt: skip
    words.warn_of_failures(result.faces)
    pictures, labels = _print_and_collect(result)
    write(make_sheet(pictures, labels, columns=2), path)
    if latents_path is not None:
        write_json(describe_latents(result.provenance, result.faces), latents_path)


def _print_and_collect(result: ReconstructResult) -> tuple[list[Picture], list[str]]:
    """Prints a line for each face that was drawn; returns their crops and drawings, and a label for each."""
    pictures: list[Picture] = []
    labels: list[str] = []
    for drawn in result.faces:
        if drawn.face is None or drawn.crop is None or drawn.picture is None:
            continue
        click.echo(f"{words.place(drawn.face)}, {words.drawing(drawn)}")
        pictures += [drawn.crop, drawn.picture]
        labels += [f"face {drawn.face.index}", f"reconstruction {drawn.face.index}"]
    click.echo(f"drew {words.count_faces(len(pictures) // 2)} in {result.seconds:.2f} s")
    return pictures, labels
