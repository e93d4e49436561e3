"""The command that ages a photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from PIL import Image

from dorian_client._commands import words
from dorian_client._commands.latents import SavedLatents, read_latents
from dorian_client._commands.options import (
    FACE_HELP,
    Server,
    read_age,
    read_face_and_age,
    with_method,
    with_out,
    with_photo,
    with_server,
    with_source,
)
from dorian_client._outputs import plan_deltas, plan_picture, plan_pictures, write
from dorian_client._photos import open_upright, read_photo
from dorian_client._pictures import format_of
from dorian_client._requests import BLENDS, BUDGETS, FORMATS
from dorian_client._results import Age, AgeResult, Face, FaceLike, FaceReport, Filter, Target
from dorian_client._sheet import make_sheet


@click.command()
@with_photo
@click.option(
    "--to", "ages", type=read_age, metavar="AGE", multiple=True, help="Age to aim at; may be given several times."
)
@click.option(
    "--filter", "filters", type=Filter, metavar="NAME", multiple=True,
    help="Filter to aim at, as 'dorian methods' lists them; may be given several times.",
)  # fmt: skip
@click.option(
    "--face", "faces", type=read_face_and_age, metavar="FACE[=AGE]", multiple=True,
    help=f"A face to change [default: all], or one with an age of its own; may be given several times. FACE: {FACE_HELP}.",
)  # fmt: skip
@click.option(
    "--sweep", is_flag=True,
    help="One labelled sheet: the photo, then all age groups, or filters where there are none (or those of --to).",
)  # fmt: skip
@with_out
@click.option("--delta", metavar="OUT", help="Write what was added to the photo, too: a PNG layer of its own.")
@with_source
@with_method
@click.option("--strength", type=float, metavar="NUMBER", help="How much of the change to make, 0 to 1.5 [default: 1].")
@click.option(
    "--blend", type=click.Choice(list(BLENDS)),
    help="Add the change to the face, or draw the face anew [default: delta].",
)  # fmt: skip
@click.option(
    "--optimisation", type=click.Choice(list(BUDGETS)),
    help="How long to search for the latent that keeps the person, by a method that optimises [default: none].",
)  # fmt: skip
@click.option(
    "--latent", "latents", type=read_latents, metavar="FILE.json", multiple=True,
    help="Latents that 'dorian reconstruct' or 'dorian optimize' wrote for PHOTO, and their method; may be given several "
    "times.",
)  # fmt: skip
@click.option("--format", type=click.Choice(list(FORMATS)), help="[default: by OUT's suffix]")
@click.option("--quality", type=click.IntRange(1, 100), help="For JPEG and WebP [default: the server's].")
@click.option("--keep-metadata", is_flag=True, help="Keep the camera, time and author of the photo's EXIF.")
@with_server
def age(
    photo: Path, ages: tuple[Age, ...], filters: tuple[Filter, ...], faces: tuple[tuple[FaceLike, Age | None], ...],
    sweep: bool, out: str, delta: str | None, method: str | None, latents: tuple[SavedLatents, ...], format: str | None,
    quality: int | None, keep_metadata: bool, server: Server, **settings: Any,
) -> None:  # fmt: skip
    """Ages the faces in PHOTO, a JPEG, PNG or WebP file.

    An AGE is the label of an age group ("60+", "19-29") or a number of years ("45"). A filter is a change that has a NAME
    in the place of an age; what is said of --to below holds for --filter, too. Pictures come in the order of --to, then
    of --filter.

    With --face only the faces named are changed: to the ages of --to, or to one of their own, --face FACE=AGE, which
    they have in every picture. If all --face have one, all other faces are changed to the ages of --to, if it is given.

    OUT is a file ending in .jpg, .png or .webp, or a folder (one that exists, or a name that ends with /). With several
    --to and no --sweep it is a folder or has {age} in its name. In a folder, pictures are called PHOTO-AGE, the sheet
    PHOTO-sweep, and the one picture without --to PHOTO-aged. The photo itself is never overwritten.

    The OUT of --delta is likewise, but ends in .png; in a folder, layers are called PHOTO-AGE-delta. A layer has the
    photo's size, the mask of the faces as its alpha, and signed colours: photo + colour - 128 is the aged picture.

    Faces whose latent a FILE.json of --latent holds are drawn from it at once, without a search.

    A face that could not be changed is left as it was, with a warning; if no face could be, nothing is written.

    \b
    Examples:
      dorian age portrait.jpg --to 60+ -o older.jpg
      dorian age portrait.jpg --to 8 --to 45 --to 60+ -o "portrait-{age}.png"
      dorian age portrait.jpg --to 60+ --from 30-39 -o aged/
      dorian age portrait.jpg --filter old -o older.jpg --delta added.png
      dorian age portrait.jpg --sweep -o sheet.jpg
      dorian age wedding.jpg --to 60+ --face largest -o older.jpg
      dorian age wedding.jpg --face 0=60+ --face 1=45 -o older.jpg
      dorian age portrait.jpg --to 60+ --strength 0.7 --keep-metadata -o older.jpg
      dorian age portrait.jpg --to 60+ --optimisation fast -o older.jpg
      dorian age portrait.jpg --to 60+ --latent latent.json -o older.jpg
    """
    named = [face for face, own in faces if own is None]
    face_ages = [(face, own) for face, own in faces if own is not None]
    targets = [*ages, *filters]
    if not targets and not sweep and (named or not face_ages):
        raise click.UsageError(
            "no age to aim at: give --to AGE, or --filter NAME, or --sweep for all age groups, or every face's own, "
            "--face FACE=AGE"
        )
    _check_sweep(sweep, keep_metadata=keep_metadata, delta=delta)
    paths = _plan(out, photo, targets, sweep, format)
    layers = [] if delta is None else plan_deltas(delta, photo, [words.in_words(target) for target in targets], paths)
    data = read_photo(photo)
    settings |= {
        "faces": named or None, "face_ages": face_ages, "method": _common_method(method, latents),
        "latents": [pair for saved in latents for pair in saved.faces],
        "format": format or format_of(paths[0]), "quality": quality,
    }  # fmt: skip
    with server.connect() as client:
        if sweep and not targets:
            result = client.sweep(data, **settings)
        else:
            result = client.age(data, targets, keep_metadata=keep_metadata, with_delta=bool(layers), **settings)
    words.warn_of_failures([report for aged in result.photos for report in aged.faces])
    _print_changes(result)
    if sweep:
        write(_sweep_sheet(data, result), paths[0], quality)
        return
    for path, aged in zip(paths, result.photos, strict=True):
        write(aged.picture, path, quality)
    deltas = [aged.delta for aged in result.photos if aged.delta is not None]  # one for each path, or the call fails
    for path, layer in zip(layers, deltas, strict=True):
        write(layer, path)


def _check_sweep(sweep: bool, *, keep_metadata: bool, delta: str | None) -> None:
    if sweep and keep_metadata:
        raise click.UsageError("a sheet has no metadata of the photo's: --keep-metadata cannot go with --sweep")
    if sweep and delta is not None:
        raise click.UsageError("a sheet has no layers: --delta cannot go with --sweep; give the ages with --to alone")


def _common_method(method: str | None, latents: Sequence[SavedLatents]) -> str | None:
    """Returns the method to ask for: that of the latents, where there are some."""
    for saved in latents:
        if method not in (None, saved.method):
            raise click.UsageError(f"latents of method {saved.method!r} mean nothing to method {method!r}")
        method = saved.method
    return method


def _plan(out: str, photo: Path, targets: Sequence[Target], sweep: bool, format: str | None) -> list[Path]:
    if targets and not sweep:
        return plan_pictures(out, photo, [words.in_words(target) for target in targets], format)
    return [plan_picture(out, photo, "sweep" if sweep else "aged", format)]


def _sweep_sheet(photo: bytes, result: AgeResult) -> Image.Image:
    labels = [words.in_words(aged.target) for aged in result.photos]
    return make_sheet([open_upright(photo), *(aged.picture for aged in result.photos)], ["photo", *labels])


def _print_changes(result: AgeResult) -> None:
    """Prints what became of each face: on a line of its own, or with a line below it for each of several targets."""
    reports: dict[Face, list[FaceReport]] = {}
    for report in (report for aged in result.photos for report in aged.faces):
        if report.face is not None and report.error is None:
            reports.setdefault(report.face, []).append(report)
    method = f"by {result.provenance.method} " if result.provenance.method else ""
    for face, changes in reports.items():
        begin = f"{words.place(face)}, {method}from {words.origin(changes[0])}"
        ends = list(dict.fromkeys(_describe(change) for change in changes))
        click.echo(f"{begin} {ends[0]}" if len(ends) == 1 else "\n  ".join([begin, *ends]))
    click.echo(f"changed {len(reports)} of {words.count_faces(result.faces_found)} in {result.seconds:.2f} s")


def _describe(change: FaceReport) -> str:
    after = change.estimated_age_after
    aim = f"{'with filter' if isinstance(change.target, Filter) else 'to'} {words.in_words(change.target)}"
    looks = "" if after is None else f", looks {words.estimate(after)} after"
    return f"{aim}{looks}{words.similarity(change)}"
