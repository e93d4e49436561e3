"""The dorian command: ages the faces in a photo, shows what the networks see, lists what the server has."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from PIL import Image, ImageOps

from dorian_client._client import Client
from dorian_client._outputs import plan_pictures, plan_sheet
from dorian_client._photos import read_photo
from dorian_client._pictures import DEFAULT_QUALITY, format_of, save_image
from dorian_client._program import EXIT_USAGE, Program
from dorian_client._results import Age, AgeGroup, AgeResult, Box, BundleInfo, ReconstructResult
from dorian_client._sheet import make_sheet
from dorian_client.errors import PhotoError

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _read_age(text: str) -> Age:
    return float(text) if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", text) else text


_photo = click.argument("photo", type=click.Path(path_type=Path))
_out = click.option("-o", "--out", required=True, metavar="OUT", help="Where to write.")
_source = click.option(
    "--from", "source", type=_read_age, metavar="AGE", help="Age that the faces have now [default: estimated]."
)
_method = click.option("--method", metavar="NAME", help="A method's name [default: the server's default].")
_format = click.option("--format", type=click.Choice(["jpeg", "png", "webp"]), help="[default: by OUT's suffix]")
_quality = click.option("--quality", type=click.IntRange(1, 100), help="For JPEG and WebP [default: the server's].")


def _with_server(command: _Command) -> _Command:
    server = click.option(
        "--server", default="localhost:50051", metavar="HOST:PORT", envvar="DORIAN_SERVER",
        show_envvar=True, show_default=True, help="The server's address.",
    )  # fmt: skip
    timeout = click.option(
        "--timeout", default=60.0, type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
        envvar="DORIAN_TIMEOUT", show_envvar=True, show_default=True, help="How long the server may take.",
    )  # fmt: skip
    return server(timeout(command))


@click.group("dorian", cls=Program, invoke_without_command=True)
@click.version_option(package_name="dorian-client", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Makes the people in a photo older or younger, by a Dorian server.

    \b
    Examples:
      dorian age portrait.jpg --to 60+ -o older.jpg
      dorian age portrait.jpg --sweep -o sheet.jpg
      dorian methods --server photos.example:50051

    \b
    Exit codes:
      0  done
      1  the result could not be written, or the command was interrupted
      2  the command line is wrong
      3  the photo or a setting was refused
      4  no server could be reached
      5  the server failed, was too busy or did not answer in time
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(EXIT_USAGE)


@main.command()
@_photo
@click.option(
    "--to", "ages", type=_read_age, metavar="AGE", multiple=True, help="Age to aim at; may be given several times."
)
@click.option("--sweep", is_flag=True, help="One labelled sheet: the photo, then all age groups (or those of --to).")
@_out
@_source
@_method
@_format
@_quality
@_with_server
def age(
    photo: Path, ages: tuple[Age, ...], sweep: bool, out: str, source: Age | None, method: str | None,
    format: str | None, quality: int | None, server: str, timeout: float,
) -> None:  # fmt: skip
    """Ages the faces in PHOTO, a JPEG, PNG or WebP file.

    An AGE is the label of an age group ("60+", "19-29") or a number of years ("45").

    OUT is a file ending in .jpg, .png or .webp, or a folder (one that exists, or a name that ends with /). With several
    --to and no --sweep it is a folder or has {age} in its name. In a folder, pictures are called PHOTO-AGE. The photo
    itself is never overwritten.

    \b
    Examples:
      dorian age portrait.jpg --to 60+ -o older.jpg
      dorian age portrait.jpg --to 8 --to 45 --to 60+ -o "portrait-{age}.png"
      dorian age portrait.jpg --to 60+ --from 30-39 -o aged/
      dorian age portrait.jpg --sweep -o sheet.jpg
    """
    if not ages and not sweep:
        raise click.UsageError("no age to aim at: give --to AGE, or --sweep for all age groups")
    names = [_words(age) for age in ages]
    paths = [plan_sheet(out, photo, "sweep", format)] if sweep else plan_pictures(out, photo, names, format)
    data = read_photo(photo)
    settings: dict[str, Any] = {
        "source": source, "method": method, "format": format or format_of(paths[0]), "quality": quality,
    }  # fmt: skip
    with _connect(server, timeout) as client:
        result = client.age(data, ages, **settings) if ages else client.sweep(data, **settings)
    _print_faces(result)
    if sweep:
        _save_sheet(_sweep_sheet(data, result), paths[0], quality)
        return
    for path, aged in zip(paths, result.photos, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        aged.picture.save(path, quality=quality or DEFAULT_QUALITY)
        click.echo(f"wrote {click.format_filename(path)}")


@main.command()
@_photo
@_out
@_source
@_method
@_with_server
def reconstruct(photo: Path, out: str, source: Age | None, method: str | None, server: str, timeout: float) -> None:
    """Shows what the networks see in PHOTO: for each face, its crop beside what is drawn from its latent.

    OUT is a file ending in .jpg, .png or .webp, or a folder, where the sheet is called PHOTO-reconstruction. It has one
    row a face.

    \b
    Examples:
      dorian reconstruct portrait.jpg -o seen.png
      dorian reconstruct portrait.jpg --from 30-39 -o seen.png
    """
    path = plan_sheet(out, photo, "reconstruction", None)
    with _connect(server, timeout) as client:
        result = client.reconstruct(photo, source=source, method=method, format="png")
    _print_reconstructions(result)
    pictures = [picture for face in result.faces for picture in (face.crop, face.picture)]
    labels = [f"{what} {number}" for number in range(1, len(result.faces) + 1) for what in ("face", "reconstruction")]
    _save_sheet(make_sheet(pictures, labels, columns=2), path, None)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, with everything that is known.")
@_with_server
def methods(as_json: bool, server: str, timeout: float) -> None:
    """Lists the methods and age groups that the server has.

    \b
    Examples:
      dorian methods
      dorian methods --json
    """
    with _connect(server, timeout) as client:
        bundle = client.bundle()
    click.echo(json.dumps(dataclasses.asdict(bundle), indent=2) if as_json else _describe(bundle))


def _connect(server: str, timeout: float) -> Client:
    try:
        return Client(server, timeout=timeout)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _sweep_sheet(photo: bytes, result: AgeResult) -> Image.Image:
    try:
        before = ImageOps.exif_transpose(Image.open(io.BytesIO(photo)))
    except (OSError, SyntaxError, ValueError) as error:
        raise PhotoError(f"the server took the photo, but it cannot be put onto the sheet: {error}") from error
    labels = [_words(aged.faces[0].target) if aged.faces else "" for aged in result.photos]
    return make_sheet([before, *(aged.picture for aged in result.photos)], ["photo", *labels])


def _save_sheet(sheet: Image.Image, path: Path, quality: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(sheet, path, quality=quality or DEFAULT_QUALITY)
    click.echo(f"wrote {click.format_filename(path)}")


def _print_faces(result: AgeResult) -> None:
    faces = result.photos[0].faces if result.photos else ()
    for index, face in enumerate(faces):
        targets = (_words(aged.faces[index].target) for aged in result.photos if index < len(aged.faces))
        _print_face(index, face.box, f"from {_origin(face.source, face.source_given)} to {', '.join(targets)}", result)


def _print_reconstructions(result: ReconstructResult) -> None:
    for index, face in enumerate(result.faces):
        what = f"drawn as {_origin(face.source, face.source_given)}, pixel error {face.pixel_error:.3f}"
        _print_face(index, face.box, what, result)


def _print_face(index: int, box: Box, what: str, result: AgeResult | ReconstructResult) -> None:
    place = f"{box.width:.0f}x{box.height:.0f} at ({box.x:.0f}, {box.y:.0f})"
    click.echo(f"face {index + 1}: {place}, {what}, {result.seconds:.2f} s")


def _origin(source: Age | None, given: bool) -> str:
    return f"{_words(source)} ({'given' if given else 'estimated'})"


def _words(age: Age | None) -> str:
    match age:
        case None:
            return "unknown"
        case str():
            return age
        case _:
            return f"{age:g}"


def _describe(bundle: BundleInfo) -> str:
    lines = [
        f"bundle {bundle.name} {bundle.version} ({bundle.sha256[:12]}), server {bundle.server_version}",
        f"weights: {bundle.weights_licence}",
    ]
    for method in bundle.methods:
        lines += ["", method.name + (" (default)" if method.is_default else ""), f"  {method.description}"]
        lines += [f"  {method.family}, crops of {method.crop_size} px"]
        lines += [f"  ages {_describe_groups(method.age_groups)}"]
    return "\n".join(lines)


def _describe_groups(groups: Iterable[AgeGroup]) -> str:
    return ", ".join(group.label for group in groups)


if __name__ == "__main__":
    main(prog_name="dorian")
