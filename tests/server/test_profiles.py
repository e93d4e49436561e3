"""ICC profiles that ask for endless work are set aside, in every container and colour space; ordinary ones change nothing."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from dorian_server.images import decode
from dorian_server.images.profiles import UnusableProfileError, rebuild_profile
from dorian_server.settings import Limits
from tests.server.test_images_colour import ADOBE_RGB, D50, DISPLAY_P3, SRGB_CURVE, gamma, profile, rgb_profile, xyz

Pixels = NDArray[np.uint8]
Write = Callable[..., bytes]

LIMITS = Limits()
SECONDS = 1  # the attack took more than half an hour
STAGES = 100_000
PRO_PHOTO = np.array([[0.79767, 0.13519, 0.03135], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]])
CHANNELS = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}
MODES = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}
CONTAINERS = [
    (b"RGB ", "PNG"),
    (b"RGB ", "WEBP"),
    (b"RGB ", "JPEG"),
    (b"GRAY", "PNG"),
    (b"GRAY", "JPEG"),
    (b"CMYK", "JPEG"),
]


def endless(space: bytes) -> bytes:
    """A profile whose pipeline has very many matrices, all stored once."""
    channels = CHANNELS[space]
    values = np.zeros((channels, channels)) + np.eye(channels) * 0.999
    matrix = struct.pack(">4s4xHH", b"matf", channels, channels)
    matrix += values.astype(">f4").tobytes() + bytes(4 * channels)
    place = 16 + 8 * STAGES
    stages = struct.pack(">4s4xHHI", b"mpet", channels, channels, STAGES)
    stages += struct.pack(">II", place, len(matrix)) * STAGES + matrix
    return profile(space, b"mntr", {b"wtpt": xyz(D50), b"D2B0": stages, b"A2B0": stages})


def table(kind: bytes = b"mft1", inputs: int = 3, grid: int = 2, **changes: int) -> bytes:
    """A table of ``kind`` that gives a middle grey."""
    matrix = struct.pack(">9i", *(round(value * 65536) for value in np.eye(3).ravel()))
    head = kind + bytes(4) + bytes([changes.get("said_inputs", inputs), 3, changes.get("said_grid", grid), 0]) + matrix
    nodes = grid**inputs * 3
    if kind == b"mft1":
        return head + bytes(range(256)) * inputs + bytes([128]) * nodes + bytes(range(256)) * 3
    ramp = struct.pack(">HH", 0, 65535)
    points = changes.get("points", 2)
    return head + struct.pack(">HH", points, 2) + ramp * inputs + struct.pack(">H", 32768) * nodes + ramp * 3


def stages(curve: bytes = SRGB_CURVE, grid: int = 2, value_bytes: int = 1) -> bytes:
    """A ``lutAToBType`` with all of its five steps."""
    curves = (curve + bytes(-len(curve) % 4)) * 3
    matrix = struct.pack(">12i", *(round(value * 65536) for value in (*np.eye(3).ravel(), 0, 0, 0)))
    nodes = bytes([grid] * 3).ljust(16, b"\0") + bytes([value_bytes, 0, 0, 0]) + bytes([128]) * 24
    places = [32, 32 + len(curves), 80 + len(curves), 80 + 2 * len(curves)]
    places.append(places[-1] + len(nodes))
    return (
        b"mAB "
        + bytes(4)
        + bytes([3, 3, 0, 0])
        + struct.pack(">5I", *places)
        + curves
        + matrix
        + curves
        + nodes
        + curves
    )


def with_table(content: bytes, space: bytes = b"RGB ") -> bytes:
    return profile(space, b"prtr", {b"wtpt": xyz(D50), b"A2B0": content})


ORDINARY = {
    "Display P3": rgb_profile(DISPLAY_P3, SRGB_CURVE),
    "Adobe RGB": rgb_profile(ADOBE_RGB, gamma(563 / 256)),
    "ProPhoto": rgb_profile(PRO_PHOTO, gamma(1.8)),
    "grey": profile(b"GRAY", b"mntr", {b"wtpt": xyz(D50), b"kTRC": gamma(2.2)}),
    "lut8 of inks": with_table(table(inputs=4), b"CMYK"),
    "lut16 of inks": with_table(table(b"mft2", inputs=4, grid=3), b"CMYK"),
    "lut16": with_table(table(b"mft2")),
    "mAB": with_table(stages()),
}


@pytest.mark.parametrize(("space", "container"), CONTAINERS)
def test_endless_work_is_not_begun(
    space: bytes, container: str, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    image = Image.fromarray(np.full((160, 160, 3), (180, 90, 40), np.uint8)).convert(MODES[space])
    data = write(image, container, icc_profile=endless(space))
    caplog.set_level("INFO", "dorian_server")
    start = time.process_time()
    photo = decode(data, LIMITS)
    assert time.process_time() - start < SECONDS
    assert np.array_equal(photo.pixels, decode(write(image, container), LIMITS).pixels)
    assert "colours are taken as sRGB" in caplog.text


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_profiles_convert_as_in_little_cms(name: str) -> None:
    original = ORDINARY[name]
    source = ImageCms.ImageCmsProfile(io.BytesIO(original))
    mode = MODES[original[16:20]]
    size = (64, 48, len(Image.new(mode, (1, 1)).getbands()))
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, size, dtype=np.uint8).squeeze(), mode)
    srgb = ImageCms.createProfile("sRGB")
    rebuilt = ImageCms.ImageCmsProfile(io.BytesIO(rebuild_profile(original)))
    before, after = (
        ImageCms.applyTransform(image, ImageCms.buildTransform(one, srgb, mode, "RGB")) for one in (source, rebuilt)
    )
    assert before is not None
    assert after is not None
    assert np.array_equal(np.asarray(before), np.asarray(after))


UNUSABLE = {
    "a pipeline of floats": endless(b"RGB "),
    "a curve with more points than it has": rgb_profile(DISPLAY_P3, struct.pack(">4s4xI", b"curv", 60_000)),
    "a curve of too many points": rgb_profile(DISPLAY_P3, struct.pack(">4s4xI", b"curv", 70_000) + bytes(140_000)),
    "a curve of no known function": rgb_profile(DISPLAY_P3, struct.pack(">4s4xHH", b"para", 9, 0) + bytes(40)),
    "a table cut off": with_table(table()[:-1]),
    "a table of other channels": with_table(table(said_inputs=4)),
    "a table of one node": with_table(table(said_grid=1)),
    "a table of very many nodes": with_table(table(said_grid=255)),
    "a curve of a table of too many points": with_table(table(b"mft2", points=65_535)),
    "stages of very many nodes": with_table(stages(grid=255)),
    "stages of wide values": with_table(stages(value_bytes=8)),
    "stages with a pipeline for a curve": with_table(stages(b"mpet" + bytes(28))),
    "stages cut off": with_table(stages()[:-8]),
    "a tag twice": ORDINARY["Adobe RGB"].replace(b"gXYZ", b"rXYZ"),
    "a tag beyond the end": ORDINARY["Adobe RGB"][:-4],
    "very many tags": ORDINARY["Adobe RGB"][:128] + struct.pack(">I", 101) + ORDINARY["Adobe RGB"][132:],
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_a_profile_may_not_hold(name: str) -> None:
    with pytest.raises(UnusableProfileError):
        rebuild_profile(UNUSABLE[name])
