"""The command that searches the latent of a face, and shows the search as it goes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from dorian_client._requests import AIMS
from dorian_client._results import FaceLike, SearchResult, SearchStep
from dorian_client._search import Search


@click.command()
@with_photo
@click.option("--face", type=read_face, metavar="FACE", help=f"The face [default: largest]. FACE: {FACE_HELP}.")
@with_out
@click.option("--latent", metavar="OUT.json", help="Write the latent, too, for 'dorian age --latent'.")
@click.option(
    "--mode", type=click.Choice(list(AIMS)), default="identity", help="What the search aims at [default: identity]."
)
@with_search
@click.option(
    "--preview-every", type=click.IntRange(min=1), default=10, metavar="NUMBER", show_default=True,
    help="How many steps there are from one preview to the next.",
)  # fmt: skip
@click.option(
    "--previews", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Write the previews, too, as PHOTO-0010.png and so on, by their step.",
)  # fmt: skip
@with_source
@with_method
@with_server
def optimize(
    photo: Path, face: FaceLike | None, out: str, latent: str | None, steps: int | None, previews: Path | None,
    server: Server, **settings: Any,
) -> None:  # fmt: skip
    """Searches the latent that draws a face of PHOTO best, step by step, and writes what is drawn from it.

    A search for "pixelwise" aims at the face's pixels, for "identity" at its embedding, for "blended" at both at once.
    'dorian methods' says which methods optimise.

    OUT is a file ending in .jpg, .png or .webp, or a folder, where the drawing is called PHOTO-optimised. The photo
    itself is never overwritten. Steps are shown on stderr.

    Ctrl-C ends the search, on the server too. Where it ends early, for whatever reason, the last preview becomes OUT,
    but there is no latent to write.

    \b
    Examples:
      dorian optimize portrait.jpg -o drawn.png
      dorian optimize portrait.jpg -o drawn.png --latent latent.json
      dorian optimize portrait.jpg -o drawn.png --preview-every 5 --previews previews/
      dorian optimize wedding.jpg --face 2 --mode blended --optimizer adam --steps 200 -o drawn.png
    """
    path = plan_picture(out, photo, "optimised", None)
    latent_path = None if latent is None else plan_latents(latent, photo)
    with server.connect() as client:
        search = client.optimize(photo, face=face, max_steps=steps, format="png", **settings)
        result = _follow(search, path, previews, photo.stem)
    drawn = result.reconstruction
    words.warn_of_failures([drawn])
    if drawn.face is not None and drawn.picture is not None:  # as it is, unless it failed
        click.echo(f"{words.place(drawn.face)}, {words.drawing(drawn)}")
        click.echo(f"searched for {result.seconds:.2f} s")
        write(drawn.picture, path)
    if latent_path is not None:
        write_json(describe_latents(result.provenance, [drawn]), latent_path)


def _follow(search: Search, path: Path, previews: Path | None, name: str) -> SearchResult:
    """Shows a search, writes its previews, and returns its result; where it ends without, the last preview becomes path."""
    kept: dict[int, Picture] = {}
    try:
        with search, _one_line() as show:
            for step in search:
                if step.preview is not None:
                    kept[step.step] = step.preview
                    if previews is not None:
                        previews.mkdir(parents=True, exist_ok=True)
                        step.preview.save(previews / f"{name}-{step.step:04d}.png")
                show(_describe(step))
            result = search.result()
    except BaseException:
        if kept:
            number, picture = kept.popitem()
            click.echo(f"kept the best of the search up to step {number}", err=True)
            write(picture, path, quietly=True)
        raise
    if previews is not None:
        click.echo(f"wrote {len(kept)} preview{'' if len(kept) == 1 else 's'} into {click.format_filename(previews)}")
    return result


def _describe(step: SearchStep) -> str:
    return (
        f"step {step.step}: loss {step.loss:.4g}, best {step.best_loss:.4g}, similarity {step.identity_similarity:.2f}"
    )


@contextmanager
def _one_line() -> Iterator[Callable[[str], None]]:
    """Gives what shows a text on stderr: in place of the one before, or on a line of its own where that is no terminal."""
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
