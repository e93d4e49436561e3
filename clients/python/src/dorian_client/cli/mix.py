"""dorian mix: exchange styles of the faces in a photo for those of references."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from PIL import Image

from dorian_client._bundles import BundleInfo
from dorian_client._client import Client
from dorian_client._faces import Age, FaceLike
from dorian_client._files import PNG, format_of
from dorian_client._options import Reference
from dorian_client._photos import open_upright, read_photo
from dorian_client._pictures import Picture
from dorian_client._rendering import make_sheet
from dorian_client._requests import DEFAULT_PRESET, GENDERS
from dorian_client._results import FaceReport, MixResult, UsedReference
from dorian_client.cli.connection import Connection, with_connection
from dorian_client.cli.options import (
    FACE_HELP,
    FACES,
    OUTPUT,
    Command,
    option,
    parse_age,
    parse_face,
    with_blend,
    with_method,
    with_photo,
    with_strength,
)
from dorian_client.cli.outputs import OUT_HELP, plan_picture, write_picture
from dorian_client.cli.reporting import (
    count,
    format_estimate,
    format_face,
    format_interval,
    format_similarity,
    format_target,
    print_warnings,
    warn_of_failures,
)

REFERENCES = "References and levels"
_MAX_CELLS = 64  # of a sheet; each is a call


def parse_levels(text: str) -> list[int]:
    """Return the levels that "9,11" stands for."""
    if not re.fullmatch(r"[+-]?[0-9]{1,9}(?:,[+-]?[0-9]{1,9})*", text):
        raise click.BadParameter(f"levels cannot be {text!r}; give numbers like 9,11")
    return [int(level) for level in text.split(",")]


@dataclass(frozen=True)
class _Row:
    """A row of a sheet: where the styles come from, and a picture of it if there is one."""

    label: str
    references: list[Reference]
    options: dict[str, Any]
    picture: Image.Image | None


@click.command(cls=Command, short_help="Exchange styles of faces for those of references.")
@with_photo
@option(
    REFERENCES, "--reference", "references", type=click.Path(path_type=Path), metavar="PHOTO", multiple=True,
    help="A photo whose largest face gives its styles; repeat for several, up to 8.",
)  # fmt: skip
@option(
    REFERENCES, "--to", "ages", type=parse_age, metavar="AGE", multiple=True,
    help="Let the server choose references of this age, in place of --reference; several with --sheet alone.",
)  # fmt: skip
@option(
    REFERENCES, "--references", "number", type=click.IntRange(1, 8), metavar="NUMBER",
    help="How many references the server chooses [default: 5].",
)  # fmt: skip
@option(REFERENCES, "--gender", type=click.Choice(list(GENDERS)), help="Of which gender [default: either].")
@option(
    REFERENCES, "--preset", "presets", metavar="NAME", multiple=True,
    help=f"Levels by name, as 'dorian methods' lists them [default: {DEFAULT_PRESET}]; several with --sheet alone.",
)  # fmt: skip
@option(
    REFERENCES, "--levels", type=parse_levels, metavar="N,N...", multiple=True,
    help="Levels from 1, in place of --preset: of all references or, repeated, of one after the other.",
)  # fmt: skip
@option(
    FACES, "--face", "faces", type=parse_face, metavar="FACE", multiple=True,
    help=f"A face to change [default: all]; repeat for several. FACE: {FACE_HELP}.",
)  # fmt: skip
@with_method
@with_strength
@with_blend
@option(OUTPUT, "-o", "--out", metavar="OUT", help=f"Where to write the photo: {OUT_HELP}.")
@option(
    OUTPUT, "--sheet", metavar="OUT",
    help="Write one labelled sheet instead: a row for each --reference or --to, a column for each preset.",
)  # fmt: skip
@option(OUTPUT, "--quality", type=click.IntRange(1, 100), help="Quality of JPEG or WebP [default: the server's].")
@option(OUTPUT, "--keep-metadata", is_flag=True, help="Keep camera, time and author of the photo's EXIF.")
@with_connection
def mix(
    photo: Path, references: tuple[Path, ...], ages: tuple[Age, ...], number: int | None, gender: str | None,
    presets: tuple[str, ...], levels: tuple[list[int], ...], faces: tuple[FaceLike, ...], method: str | None, out: str | None,
    sheet: str | None, quality: int | None, keep_metadata: bool, connection: Connection, **options: Any,
) -> None:  # fmt: skip
    """Exchange some styles of the faces in PHOTO for those of references.

    A method that mixes styles draws a face by styles at several levels, from coarse to fine. References give the styles of
    some levels: photos, or faces of an age that the server chooses of those that its bundle keeps, like the face in pose,
    tone and light. Several references give their mean, unless the preset has a group of levels for each.

    A sheet has a row for each reference or age and a column for each preset, by default those for any number of references.

    \b
    Examples:
      dorian mix portrait.jpg --reference old.jpg --preset alternating-3 -o older.jpg
      dorian mix portrait.jpg --to 70 --references 5 -o older.jpg
      dorian mix portrait.jpg --reference old.jpg --levels 9,11 --strength 0.5 -o older.jpg
      dorian mix portrait.jpg --reference a.jpg --reference b.jpg --preset two-styles -o mixed.jpg
      dorian mix portrait.jpg --reference a.jpg --reference b.jpg --sheet sheet.jpg
    """
    if (out is None) == (sheet is None):
        raise click.UsageError("give either -o OUT for the photo, or --sheet OUT for a sheet")
    _check_references(references, ages, number, gender)
    data = read_photo(photo)
    options |= {"faces": faces or None, "method": method, "quality": quality}
    chosen = {"count": number, "gender": gender}
    if sheet is not None:
        if levels or keep_metadata:
            raise click.UsageError(
                "a sheet has a column for each preset, and no metadata: leave out --levels and --keep-metadata"
            )
        path = plan_picture(sheet, photo, "mixed", None)
        rows = _rows(references, ages, chosen)
        with connection.open() as client:
            write_picture(
                _draw_sheet(client, data, rows, presets, options | {"format": PNG.name, "quality": None}), path, quality
            )
        return
    assert out is not None
    if len(ages) > 1 or len(presets) > 1:
        raise click.UsageError("several ages or presets need a sheet: give --sheet OUT, or one --to and one --preset")
    path = plan_picture(out, photo, "mixed", None)
    options |= {
        "keep_metadata": keep_metadata,
        "format": format_of(path).name,
        "preset": presets[0] if presets else None,
    }
    given, common = _with_levels(references, levels)
    if ages:
        options |= {"to": ages[0], **chosen}
    with connection.open() as client:
        result = client.mix(data, given, levels=common, **options)
    _print_changes(result, [reference.name for reference in references])
    write_picture(result.picture, path, quality)


def _check_references(references: Sequence[Path], ages: Sequence[Age], number: int | None, gender: str | None) -> None:
    if references and ages:
        raise click.UsageError("--reference and --to cannot go together: give photos, or an age")
    if not references and not ages:
        raise click.UsageError("no references: give --reference PHOTO, or --to AGE to let the server choose them")
    if references and (number is not None or gender is not None):
        raise click.UsageError("--references and --gender are for references that the server chooses: give --to AGE")


def _with_levels(references: Sequence[Path], levels: Sequence[list[int]]) -> tuple[list[Reference], list[int] | None]:
    """Return the references, with levels of their own if each has some, or else the levels of all."""
    if len(levels) < 2:
        return [Reference(path) for path in references], levels[0] if levels else None
    if len(levels) != len(references):
        raise click.UsageError(
            f"{count(len(levels), 'group')} of levels for {count(len(references), 'reference')}: give --levels once, "
            "or once for each --reference"
        )
    return [Reference(path, levels=group) for path, group in zip(references, levels, strict=True)], None


def _rows(references: Sequence[Path], ages: Sequence[Age], chosen: dict[str, Any]) -> list[_Row]:
    rows = []
    for path in references:
        data = read_photo(path)
        rows.append(_Row(path.name, [Reference(data)], {}, open_upright(data, f"the reference {path.name}")))
    rows += [_Row(f"to {format_target(age)}", [], {"to": age, **chosen}, None) for age in ages]
    return rows


def _draw_sheet(
    client: Client, photo: bytes, rows: Sequence[_Row], presets: Sequence[str], options: dict[str, Any]
) -> Image.Image:
    """Return the sheet: in each row the reference, if it is a photo, the photo, and what each preset makes of it."""
    presets = presets or _presets_of(client.bundle(), options["method"])
    if len(rows) * len(presets) > _MAX_CELLS:
        raise click.UsageError(
            f"a sheet has at most {_MAX_CELLS} pictures, and this one would have {len(rows) * len(presets)}"
        )
    pictures: list[Picture | Image.Image] = []
    labels: list[str] = []
    for row in rows:
        if row.picture is not None:
            pictures, labels = [*pictures, row.picture], [*labels, row.label]
        pictures, labels = [*pictures, open_upright(photo)], [*labels, "photo"]
        for preset in presets:
            result = client.mix(photo, row.references, preset=preset, **row.options, **options)
            _print_changes(result, [row.label])
            pictures.append(result.picture)
            labels.append(preset if row.picture is not None else f"{row.label}, {preset}")
    return make_sheet(pictures, labels, columns=len(pictures) // len(rows))


def _presets_of(bundle: BundleInfo, name: str | None) -> list[str]:
    """Return the presets for any number of references, of the method ``name`` or the first that mixes styles."""
    methods = [method for method in bundle.methods if method.name == name or (not name and method.style_levels)]
    presets = [preset.name for preset in methods[0].style_presets if len(preset.groups) == 1] if methods else []
    if presets:
        return presets
    raise click.UsageError(f"{name or 'the server'} has no presets: name one with --preset")


def _print_changes(result: MixResult, names: Sequence[str]) -> None:
    warn_of_failures(result.faces)
    print_warnings(result.faces)
    for report in result.faces:
        if report.face is not None and report.error is None:
            click.echo(
                f"{format_face(report.face)}, by {result.provenance.method} with {_describe(result, report, names)}"
            )
    changed = sum(report.error is None for report in result.faces)
    click.echo(f"changed {changed} of {count(result.faces_found, 'face')} in {result.seconds:.2f} s")


def _describe(result: MixResult, report: FaceReport, names: Sequence[str]) -> str:
    """Return which references a face was given, and what it looks like after."""
    face = None if report.face is None else report.face.index
    used = [reference for reference in result.references if reference.chosen_for in (None, face)]
    by_levels: dict[tuple[int, ...], list[UsedReference]] = {}
    for reference in used:
        by_levels.setdefault(reference.levels, []).append(reference)
    parts = [
        f"levels {', '.join(map(str, levels))} of {', '.join(_name(reference, names) for reference in group)}"
        for levels, group in by_levels.items()
    ]
    after = report.estimated_age_after
    looks = "" if after is None else f", looks {format_estimate(after)}{format_interval(report.interval_after)} after"
    return f"{' and '.join(parts)}{looks}{format_similarity(report)}"


def _name(reference: UsedReference, names: Sequence[str]) -> str:
    if reference.chosen_for is None:
        age = None if reference.face is None else reference.face.estimated_age
        return names[reference.index] if age is None else f"{names[reference.index]} ({format_estimate(age)})"
    span = "" if reference.age_low is None else f" ({reference.age_low:.0f} to {reference.age_high:.0f})"
    return f"{reference.gender or 'reference'} {reference.index}{span}"
