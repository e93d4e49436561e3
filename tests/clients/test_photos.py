"""Every way to give a photo reaches the server as the same pixels; anything else is an error."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dorian_client import Client, PhotoError

Pixels = npt.NDArray[np.uint8]
EXIF_ORIENTATION, TURN_LEFT = 0x0112, 8  # the orientation of a photo that must be turned left to be upright


class _PathLike:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def _inverted(pixels: Pixels) -> Pixels:
    inverted = 255 - pixels
    inverted[0, 0] = 0  # where the server writes the target's position
    return inverted


def _file(pixels: Pixels, folder: Path) -> Path:
    path = folder / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    "give",
    [
        pytest.param(lambda pixels, path: str(path), id="str"),
        pytest.param(lambda pixels, path: path, id="Path"),
        pytest.param(lambda pixels, path: _PathLike(path), id="PathLike"),
        pytest.param(lambda pixels, path: path.read_bytes(), id="bytes"),
        pytest.param(lambda pixels, path: bytearray(path.read_bytes()), id="bytearray"),
        pytest.param(lambda pixels, path: pixels, id="array"),
        pytest.param(lambda pixels, path: np.asfortranarray(pixels), id="array of another order"),
        pytest.param(lambda pixels, path: np.repeat(pixels, 2, axis=1)[:, ::2], id="array with strides"),
        pytest.param(lambda pixels, path: Image.fromarray(pixels), id="PIL"),
        pytest.param(lambda pixels, path: Image.open(path), id="PIL, not loaded yet"),
    ],
)
def test_every_kind_of_photo_gives_the_same_pixels(
    give: Callable[[Pixels, Path], Any], client: Client, pixels: Pixels, tmp_path: Path
) -> None:
    picture = client.age(give(pixels, _file(pixels, tmp_path)), "60+").photos[0].picture
    np.testing.assert_array_equal(picture.to_array(), _inverted(pixels))


@pytest.mark.parametrize("as_image", [False, True])
def test_grey_photos(as_image: bool, client: Client, pixels: Pixels) -> None:
    grey = pixels[:, :, 0]
    picture = client.age(Image.fromarray(grey) if as_image else grey, "60+").photos[0].picture
    np.testing.assert_array_equal(picture.to_array(), _inverted(np.stack([grey] * 3, axis=2)))


def test_pil_images_are_sent_upright(client: Client, pixels: Pixels) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = TURN_LEFT
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    from_image = client.age(Image.open(buffer), "60+").photos[0].picture.to_array()
    from_bytes = client.age(buffer.getvalue(), "60+").photos[0].picture.to_array()
    np.testing.assert_array_equal(from_image, _inverted(np.rot90(pixels)))
    np.testing.assert_array_equal(from_bytes, from_image)


def test_pil_images_of_other_modes(client: Client, pixels: Pixels) -> None:
    image = Image.fromarray(pixels).convert("CMYK")
    expected = _inverted(np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(client.age(image, "60+").photos[0].picture.to_array(), expected)


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32.*uint8 of shape \(height, width, 3\).*0 to 255"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\).*\(height, width, 3\) in RGB"),
        (np.zeros((3, 4, 5), np.uint8), r"\(3, 4, 5\).*\(height, width, 3\)"),
        (np.zeros((4, 4, 1), np.uint8), r"\(4, 4, 1\).*\(height, width\) for grey"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (Image.new("I;16", (4, 4)), "mode I;16.*8 bits"),
        (Image.new("RGB", (0, 4)), "no pixels"),
        (None, "NoneType.*a path, the bytes of a JPEG, PNG or WebP file, an array or a PIL image"),
        ([1, 2], "cannot be list"),
        ("missing.jpg", "missing.jpg: there is no such file"),
        ("null\0.jpg", "cannot read the photo"),
    ],
)
def test_invalid_photos(photo: Any, message: str, client: Client, fake: Any) -> None:
    with pytest.raises(PhotoError, match=message):
        client.age(photo, "60+")
    assert fake.requests == []


def test_a_folder_is_no_photo(client: Client, tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="is a folder"):
        client.reconstruct(tmp_path)


def test_broken_pil_images_are_refused(client: Client, pixels: Pixels, tmp_path: Path) -> None:
    path = _file(pixels, tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with Image.open(path) as image, pytest.raises(PhotoError, match="cannot read the PIL image"):
        client.age(image, "60+")
