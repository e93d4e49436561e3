"""Transparency: kept from file to file, colours beneath it too, and shown on white where a format has none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian_server.domain.requests import ImageFormat
from dorian_server.images import decode, encode
from dorian_server.settings import Limits

Pixels = NDArray[np.uint8]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]

LIMITS = Limits()
LOSSLESS: tuple[tuple[ImageFormat, int], ...] = (("PNG", 1), ("PNG", 92), ("WEBP", 100))


@pytest.fixture
def alpha() -> Pixels:
    """From 0 to 252, from left to right, (48, 64)."""
    return np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))


def random_picture(seed: int) -> tuple[Pixels, Pixels | None]:
    """A picture of some size, of noise or flat, and alpha of some kind, or none."""
    random = np.random.default_rng(seed)
    height, width = (int(side) for side in random.integers(32, 90, 2))
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if seed % 3 == 0:
        pixels[: height // 2] = random.integers(0, 256, 3)
    if seed % 4 == 0:
        return pixels, None
    alpha = random.integers(0, 256, (height, width), dtype=np.uint8)
    if seed % 4 == 1:
        alpha = np.where(alpha < 128, 0, 255).astype(np.uint8)
    if seed % 4 == 2:
        alpha[:] = 0
    return pixels, alpha


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_kept_and_so_are_colours_beneath(kind: str, noise: Pixels, alpha: Pixels, write: Write) -> None:
    photo = decode(write(np.dstack([noise, alpha]), kind, lossless=True, exact=True), LIMITS)
    assert np.array_equal(photo.pixels, noise)
    assert photo.alpha is not None
    assert photo.alpha.dtype == np.uint8
    assert np.array_equal(photo.alpha, alpha)


def test_alpha_of_a_lossy_webp(noise: Pixels, alpha: Pixels, write: Write) -> None:
    photo = decode(write(np.dstack([noise, alpha]), "WEBP", quality=50), LIMITS)
    assert np.array_equal(photo.alpha, alpha)


def test_grey_with_alpha(noise: Pixels, alpha: Pixels, write: Write) -> None:
    photo = decode(write(Image.fromarray(np.dstack([noise[..., 0], alpha]), "LA")), LIMITS)
    assert np.array_equal(photo.pixels, np.repeat(noise[..., :1], 3, axis=2))
    assert np.array_equal(photo.alpha, alpha)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_opaque_all_over_has_no_alpha(kind: str, noise: Pixels, write: Write) -> None:
    assert decode(write(noise, kind), LIMITS).alpha is None
    opaque = np.dstack([noise, np.full(noise.shape[:2], 255, np.uint8)])
    assert decode(write(opaque, kind, lossless=True), LIMITS).alpha is None


def test_palette_with_transparency_by_degrees(noise: Pixels, write: Write) -> None:
    image = Image.fromarray(noise).quantize(128)
    degrees = np.arange(0, 256, 2, dtype=np.uint8)
    photo = decode(write(image, transparency=degrees.tobytes()), LIMITS)
    assert np.array_equal(photo.alpha, degrees[np.asarray(image)])


def test_one_transparent_colour(write: Write) -> None:
    pixels = np.full((48, 64, 3), (9, 8, 7), np.uint8)
    pixels[:, 20:] = 200
    photo = decode(write(pixels, transparency=(9, 8, 7)), LIMITS)
    assert np.array_equal(photo.pixels, pixels)
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha[0], np.where(np.arange(64) < 20, 0, 255))


def test_alpha_is_turned_with_the_photo(noise: Pixels, alpha: Pixels, write: Write) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = decode(write(np.dstack([noise, alpha]), exif=exif), LIMITS)
    assert np.array_equal(photo.pixels, np.rot90(noise, -1))
    assert np.array_equal(photo.alpha, np.rot90(alpha, -1))


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize(("kind", "quality"), LOSSLESS)
def test_lossless_formats_give_back_exactly_what_they_got(kind: ImageFormat, quality: int, seed: int) -> None:
    pixels, alpha = random_picture(seed)
    photo = decode(encode(pixels, kind, quality, alpha), LIMITS)
    assert np.array_equal(photo.pixels, pixels)
    assert (photo.alpha is None) == (alpha is None)
    if alpha is not None:
        assert np.array_equal(photo.alpha, alpha)


def test_lossy_webp_keeps_alpha(noise: Pixels, alpha: Pixels) -> None:
    assert np.array_equal(decode(encode(noise, "WEBP", 80, alpha), LIMITS).alpha, alpha)


def test_jpeg_shows_it_on_white(alpha: Pixels, read: Read) -> None:
    pixels = np.full((48, 64, 3), (40, 90, 160), np.uint8)
    shown = read(encode(pixels, "JPEG", 100, alpha)).astype(float)
    share = alpha[..., None] / 255
    assert np.abs(shown - (pixels * share + 255 * (1 - share))).max() <= 3


def test_what_is_given_to_be_written_stays_as_it_is(noise: Pixels, alpha: Pixels) -> None:
    kept, kept_alpha = noise.copy(), alpha.copy()
    for kind in ("JPEG", "PNG", "WEBP"):
        encode(noise, kind, 90, alpha)
    assert np.array_equal(noise, kept)
    assert np.array_equal(alpha, kept_alpha)
