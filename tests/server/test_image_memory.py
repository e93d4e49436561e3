"""Headers of photos, and that decoding takes no more memory than they say."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian_server.domain.errors import RequestError
from dorian_server.images import decode, read_photo_header
from dorian_server.settings import Limits
from tests.hostile_images import painted, webp_of
from tests.server.process_memory import read_memory, reset_peak

MEGABYTE = 2**20
LIMITS = Limits()
WIDTH, HEIGHT = 3000, 2000
MODES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "jpeg": ("JPEG", "RGB", {}),
    "jpeg, progressive": ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
    "jpeg, inks": ("JPEG", "CMYK", {}),
    "jpeg, grey": ("JPEG", "L", {}),
    "jpeg, on its side": ("JPEG", "RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}),
    "png": ("PNG", "RGB", {"compress_level": 1}),
    "png, alpha": ("PNG", "RGBA", {"compress_level": 1}),
    "png, palette": ("PNG", "P", {"compress_level": 1}),
    "png, one transparent colour": ("PNG", "RGB", {"compress_level": 1, "transparency": (1, 2, 3)}),
    "png, 16 bits of grey": ("PNG", "I;16", {"compress_level": 1}),
    "webp": ("WEBP", "RGB", {"method": 0}),
    "webp, alpha": ("WEBP", "RGBA", {"method": 0}),
    "webp, lossless": ("WEBP", "RGB", {"method": 0, "lossless": True, "quality": 0}),
    "webp, lossless with alpha": ("WEBP", "RGBA", {"method": 0, "lossless": True, "quality": 0}),
}


def write_photo(kind: str, mode: str, options: dict[str, Any]) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(pixels[..., :3]).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(pixels[..., 3]))
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", MODES)
def test_decoding_takes_no_more_memory_than_the_header_says(name: str) -> None:
    data = write_photo(*MODES[name])
    limits = Limits(max_image_bytes=100 * MEGABYTE)
    decode(write_photo("JPEG", "RGB", {}), limits)  # what is taken once, such as Pillow's and OpenCV's own
    before = reset_peak()
    photo = decode(data, limits)
    taken = read_memory("VmHWM") - before
    header = read_photo_header(data, limits)
    assert (header.image.width, header.image.height, header.pixels) == (WIDTH, HEIGHT, WIDTH * HEIGHT)
    assert photo.pixels.shape in ((HEIGHT, WIDTH, 3), (WIDTH, HEIGHT, 3))
    assert header.image.has_alpha or photo.alpha is None
    # Beside the file itself, of which parsers copy what they keep.
    assert taken <= header.image.decoding_bytes * header.pixels + 2 * len(data) + 8 * MEGABYTE


def lying_webp(side: int) -> bytes:
    """38 bytes that say that they are a large photo without loss."""
    return webp_of((b"VP8L", b"\x2f" + struct.pack("<I", (side - 1) | (side - 1) << 14) + bytes(13)))


def test_a_webp_that_lies_about_its_sides_takes_no_memory() -> None:
    data = lying_webp(7999)
    assert len(data) == 38
    before = reset_peak()
    with pytest.raises(RequestError, match="cut off or broken"):
        decode(data, LIMITS)
    assert read_memory("VmHWM") - before < 32 * MEGABYTE


# --- animations ---


def animation(*, alpha: bool, lossless: bool, box: tuple[int, int, int, int] | None) -> bytes:
    """An animation whose first frame changes all of a dark canvas, or only the ``box``."""
    picture = painted(64, 48, 4)
    if not alpha:
        picture[..., 3] = 255
    if box is not None:
        left, top, right, bottom = box
        beside: NDArray[np.bool_] = np.ones(picture.shape[:2], dtype=bool)
        beside[top:bottom, left:right] = False
        picture[beside] = 0
    frames = [Image.fromarray(picture), Image.new("RGBA", (64, 48), "red")]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=100, lossless=lossless, exact=True)
    return file.getvalue()


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize("box", [None, (10, 4, 50, 40)])
def test_the_first_frame_of_an_animation_is_what_pillow_shows(
    alpha: bool, lossless: bool, box: tuple[int, int, int, int] | None
) -> None:
    data = animation(alpha=alpha, lossless=lossless, box=box)
    assert b"ANMF" in data
    photo = decode(data, LIMITS)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    shown = np.full(photo.pixels.shape[:2], 255, np.uint8) if photo.alpha is None else photo.alpha
    assert np.array_equal(shown, expected[..., 3])
    difference = np.abs(photo.pixels.astype(int) - expected[..., :3])[expected[..., 3] > 0]
    assert difference.max() <= (0 if lossless else 2)


def test_a_frame_outside_of_its_canvas_is_rejected() -> None:
    data = bytearray(animation(alpha=True, lossless=True, box=None))
    place = data.index(b"ANMF") + 8
    data[place : place + 3] = (20).to_bytes(3, "little")  # 40 pixels to the right
    with pytest.raises(RequestError, match="outside of the canvas"):
        decode(bytes(data), LIMITS)


def test_an_animation_without_a_frame_is_rejected() -> None:
    data = animation(alpha=True, lossless=True, box=None).replace(b"ANMF", b"XXXX")
    with pytest.raises(RequestError, match="cannot be decoded"):
        decode(data, LIMITS)
