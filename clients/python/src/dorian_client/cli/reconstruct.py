"""dorian reconstruct: show what the networks make of the faces in a photo."""

from __future__ import annotations

from pathlib import Path

import click

from dorian_client._faces import Age, FaceLike
from dorian_client._files import PNG
from dorian_client._pictures import Picture
from dorian_client._rendering import make_sheet
from dorian_client._requests import DEFAULT_MODE, MODES
from dorian_client._results import ReconstructResult
from dorian_client.cli.connection import Connection, with_connection
from dorian_client.cli.latent_files import latents_to_dict
from dorian_client.cli.options import (
    FACE_HELP,
    FACES,
    OUTPUT,
    SEARCH,
    Command,
    option,
    parse_face,
    with_method,
    with_out,
    with_photo,
    with_search,
    with_source,
)
from dorian_client.cli.outputs import plan_latents, plan_picture, write_json, write_picture
from dorian_client.cli.reporting import count, format_face, format_reconstruction, warn_of_failures


@click.command(cls=Command, short_help="Show what the networks make of the faces in a photo.")
@with_photo
@option(
    FACES, "--face", "faces", type=parse_face, metavar="FACE", multiple=True,
    help=f"A face to show [default: all]; repeat for several. FACE: {FACE_HELP}.",
)  # fmt: skip
@with_source
@with_method
@option(
    SEARCH, "--mode", type=click.Choice(list(MODES)), default=DEFAULT_MODE, show_default=True,
    help="How the latent is found: by the encoder alone, or by a search.",
)  # fmt: skip
@with_search
@with_out
@option(OUTPUT, "--latents", metavar="OUT.json", help="Also write the latents, for 'dorian age --latent'.")
@with_connection
def reconstruct(
    photo: Path, faces: tuple[FaceLike, ...], out: str, latents: str | None, mode: str, optimizer: str | None,
    steps: int | None, source: Age | None, method: str | None, connection: Connection,
) -> None:  # fmt: skip
    """Show what the networks make of PHOTO: for each face, its crop beside what is drawn from its latent.

    The sheet has a row per face; in a folder, it is called PHOTO-reconstruction.

    The modes are those of Antipov et al. 2017: "initial" takes the encoder's latent; "pixelwise" searches for the drawing
    whose pixels are nearest to the face's, "identity" for the one whose embedding is, and "blended" for both. Only a method
    that optimises can search; 'dorian optimize' shows a search in progress.

    \b
    Examples:
      dorian reconstruct portrait.jpg -o sheet.png
      dorian reconstruct portrait.jpg --from 30-39 -o sheet.png
      dorian reconstruct wedding.jpg --face 0 --face 2 -o sheet.png
      dorian reconstruct wedding.jpg --mode identity --latents latents.json -o sheet.png
    """
    if mode == DEFAULT_MODE and (optimizer is not None or steps is not None):
        raise click.UsageError(f"there is no search: --optimizer and --steps need a --mode other than {DEFAULT_MODE}")
    path = plan_picture(out, photo, "reconstruction", None)
    latents_path = None if latents is None else plan_latents(latents, photo)
    with connection.open() as client:
        result = client.reconstruct(
            photo, faces=faces or None, mode=mode, optimizer=optimizer, max_steps=steps, source=source, method=method,
            format=PNG.name,
        )  # fmt: skip
    warn_of_failures(result.faces)
    pictures, labels = _print_and_collect(result)
    write_picture(make_sheet(pictures, labels, columns=2), path)
    if latents_path is not None:
        write_json(latents_to_dict(result.provenance, result.faces), latents_path)


def _print_and_collect(result: ReconstructResult) -> tuple[list[Picture], list[str]]:
    """Print a line per reconstructed face; return their crops and drawings, with labels."""
    pictures: list[Picture] = []
    labels: list[str] = []
    for reconstruction in result.faces:
        face = reconstruction.face
        if face is None or reconstruction.crop is None or reconstruction.picture is None:
            continue
        click.echo(f"{format_face(face)}, {format_reconstruction(reconstruction)}")
        pictures += [reconstruction.crop, reconstruction.picture]
        labels += [f"face {face.index}", f"reconstruction {face.index}"]
    click.echo(f"drew {count(len(pictures) // 2, 'face')} in {result.seconds:.2f} s")
    return pictures, labels
