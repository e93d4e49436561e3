"""Deltas: they come on request, compose() adds them to the photo, the command writes them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import Result
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import Client, InternalError, PhotoError, compose

Pixels = npt.NDArray[np.uint8]
Run = Callable[..., Result]
EXIF_ORIENTATION, TURN_LEFT = 0x0112, 8


@pytest.fixture
def mild(pixels: Pixels) -> Pixels:
    """Return a photo of 64 to 191, whose inversion changes no pixel by more than a delta can hold."""
    return pixels // 2 + 64


def _layer(colour: tuple[int, ...], size: tuple[int, int] = (64, 48), mode: str = "RGBA") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_layer_comes_only_on_request(client: Client, fake: Any, pixels: Pixels) -> None:
    assert client.age(pixels, 30).photos[0].delta is None
    (photo,) = client.age(pixels, 30, format="jpeg", with_delta=True).photos
    assert [request.with_delta for request in fake.requests] == [False, True]
    assert photo.delta is not None
    assert (photo.delta.format, photo.delta.width, photo.delta.height) == ("png", 64, 48)
    assert photo.delta.to_pil().mode == "RGBA"
    assert photo.picture.format == "jpeg"


def test_a_sweep_with_layers(client: Client, mild: Pixels) -> None:
    for photo in client.sweep(mild, with_delta=True).photos:
        assert photo.delta is not None
        np.testing.assert_array_equal(np.asarray(compose(mild, photo.delta))[1:], photo.picture.to_array()[1:])


def test_a_server_that_leaves_layers_out(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.on_response = lambda response: pb.AgeTransformResponse(results=[pb.AgedImage(image=response.results[0].image)])
    with pytest.raises(InternalError, match="sent no delta"):
        client.age(pixels, 30, with_delta=True)


def test_composing_adds_signed_colours_within_bounds() -> None:
    photo = np.full((48, 64, 3), (10, 100, 250), np.uint8)
    for alpha in (0, 255):
        composed = compose(photo, _layer((118, 129, 138, alpha)))
        assert (composed.mode, composed.size) == ("RGB", (64, 48))
        assert (np.asarray(composed) == (0, 101, 255)).all()
    assert compose(photo, _layer((0, 255, 255, 255))).getpixel((0, 0)) == (0, 227, 255)


def test_composing_with_a_photo_that_was_turned(client: Client, mild: Pixels) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[EXIF_ORIENTATION] = TURN_LEFT
    Image.fromarray(mild).save(buffer, "PNG", exif=exif)
    (photo,) = client.age(buffer.getvalue(), 30, with_delta=True).photos
    assert photo.delta is not None
    composed = compose(buffer.getvalue(), photo.delta)
    assert composed.size == (48, 64)
    np.testing.assert_array_equal(np.asarray(composed)[1:], photo.picture.to_array()[1:])


@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [
        (_layer((0, 0, 0), mode="RGB"), ValueError, "cannot be of mode RGB; give the delta of an aged photo"),
        (_layer((0, 0, 0, 0), (48, 64)), ValueError, "a layer of 48 by 64 cannot go onto a photo of 64 by 48"),
        (b"no image", PhotoError, "the layer cannot be opened"),
        ("missing.png", PhotoError, "no photo at missing.png"),
    ],
)
def test_images_that_cannot_be_composed(layer: Any, kind: type[Exception], message: str, pixels: Pixels) -> None:
    with pytest.raises(kind, match=message):
        compose(pixels, layer)


def _check_layer(layer: Path | str, picture: Path | str, photo: str = "mild.png") -> None:
    with Image.open(layer) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (64, 48))
    with Image.open(picture) as image:
        np.testing.assert_array_equal(np.asarray(compose(photo, layer))[1:], np.asarray(image)[1:])


def test_the_command_writes_a_layer(run: Run, fake: Any, mild: Pixels) -> None:
    Image.fromarray(mild).save("mild.png")
    result = run("age", "mild.png", "--to", "60+", "-o", "older.png", "--delta", "added.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-2:] == ["wrote older.png", "wrote added.png"]
    assert fake.requests[0].with_delta
    _check_layer("added.png", "older.png")


@pytest.mark.parametrize(
    ("arguments", "pictures", "layers"),
    [
        (["-o", "new/", "--delta", "new/"], "new/mild-{}.png", "new/mild-{}-delta.png"),
        (["-o", "{age}.png", "--delta", "added-{age}.png"], "{}.png", "added-{}.png"),
        (["-o", "new/", "--delta", "layers/"], "new/mild-{}.png", "layers/mild-{}-delta.png"),
    ],
)
def test_the_command_writes_several_layers(
    arguments: list[str], pictures: str, layers: str, run: Run, mild: Pixels
) -> None:
    Image.fromarray(mild).save("mild.png")
    result = run("age", "mild.png", "--to", "8", "--filter", "old", *arguments)
    assert result.exit_code == 0, result.output
    for target in ("8", "old"):
        _check_layer(layers.format(target), pictures.format(target))


def test_a_layer_of_faces_with_ages_of_their_own(run: Run, mild: Pixels) -> None:
    Image.fromarray(mild).save("mild.png")
    result = run("age", "mild.png", "--face", "0=60+", "-o", "new/", "--delta", "new/", "--format", "webp")
    assert result.exit_code == 0, result.output
    _check_layer("new/mild-aged-delta.png", "new/mild-aged.webp")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "8", "--delta", "added.jpg"], "a layer is a PNG with alpha: end 'added.jpg' in .png"),
        (["--to", "8", "--delta", "added"], "a layer is a PNG with alpha: end 'added' in .png, or with / for a folder"),
        (["--to", "8", "--delta", "no/added.png"], "there is no folder 'no'"),
        (["--to", "8", "--delta", "./older.png"], "a picture and a layer would go into the same file 'older.png'"),
        (["--to", "8", "--delta", "portrait.png"], "is the photo itself"),
        (["--face", "0=8", "--delta", "{age}.png"], "{age} has no place"),
        (["--sweep", "--delta", "added.png"], "--delta cannot go with --sweep"),
    ],
)
def test_paths_that_no_layer_can_have(arguments: list[str], message: str, run: Run, fake: Any) -> None:
    _assert_fails(run("age", "portrait.png", "-o", "older.png", *arguments), message)
    assert fake.requests == []


def test_several_layers_do_not_go_into_one_file(run: Run, fake: Any) -> None:
    arguments = ["age", "portrait.png", "--to", "8", "--to", "9", "-o", "{age}.png", "--delta"]
    _assert_fails(run(*arguments, "a.png"), "2 layers cannot go into one file 'a.png': put {age} into its name")
    _assert_fails(run(*arguments, "{age}.png"), "a picture and a layer would go into the same file '8.png'")
    assert fake.requests == []


def _assert_fails(result: Result, message: str) -> None:
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert [path.name for path in Path().iterdir()] == ["portrait.png"]
