"""Colour profiles: photos tagged with other colour spaces come out as sRGB would show them; numbers against closed forms."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian_server.images import FORMATS, decode
from dorian_server.settings import Limits
from tests.hostile_images import srgb_profile

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Write = Callable[..., bytes]

LIMITS = Limits()
D50 = (0.9642, 1.0, 0.8249)
# Columns: red, green and blue in XYZ, adapted to D50; from the spaces' own ICC profiles.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB_CURVE = struct.pack(
    ">4s4xHH5i", b"para", 3, 0, *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)
TOLERANCE = 2  # levels


def profile(space: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 4, with the contents of its tags."""
    place = 128 + 4 + 12 * len(tags)
    table, contents = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, place + len(contents), len(content))
        contents += content + bytes(-len(content) % 4)
    connection = b"Lab " if kind == b"prtr" else b"XYZ "
    head = struct.pack(">I4sI4s4s4s12x4s", place + len(contents), b"", 0x04200000, kind, space, connection, b"acsp")
    illuminant = struct.pack(">3i", *(round(value * 65536) for value in D50))
    return head.ljust(68, b"\0") + illuminant.ljust(60, b"\0") + table + contents


def xyz(values: tuple[float, ...] | Floats) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(float(value) * 65536) for value in values))


def gamma(power: float) -> bytes:
    return struct.pack(">4s4xIH", b"curv", 1, round(power * 256))


def rgb_profile(columns: Floats, curve: bytes) -> bytes:
    primaries = {name: xyz(columns[:, index]) for index, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return profile(b"RGB ", b"mntr", {b"wtpt": xyz(D50), **primaries, **curves})


def cmyk_profile(lightness: Callable[[int, int, int, int], int]) -> bytes:
    """A printer's whose inks, each none or full, give a grey; in levels of 255."""
    nodes = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    grid = b"".join(bytes([lightness(*node), 128, 128]) for node in nodes)
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", *(round(value * 65536) for value in np.eye(3).ravel()))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + grid + ramp * 3
    return profile(b"CMYK", b"prtr", {b"wtpt": xyz(D50), b"A2B0": table})


def linear(levels: Floats) -> Floats:
    values = levels / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def levels(light: Floats) -> Floats:
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def away(pixels: Pixels, expected: Floats) -> float:
    return float(np.abs(pixels - expected).max())


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_swapped_primaries_are_swapped_back(kind: str, noise: Pixels, write: Write) -> None:
    swapped = rgb_profile(SRGB[:, [1, 2, 0]], SRGB_CURVE)
    photo = decode(write(noise[..., [1, 2, 0]], kind, icc_profile=swapped, lossless=True), LIMITS)
    assert away(photo.pixels, noise.astype(float)) <= TOLERANCE


def test_the_profile_of_a_jpeg(write: Write) -> None:
    red = np.full((48, 64, 3), (200, 30, 40), np.uint8)
    swapped = rgb_profile(SRGB[:, [1, 2, 0]], SRGB_CURVE)
    data = write(red[..., [1, 2, 0]], "JPEG", quality=95, icc_profile=swapped)
    assert away(decode(data, LIMITS).pixels, red.astype(float)) <= TOLERANCE + 2


def test_display_p3(noise: Pixels, write: Write) -> None:
    photo = decode(write(noise, icc_profile=rgb_profile(DISPLAY_P3, SRGB_CURVE)), LIMITS)
    shown = linear(noise.astype(float)) @ DISPLAY_P3.T @ np.linalg.inv(SRGB).T
    assert away(photo.pixels, levels(shown)) <= TOLERANCE
    assert away(photo.pixels, noise.astype(float)) > 20


def test_adobe_rgb(noise: Pixels, write: Write) -> None:
    photo = decode(write(noise, icc_profile=rgb_profile(ADOBE_RGB, gamma(563 / 256))), LIMITS)
    shown = (noise / 255) ** (563 / 256) @ ADOBE_RGB.T @ np.linalg.inv(SRGB).T
    assert away(photo.pixels, levels(shown)) <= TOLERANCE + 1


@pytest.mark.parametrize("name", ["of Little CMS", "of the numbers"])
def test_srgb_by_any_name_changes_nothing(name: str, noise: Pixels, write: Write) -> None:
    tag = srgb_profile() if name == "of Little CMS" else rgb_profile(SRGB, SRGB_CURVE)
    assert np.array_equal(decode(write(noise, icc_profile=tag), LIMITS).pixels, noise)


def test_grey_has_a_curve(write: Write) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
    tag = profile(b"GRAY", b"mntr", {b"wtpt": xyz(D50), b"kTRC": gamma(1)})
    pixels = decode(write(ramp, icc_profile=tag), LIMITS).pixels
    assert away(pixels[..., 1], levels(ramp / 255)) <= TOLERANCE
    assert np.ptp(pixels, axis=2).max() <= 1


def test_grey_with_a_profile_for_colours(write: Write) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
    pixels = decode(write(ramp, icc_profile=rgb_profile(DISPLAY_P3, gamma(1))), LIMITS).pixels
    assert away(pixels[..., 1], levels(ramp / 255)) <= TOLERANCE


def test_inks(write: Write) -> None:
    """A printer whose cyan is a middle grey, and whose other inks do not show."""
    tag = cmyk_profile(lambda c, m, y, k: 128 if c else 255)
    for inks, lightness in (((0, 255, 255, 255), 100.0), ((255, 0, 0, 0), 128 / 2.55)):
        data = write(Image.new("CMYK", (64, 48), inks), "JPEG", quality=95, icc_profile=tag)
        light = ((lightness + 16) / 116) ** 3
        assert away(decode(data, LIMITS).pixels, levels(np.array(light))) <= TOLERANCE + 2


def test_colours_beneath_alpha_are_converted_and_alpha_is_not(noise: Pixels, write: Write) -> None:
    alpha = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    data = write(np.dstack([noise[..., [1, 2, 0]], alpha]), icc_profile=rgb_profile(SRGB[:, [1, 2, 0]], SRGB_CURVE))
    photo = decode(data, LIMITS)
    assert away(photo.pixels, noise.astype(float)) <= TOLERANCE
    assert np.array_equal(photo.alpha, alpha)


def test_palettes_are_converted(noise: Pixels, write: Write) -> None:
    image = Image.fromarray(noise).quantize(128)
    data = write(image, icc_profile=rgb_profile(SRGB[:, [1, 2, 0]], SRGB_CURVE))
    expected = np.asarray(image.convert("RGB"))[..., [2, 0, 1]]
    assert away(decode(data, LIMITS).pixels, expected.astype(float)) <= TOLERANCE


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["garbage", "cut", "of another space", "of another class"])
def test_broken_and_odd_profiles_are_ignored(kind: str, name: str, noise: Pixels, write: Write) -> None:
    wide = rgb_profile(DISPLAY_P3, gamma(1))
    tag = {
        "garbage": b"no profile",
        "cut": wide[:200],
        "of another space": cmyk_profile(lambda *inks: 99),
        "of another class": wide[:12] + b"link" + wide[16:],
    }[name]
    tagged, plain = (decode(write(noise, kind, **options), LIMITS) for options in ({"icc_profile": tag}, {}))
    assert np.array_equal(tagged.pixels, plain.pixels)


def test_a_profile_in_several_segments(noise: Pixels, write: Write) -> None:
    """In a JPEG, one of 100 kB takes two."""
    swapped = rgb_profile(SRGB[:, [1, 2, 0]], SRGB_CURVE)
    padded = struct.pack(">I", 100_000) + swapped[4:].ljust(99_996, b"\0")
    small, large = (decode(write(noise, "JPEG", icc_profile=tag), LIMITS).pixels for tag in (swapped, padded))
    assert np.array_equal(small, large)
    assert not np.array_equal(small, decode(write(noise, "JPEG"), LIMITS).pixels)
