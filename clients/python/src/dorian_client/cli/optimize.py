"""dorian optimize: search for the latent of a face, and show the search in progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dorian_client._faces import FaceLike
from dorian_client._files import PNG
from dorian_client._pictures import Picture
from dorian_client._requests import DEFAULT_SEARCH_MODE, SEARCH_MODES
from dorian_client._results import SearchResult, SearchStep
from dorian_client._search import Search
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


@click.command(cls=Command, short_help="Search for the latent of a face, step by step.")
@with_photo
@option(FACES, "--face", type=parse_face, metavar="FACE", help=f"The face [default: largest]. FACE: {FACE_HELP}.")
@with_source
@with_method
@option(
    SEARCH, "--mode", type=click.Choice(list(SEARCH_MODES)), default=DEFAULT_SEARCH_MODE, show_default=True,
    help="Objective of the search.",
)  # fmt: skip
@with_search
@with_out
@option(OUTPUT, "--latent", metavar="OUT.json", help="Also write the latent, for 'dorian age --latent'.")
@option(
    OUTPUT, "--preview-every", type=click.IntRange(min=1), default=10, metavar="NUMBER", show_default=True,
    help="Steps from one preview to the next.",
)  # fmt: skip
@option(
    OUTPUT, "--previews", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Also write the previews, as PHOTO-0010.png and so on, by step.",
)  # fmt: skip
@with_connection
def optimize(
    photo: Path, face: FaceLike | None, out: str, latent: str | None, steps: int | None, previews: Path | None,
    connection: Connection, **options: Any,
) -> None:  # fmt: skip
    """Search for the latent that draws a face of PHOTO best, step by step, and write what is drawn from it.

    The objective "pixelwise" compares the face's pixels, "identity" its embedding, "blended" both. 'dorian methods' lists
    which methods optimise.

    In a folder, the drawing is called PHOTO-optimised. The photo itself is never overwritten. Steps are shown on stderr.

    Ctrl-C ends the search, on the server too. If a search ends early, for whatever reason, the last preview becomes OUT,
    but no latent is written.

    \b
    Examples:
      dorian optimize portrait.jpg -o drawing.png
      dorian optimize portrait.jpg -o drawing.png --latent latent.json
      dorian optimize portrait.jpg -o drawing.png --preview-every 5 --previews previews/
      dorian optimize wedding.jpg --face 2 --mode blended --optimizer adam --steps 200 -o drawing.png
    """
    path = plan_picture(out, photo, "optimised", None)
    latent_path = None if latent is None else plan_latents(latent, photo)
    with connection.open() as client:
        search = client.optimize(photo, face=face, max_steps=steps, format=PNG.name, **options)
        result = _follow(search, path, previews, photo.stem)
    reconstruction = result.reconstruction
    warn_of_failures([reconstruction])
    if reconstruction.face is not None and reconstruction.picture is not None:  # always, unless the face failed
        click.echo(f"{format_face(reconstruction.face)}, {format_reconstruction(reconstruction)}")
        click.echo(f"searched for {result.seconds:.2f} s")
        write_picture(reconstruction.picture, path)
    if latent_path is not None:
        write_json(latents_to_dict(result.provenance, [reconstruction]), latent_path)


def _follow(search: Search, path: Path, previews: Path | None, name: str) -> SearchResult:
    """Show a search in progress, write its previews, and return its result.

    If it ends without a result, its last preview is written to `path`.
    """
    shown: dict[int, Picture] = {}
    try:
        with search, _status_line() as show:
            for step in search:
                if step.preview is not None:
                    shown[step.step] = step.preview
                    if previews is not None:
                        previews.mkdir(parents=True, exist_ok=True)
                        step.preview.save(previews / f"{name}-{step.step:04d}{PNG.suffixes[0]}")
                show(_format_step(step))
            result = search.result()
    except BaseException:
        if shown:
            number, picture = shown.popitem()
            click.echo(f"kept the best of the search up to step {number}", err=True)
            write_picture(picture, path, on_stderr=True)
        raise
    if previews is not None:
        click.echo(f"wrote {count(len(shown), 'preview')} into {click.format_filename(previews)}")
    return result


def _format_step(step: SearchStep) -> str:
    return (
        f"step {step.step}: loss {step.loss:.4g}, best {step.best_loss:.4g}, similarity {step.identity_similarity:.2f}"
    )


@contextmanager
def _status_line() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows a text on stderr: in place of the one before on a terminal, otherwise on a new line."""
    if not sys.stderr.isatty():
        yield lambda text: click.echo(text, err=True)
        return
    width = 0

    def show(text: str) -> None:
        nonlocal width
        click.echo("\r" + text.ljust(width), err=True, nl=False)
        width = len(text)

    try:
        yield show
    finally:
        if width:
            click.echo(err=True)
