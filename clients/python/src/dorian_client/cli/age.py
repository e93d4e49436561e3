"""dorian age: change the age of the faces in a photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from PIL import Image

from dorian_client._faces import Age, Face, FaceLike, Filter
from dorian_client._files import FORMATS, format_of, join_alternatives
from dorian_client._photos import open_upright, read_photo
from dorian_client._rendering import make_sheet
from dorian_client._requests import BUDGETS
from dorian_client._results import AgeResult, FaceReport
from dorian_client.cli.connection import Connection, with_connection
from dorian_client.cli.latent_files import SavedLatents, read_latents
from dorian_client.cli.options import (
    FACE_HELP,
    FACES,
    METHOD,
    OUTPUT,
    Command,
    option,
    parse_face_and_age,
    with_ages,
    with_blend,
    with_filters,
    with_keep_hair,
    with_keep_identity,
    with_method,
    with_out,
    with_photo,
    with_source,
    with_strength,
)
from dorian_client.cli.outputs import plan_deltas, plan_picture, plan_pictures, write_picture
from dorian_client.cli.reporting import (
    count,
    format_estimate,
    format_face,
    format_interval,
    format_reached,
    format_similarity,
    format_source,
    format_target,
    print_warnings,
    warn_of_failures,
)

_QUALITY_FORMATS = join_alternatives([format.label for format in FORMATS.values() if format.has_quality])


@click.command(cls=Command, short_help="Change the age of the faces in a photo.")
@with_photo
@with_ages
@with_filters
@option(
    FACES, "--face", "faces", type=parse_face_and_age, metavar="FACE[=AGE]", multiple=True,
    help=f"A face to change [default: all], or one with its own target age; repeat for several. FACE: {FACE_HELP}.",
)  # fmt: skip
@with_source
@with_method
@with_strength
@with_keep_identity
@with_keep_hair
@with_blend
@option(
    METHOD, "--optimisation", type=click.Choice(list(BUDGETS)),
    help="How long a method that optimises searches for the latent that keeps the person [default: none].",
)  # fmt: skip
@option(
    METHOD, "--latent", "latents", type=read_latents, metavar="FILE.json", multiple=True,
    help="Latents that 'dorian reconstruct' or 'dorian optimize' wrote for PHOTO, and their method; repeat for several.",
)  # fmt: skip
@with_out
@option(
    OUTPUT, "--sweep", is_flag=True,
    help="Write one labelled sheet: the photo, then all age groups, or filters if there are none (or those of --to).",
)  # fmt: skip
@option(OUTPUT, "--delta", metavar="OUT", help="Also write what was added to the photo, as a PNG layer.")
@option(OUTPUT, "--format", type=click.Choice(list(FORMATS)), help="Format of the pictures [default: by OUT's suffix].")
@option(
    OUTPUT, "--quality", type=click.IntRange(1, 100), help=f"Quality of {_QUALITY_FORMATS} [default: the server's]."
)
@option(OUTPUT, "--keep-metadata", is_flag=True, help="Keep camera, time and author of the photo's EXIF.")
@with_connection
def age(
    photo: Path, ages: tuple[Age, ...], filters: tuple[Filter, ...], faces: tuple[tuple[FaceLike, Age | None], ...],
    sweep: bool, out: str, delta: str | None, method: str | None, latents: tuple[SavedLatents, ...], format: str | None,
    quality: int | None, keep_metadata: bool, connection: Connection, **options: Any,
) -> None:  # fmt: skip
    """Change the age of the faces in PHOTO, a JPEG, PNG or WebP file.

    An AGE is the label of an age group ("60+", "19-29") or a number of years ("45"). A filter is a named change instead of
    an age; what is said of --to below holds for --filter, too. Pictures come in the order of --to, then of --filter.

    With --face only the selected faces are changed: to the ages of --to, or to their own, --face FACE=AGE, which they
    have in every picture. If every --face has its own age, --to changes all other faces.

    OUT may also be a new folder, if it ends with /. With several --to and no --sweep it is a folder or has {age} in its
    name. In a folder, pictures are called PHOTO-AGE, the sheet PHOTO-sweep, and a picture without --to PHOTO-aged. The
    photo itself is never overwritten.

    The OUT of --delta follows the same rules, but ends in .png; in a folder, layers are called PHOTO-AGE-delta. A layer
    has the photo's size, the mask of the faces as its alpha, and signed colours: photo + colour - 128 is the aged picture.

    Faces that have a latent in a FILE.json of --latent are drawn from it, without a search.

    A face that cannot be changed is left as it is, with a warning; if no face can be changed, nothing is written. Faces of
    unsure age, mostly covered or in a turned photo are changed, with a warning, too.

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
      dorian age portrait.jpg --to 70 --keep-identity 0.6 -o older.jpg
      dorian age portrait.jpg --to 60+ --optimisation fast -o older.jpg
      dorian age portrait.jpg --to 60+ --latent latent.json -o older.jpg
    """
    selected = [face for face, face_age in faces if face_age is None]
    face_ages = [(face, face_age) for face, face_age in faces if face_age is not None]
    targets = [*ages, *filters]
    if not targets and not sweep and (selected or not face_ages):
        raise click.UsageError(
            "no target age: give --to AGE, or --filter NAME, or --sweep for all age groups, or each face its own, "
            "--face FACE=AGE"
        )
    _check_sweep(sweep, keep_metadata=keep_metadata, delta=delta)
    names = [format_target(target) for target in targets]
    paths = _plan(out, photo, names, sweep, format)
    delta_paths = [] if delta is None else plan_deltas(delta, photo, names, paths)
    data = read_photo(photo)
    options |= {
        "faces": selected or None, "face_ages": face_ages, "method": _common_method(method, latents),
        "latents": [pair for saved in latents for pair in saved.faces],
        "format": format or format_of(paths[0]).name, "quality": quality,
    }  # fmt: skip
    with connection.open() as client:
        if sweep and not targets:
            result = client.sweep(data, **options)
        else:
            result = client.age(data, targets, keep_metadata=keep_metadata, with_delta=bool(delta_paths), **options)
    reports = [report for aged in result.photos for report in aged.faces]
    warn_of_failures(reports)
    print_warnings(reports)
    _print_changes(result)
    if sweep:
        write_picture(_sweep_sheet(data, result), paths[0], quality)
    else:
        _write_pictures(result, paths, delta_paths, quality)


def _check_sweep(sweep: bool, *, keep_metadata: bool, delta: str | None) -> None:
    if sweep and keep_metadata:
        raise click.UsageError("a sheet does not have the photo's metadata: --keep-metadata cannot go with --sweep")
    if sweep and delta is not None:
        raise click.UsageError("a sheet has no layers: --delta cannot go with --sweep; give the ages with --to alone")


def _common_method(method: str | None, latents: Sequence[SavedLatents]) -> str | None:
    """Return the method to request: that of the latents, if there are any."""
    for saved in latents:
        if method not in (None, saved.method):
            raise click.UsageError(f"latents of method {saved.method!r} cannot be used with method {method!r}")
        method = saved.method
    return method


def _plan(out: str, photo: Path, names: Sequence[str], sweep: bool, format: str | None) -> list[Path]:
    if names and not sweep:
        return plan_pictures(out, photo, names, format)
    return [plan_picture(out, photo, "sweep" if sweep else "aged", format)]


def _write_pictures(result: AgeResult, paths: Sequence[Path], delta_paths: Sequence[Path], quality: int | None) -> None:
    for path, aged in zip(paths, result.photos, strict=True):
        write_picture(aged.picture, path, quality)
    deltas = [aged.delta for aged in result.photos if aged.delta is not None]  # none, or one per photo
    for path, delta in zip(delta_paths, deltas, strict=True):
        write_picture(delta, path)


def _sweep_sheet(photo: bytes, result: AgeResult) -> Image.Image:
    labels = [format_target(aged.target) for aged in result.photos]
    return make_sheet([open_upright(photo), *(aged.picture for aged in result.photos)], ["photo", *labels])


def _print_changes(result: AgeResult) -> None:
    """Print what happened to each face: on one line, or with an indented line per target."""
    reports: dict[Face, list[FaceReport]] = {}
    for report in (report for aged in result.photos for report in aged.faces):
        if report.face is not None and report.error is None:
            reports.setdefault(report.face, []).append(report)
    method = f"by {result.provenance.method} " if result.provenance.method else ""
    for face, changes in reports.items():
        start = f"{format_face(face)}, {method}from {format_source(changes[0])}"
        ends = list(dict.fromkeys(_format_change(change) for change in changes))
        click.echo(f"{start} {ends[0]}" if len(ends) == 1 else "\n  ".join([start, *ends]))
    click.echo(f"changed {len(reports)} of {count(result.faces_found, 'face')} in {result.seconds:.2f} s")


def _format_change(report: FaceReport) -> str:
    after = report.estimated_age_after
    preposition = "with filter" if isinstance(report.target, Filter) else "to"
    looks = "" if after is None else f", looks {format_estimate(after)}{format_interval(report.interval_after)} after"
    reached = format_reached(report.reached)
    return f"{preposition} {format_target(report.target)}{reached}{looks}{format_similarity(report)}"
