"""Pictures: what is decoded, how, what is refused, and what is written."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian_server.domain.errors import RequestError
from dorian_server.domain.requests import ImageFormat
from dorian_server.images import FORMATS, decode, encode
from dorian_server.settings import Limits
from tests.hostile_images import deep_png, interlaced_png, segment

Pixels = NDArray[np.uint8]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]

LIMITS = Limits()
LOSSY_TOLERANCE = 12  # grey levels, at quality 95, on slow gradients
ORIENTATION = 0x0112


@pytest.fixture
def gradient() -> Pixels:
    """A picture (48, 64, 3) that JPEG and WebP hardly change; its four corners differ."""
    y, x = np.mgrid[:48, :64]
    return np.stack([x * 4, y * 5, (x + y) * 2], axis=2).astype(np.uint8)


def refusal(data: bytes, limits: Limits = LIMITS) -> RequestError:
    with pytest.raises(RequestError) as caught:
        decode(data, limits)
    assert caught.value.field == "image.data"
    return caught.value


# --- decoding ---


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_decoded_and_told(kind: ImageFormat, gradient: Pixels, write: Write) -> None:
    photo = decode(write(gradient, kind, quality=95), LIMITS)
    assert photo.format == kind
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.shape == gradient.shape
    assert np.abs(photo.pixels.astype(int) - gradient).max() <= (0 if kind == "PNG" else LOSSY_TOLERANCE)


def test_png_is_decoded_without_loss(noise: Pixels, write: Write) -> None:
    assert np.array_equal(decode(write(noise), LIMITS).pixels, noise)


def test_progressive_jpeg(gradient: Pixels, write: Write) -> None:
    progressive = write(gradient, "JPEG", quality=95, progressive=True)
    assert b"\xff\xc2" in progressive
    baseline = decode(write(gradient, "JPEG", quality=95), LIMITS)
    assert np.array_equal(decode(progressive, LIMITS).pixels, baseline.pixels)


def test_a_jpeg_of_several_pictures_gives_the_first_and_counts_as_jpeg(gradient: Pixels, write: Write) -> None:
    data = write(gradient, "MPO", save_all=True, append_images=[Image.fromarray(255 - gradient)], quality=95)
    photo = decode(data, LIMITS)
    assert photo.format == "JPEG"
    assert np.abs(photo.pixels.astype(int) - gradient).max() <= LOSSY_TOLERANCE


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_picture(kind: str, noise: Pixels, write: Write) -> None:
    data = write(noise, kind, save_all=True, append_images=[Image.fromarray(255 - noise)], lossless=True)
    assert np.array_equal(decode(data, LIMITS).pixels, noise)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda stored: stored),
        (2, lambda stored: stored[:, ::-1]),
        (3, lambda stored: stored[::-1, ::-1]),
        (4, lambda stored: stored[::-1]),
        (5, lambda stored: stored.transpose(1, 0, 2)),
        (6, lambda stored: np.rot90(stored, -1)),
        (7, lambda stored: stored[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda stored: np.rot90(stored)),
    ],
)
@pytest.mark.parametrize("kind", FORMATS)
def test_photos_are_turned_upright(
    kind: ImageFormat, orientation: int, upright: Callable[[Pixels], Pixels], noise: Pixels, write: Write, read: Read
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = write(noise, kind, exif=exif)
    assert np.array_equal(decode(data, LIMITS).pixels, upright(read(data)))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "exif",
    [b"no metadata", b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0", b"II*\0\xff\xff\xff\x7f"],
    ids=["garbage", "orientation in letters", "pointer to nowhere"],
)
def test_broken_exif_does_not_spoil_a_whole_photo(
    kind: ImageFormat, exif: bytes, noise: Pixels, write: Write, read: Read
) -> None:
    data = write(noise, kind, exif=b"Exif\0\0" + exif)
    assert exif in data
    assert np.array_equal(decode(data, LIMITS).pixels, read(data))


def test_16_bit_grey(write: Write) -> None:
    levels = np.tile(np.arange(0, 65536, 512, dtype=np.uint16), (64, 1))
    pixels = decode(write(Image.fromarray(levels)), LIMITS).pixels
    assert pixels.shape == (64, 128, 3)
    assert np.array_equal(pixels[..., 0], np.rint(levels / 257))
    assert (pixels == pixels[..., :1]).all()


def test_8_bit_and_1_bit_grey(noise: Pixels, write: Write) -> None:
    grey = noise[..., 0]
    assert np.array_equal(decode(write(grey), LIMITS).pixels, np.repeat(grey[..., None], 3, axis=2))
    stripes = np.tile(np.arange(64) % 2 == 0, (48, 1))
    assert np.array_equal(decode(write(Image.fromarray(stripes)), LIMITS).pixels[..., 1], stripes * 255)


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 256, 2))], ids=["none", "one colour", "by degrees"])
def test_palettes(transparency: int | bytes | None, gradient: Pixels, write: Write) -> None:
    image = Image.fromarray(gradient).quantize(128)
    options = {} if transparency is None else {"transparency": transparency}
    assert np.array_equal(decode(write(image, **options), LIMITS).pixels, np.asarray(image.convert("RGB")))


def test_16_bits_become_8() -> None:
    samples = np.random.default_rng(1).integers(0, 65536, (48, 64, 3), dtype=np.uint16)
    pixels = decode(deep_png(samples, 2), LIMITS).pixels
    assert np.abs(pixels - samples / 257).max() <= 1


def test_interlaced_png(noise: Pixels) -> None:
    assert np.array_equal(decode(interlaced_png(noise), LIMITS).pixels, noise)


def test_cmyk_jpeg(write: Write) -> None:
    image = Image.new("CMYK", (64, 48), (255, 0, 0, 0))
    photo = decode(write(image, "JPEG", quality=95), LIMITS)
    assert photo.format == "JPEG"
    assert np.abs(photo.pixels.astype(int) - (0, 255, 255)).max() <= 3


def test_ycck_jpeg(write: Write) -> None:
    """Three inks are stored as the YCbCr of how much there is of each, black inverted; here an orange, a fifth darker."""
    red, green, blue, black = 250, 180, 90, 51
    ycc = Image.new("RGB", (64, 48), (255 - red, 255 - green, 255 - blue)).convert("YCbCr").getpixel((0, 0))
    assert isinstance(ycc, tuple)
    stored = tuple(255 - int(level) for level in (*ycc, 255 - black))
    data = write(Image.new("CMYK", (64, 48), stored), "JPEG", quality=100)
    plain, ycck = b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"
    assert plain in data
    pixels = decode(data.replace(plain, ycck), LIMITS).pixels.astype(int)
    assert np.abs(pixels - np.array([red, green, blue]) * (255 - black) / 255).max() <= 3


# --- refusing ---


def test_empty() -> None:
    assert refusal(b"").reason == "IMAGE_EMPTY"


@pytest.mark.parametrize(
    "data", [b"Dear server,\n", b"\0" * 1000, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"]
)
def test_what_is_no_picture(data: bytes) -> None:
    error = refusal(data)
    assert error.reason == "IMAGE_UNREADABLE"
    assert "JPEG, PNG or WebP" in str(error)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_formats(kind: str, noise: Pixels, write: Write) -> None:
    assert refusal(write(noise, kind)).reason == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("kept", [0.001, 0.02, 0.3, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("options", [{"kind": "JPEG"}, {"kind": "JPEG", "progressive": True}, {"kind": "WEBP"}])
def test_cut_off(options: dict[str, object], kept: float, astronaut_file: bytes, read: Read, write: Write) -> None:
    data = write(read(astronaut_file)[:256, :256], **options)
    assert refusal(data[: int(len(data) * kept)]).reason == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_cut_off_png(kept: float, noise: Pixels, write: Write) -> None:
    data = write(noise)
    assert refusal(data[: int(len(data) * kept)]).reason == "IMAGE_UNREADABLE"


def test_a_flipped_bit_in_a_png(noise: Pixels, write: Write) -> None:
    data = bytearray(write(noise))
    data[len(data) // 2] ^= 1
    assert refusal(bytes(data)).reason == "IMAGE_UNREADABLE"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (31, 64), (64, 31)])
def test_too_small(width: int, height: int, write: Write) -> None:
    error = refusal(write(np.zeros((height, width, 3), np.uint8)))
    assert error.reason == "IMAGE_TOO_SMALL"
    assert str(error) == f"the image is {width}×{height} pixels; each side must be at least 32"


def test_the_smallest_and_the_largest_that_pass(write: Write) -> None:
    smallest = write(np.zeros((32, 32, 3), np.uint8))
    assert decode(smallest, Limits(max_pixels=1024, max_image_bytes=len(smallest))).pixels.shape == (32, 32, 3)
    assert refusal(smallest, Limits(max_pixels=1023)).reason == "IMAGE_TOO_LARGE"
    assert refusal(smallest, Limits(max_image_bytes=len(smallest) - 1)).reason == "IMAGE_BYTES_EXCEEDED"


def huge_jpeg(write: Write) -> bytes:
    data = bytearray(write(np.zeros((32, 32, 3), np.uint8), "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def huge_webp() -> bytes:
    body = b"\x2f" + struct.pack("<I", 16_383 | 16_383 << 14) + bytes(21)  # both sides less one, 14 bits each
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize(("kind", "side"), [("PNG", 30_000), ("JPEG", 60_000), ("WEBP", 16_384)])
def test_too_large_is_seen_before_a_pixel_is_decoded(kind: str, side: int, huge_png: bytes, write: Write) -> None:
    """None of these files has pixels: whoever tried to decode one would call it unreadable, or take gigabytes."""
    data = {"PNG": huge_png, "JPEG": huge_jpeg(write), "WEBP": huge_webp()}[kind]
    tracemalloc.start()
    try:
        error = refusal(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.reason == "IMAGE_TOO_LARGE"
    assert str(error) == f"the image is {side}×{side} pixels; at most 64,000,000 pixels are allowed"
    assert peak < 2**20


def test_too_many_bytes_are_not_even_looked_at() -> None:
    error = refusal(b"text" * 10, Limits(max_image_bytes=39))
    assert error.reason == "IMAGE_BYTES_EXCEEDED"
    assert str(error) == "the image has 40 bytes; at most 39 are allowed"


# --- encoding ---


def test_png_is_written_without_loss(noise: Pixels, read: Read) -> None:
    assert np.array_equal(read(encode(noise, "PNG")), noise)
    assert encode(noise, "PNG", 1) == encode(noise, "PNG", 100)


def test_webp_is_lossless_at_quality_100_only(noise: Pixels, read: Read) -> None:
    assert np.array_equal(read(encode(noise, "WEBP", 100)), noise)
    assert not np.array_equal(read(encode(noise, "WEBP", 99)), noise)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_quality_trades_bytes_for_likeness(kind: ImageFormat, noise: Pixels, read: Read) -> None:
    files = [encode(noise, kind, quality) for quality in (1, 30, 92, 99)]
    errors = [np.abs(read(data).astype(int) - noise).mean() for data in files]
    assert [len(data) for data in files] == sorted(len(data) for data in files)
    assert errors == sorted(errors, reverse=True)
    assert encode(noise, kind) == encode(noise, kind, 92)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_written_can_be_decoded_again(kind: ImageFormat, gradient: Pixels) -> None:
    photo = decode(encode(gradient, kind), LIMITS)
    assert photo.format == kind
    assert np.abs(photo.pixels.astype(int) - gradient).max() <= LOSSY_TOLERANCE


def test_what_costs_too_much_is_refused_in_words(gradient: Pixels, write: Write) -> None:
    data = write(gradient, "JPEG", progressive=True)
    scan = segment(0xDA, b"\1\1\0\1\x3f\0")
    error = refusal(data[:-2] + scan * 100 + data[-2:])
    assert error.reason == "IMAGE_UNREADABLE"
    assert str(error) == (
        "the image cannot be decoded; send a whole JPEG, PNG or WebP file: the image is stored in more than 100 scans"
    )


def test_scans_of_what_follows_the_picture_do_not_count(gradient: Pixels, write: Write) -> None:
    data = write(gradient, "JPEG", progressive=True)
    assert np.array_equal(decode(data + b"\xff\xda" * 1000, LIMITS).pixels, decode(data, LIMITS).pixels)


def test_fine_jpeg_keeps_the_full_resolution_of_colour(read: Read) -> None:
    """Lines of pure colour, a pixel wide, blur where colour is stored at half the resolution."""
    lines = np.zeros((32, 32, 3), np.uint8)
    lines[:, ::2, 0] = lines[:, 1::2, 2] = 255
    error = [np.abs(read(encode(lines, "JPEG", quality)).astype(int) - lines).mean() for quality in (92, 89)]
    assert error[0] < 5 < error[1]


def test_the_table_has_the_formats_of_the_contract() -> None:
    contract = {name.removeprefix("IMAGE_FORMAT_") for name in pb.ImageFormat.DESCRIPTOR.values_by_name} - {
        "UNSPECIFIED"
    }
    assert set(FORMATS) == contract == set(get_args(ImageFormat))
