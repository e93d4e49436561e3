"""Metadata: nothing is written unless it is asked for; what is kept tells no place, no device's number, no old face."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from dorian_server.domain.requests import ImageFormat
from dorian_server.images import FORMATS, Metadata, Photo, decode, encode
from dorian_server.settings import Limits
from tests.hostile_images import segment, srgb_profile, tiff, with_segments

Pixels = NDArray[np.uint8]
Write = Callable[..., bytes]

LIMITS = Limits()
TAGS = ExifTags.Base
SECRETS = (b"maker's secret", b"SERIAL-123", b"GPSLatitude", b"Old Mill Lane", b"a face from before", b"hello")


def exif(order: str = "<") -> Image.Exif:
    """What a camera writes: about itself, time, author, and place; a maker's note, a preview."""
    about = Image.Exif()
    about.endian = order
    about[TAGS.Make], about[TAGS.Model] = "Maker", "Model 7"
    about[TAGS.Artist], about[TAGS.Copyright] = "Vivian Maier", "2020 V. M."
    about[TAGS.DateTime] = "2020:02:03 04:05:06"
    about[TAGS.Orientation] = 6
    about[TAGS.XMLPacket] = b"<exif:GPSLatitude>48</exif:GPSLatitude>"
    of_exif = about.get_ifd(ExifTags.IFD.Exif)
    of_exif[TAGS.DateTimeOriginal] = "2020:02:03 04:05:00"
    of_exif[TAGS.ExposureTime] = TiffImagePlugin.IFDRational(1, 250)
    of_exif[TAGS.ISOSpeedRatings] = 400
    of_exif[TAGS.LensModel] = "50 mm"
    of_exif[TAGS.MakerNote] = b"maker's secret"
    of_exif[TAGS.BodySerialNumber] = "SERIAL-123"
    place = about.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef], place[ExifTags.GPS.GPSAreaInformation] = "N", b"Old Mill Lane"
    place[ExifTags.GPS.GPSLatitude] = (48.0, 51.0, 24.0)
    return about


def with_thumbnail(tiff_file: bytes, order: str) -> bytes:
    """The EXIF with a second directory for a preview, linked from the first, after all else."""
    (first,) = struct.unpack_from(order + "I", tiff_file, 4)
    (count,) = struct.unpack_from(order + "H", tiff_file, first)
    end = first + 2 + 12 * count
    preview = b"\xff\xd8a face from before\xff\xd9"
    place = len(tiff_file) + 2 + 24 + 4
    rows = struct.pack(order + "HHHII", 2, 0x0201, 4, 1, place) + struct.pack(
        order + "HHII", 0x0202, 4, 1, len(preview)
    )
    link = struct.pack(order + "I", len(tiff_file))
    return tiff_file[:end] + link + tiff_file[end + 4 :] + rows + bytes(4) + preview


@pytest.fixture(params=["<", ">"], ids=["little-endian", "big-endian"])
def raw_exif(request: pytest.FixtureRequest) -> bytes:
    data = exif(request.param).tobytes().removeprefix(b"Exif\0\0")
    return b"Exif\0\0" + with_thumbnail(data, request.param)


def taken(kind: str, raw_exif: bytes, noise: Pixels, write: Write) -> bytes:
    """A photo with all that a file can have beside its picture."""
    options = {"exif": raw_exif, "icc_profile": srgb_profile(), "comment": b"hello", "xmp": b"<exif:GPSLatitude/>"}
    data = write(noise, kind, **options)
    assert sum(secret in data for secret in SECRETS) >= 5
    return data


def parts(data: bytes) -> set[str]:
    """What a file has beside its picture, as Pillow tells it."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return set(image.info) & {"exif", "xmp", "icc_profile", "comment", "XML:com.adobe.xmp", "photoshop"}


def written(photo: Photo, kind: ImageFormat, metadata: Metadata | None) -> bytes:
    return encode(photo.pixels, kind, 92, photo.alpha, metadata)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_nothing_is_written_by_default(
    source: str, kind: ImageFormat, raw_exif: bytes, noise: Pixels, write: Write
) -> None:
    data = taken(source, raw_exif, noise, write)
    assert "exif" in parts(data)
    out = written(decode(data, LIMITS), kind, None)
    assert parts(out) == set()
    assert not any(secret in out for secret in (*SECRETS, b"Maker", b"Maier", b"2020"))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_what_is_kept(source: str, kind: ImageFormat, raw_exif: bytes, noise: Pixels, write: Write) -> None:
    photo = decode(taken(source, raw_exif, noise, write), LIMITS)
    assert photo.pixels.shape == (64, 48, 3)
    assert photo.metadata is not None
    out = written(photo, kind, photo.metadata)
    assert parts(out) == {"exif"}
    assert not any(secret in out for secret in SECRETS)
    with Image.open(io.BytesIO(out)) as image:
        assert image.size == (48, 64)
        result = image.getexif()
        of_exif = dict(result.get_ifd(ExifTags.IFD.Exif))
        assert not result.get_ifd(ExifTags.IFD.GPSInfo)
        assert not result.get_ifd(ExifTags.IFD.IFD1)
    found_tags = dict(result)
    assert found_tags.pop(TAGS.ExifOffset)
    assert found_tags == {
        TAGS.Make: "Maker",
        TAGS.Model: "Model 7",
        TAGS.Artist: "Vivian Maier",
        TAGS.Copyright: "2020 V. M.",
        TAGS.DateTime: "2020:02:03 04:05:06",
    }
    assert of_exif == {
        TAGS.DateTimeOriginal: "2020:02:03 04:05:00",
        TAGS.ExposureTime: 1 / 250,
        TAGS.ISOSpeedRatings: 400,
        TAGS.LensModel: "50 mm",
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_kept_is_kept_again(kind: ImageFormat, raw_exif: bytes, noise: Pixels, write: Write) -> None:
    """An aged photo is upright, and may be aged again."""
    photo = decode(taken("JPEG", raw_exif, noise, write), LIMITS)
    again = decode(written(photo, kind, photo.metadata), LIMITS)
    assert again.pixels.shape == photo.pixels.shape
    assert again.metadata == photo.metadata


@pytest.mark.parametrize("kind", FORMATS)
def test_a_photo_without_exif_has_none(kind: str, noise: Pixels, write: Write) -> None:
    assert decode(write(noise, kind), LIMITS).metadata is None


def test_exif_with_nothing_to_keep(noise: Pixels, write: Write) -> None:
    turned = Image.Exif()
    turned[TAGS.Orientation] = 8
    assert decode(write(noise, exif=turned), LIMITS).metadata is None


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"II*\0",
        b"XX*\0\x08\0\0\0" + bytes(100),
        tiff((0x010F, 2, 2**32 - 1, b"\x08\0\0\0")),
        tiff((0x010F, 2, 5000, b"\x08\0\0\0")) + bytes(5000),
        tiff((0x010F, 2, 8, b"\xff\xff\xff\x7f")),
        tiff((0x010F, 99, 1, b"abc\0")),
        tiff((0x8769, 4, 1, b"\xff\xff\xff\x7f")),
        tiff((0x8769, 2, 4, b"abc\0")),
        tiff((0x8825, 4, 1, b"\x08\0\0\0")),
    ],
)
def test_broken_exif_has_nothing_to_keep(broken: bytes, noise: Pixels, write: Write) -> None:
    data = with_segments(write(noise, "JPEG"), segment(0xE1, b"Exif\0\0" + broken))
    photo = decode(data, LIMITS)
    assert photo.metadata is None
    assert photo.pixels.shape == noise.shape


def test_what_is_whole_of_broken_exif_is_kept(noise: Pixels, write: Write) -> None:
    """A directory that says it has more entries than there are, and one entry that is cut."""
    some = bytearray(tiff((0x010F, 2, 4, b"Me\0\0"), (0x0110, 2, 90, b"\xff\0\0\0")))
    some[8] = 200
    photo = decode(with_segments(write(noise, "JPEG"), segment(0xE1, b"Exif\0\0" + bytes(some))), LIMITS)
    assert photo.metadata == Metadata(tiff((0x010F, 2, 4, b"Me\0\0")))


def test_the_most_that_can_be_kept_fits_into_a_jpeg(noise: Pixels, write: Write) -> None:
    """Every value of as many bytes as may be kept, all at one place."""
    place = 8 + 2 + 12 * 500 + 4
    rows = [(tag, 7, 1024, struct.pack("<I", place)) for tag in (*range(0x0100, 0x0140), 0x8298)]
    tags = (*range(0x9000, 0x9011), *range(0x9201, 0x920B), *range(0xA402, 0xA436))
    of_exif = [(tag, 7, 1024, struct.pack("<I", place)) for tag in tags]
    start = len(tiff(*rows)) + 12
    first = tiff(*rows, (0x8769, 4, 1, struct.pack("<I", start)))
    second = tiff(*of_exif)[8:]
    data = write(noise, "PNG", exif=(first + second).ljust(place + 1024, b"x"))
    photo = decode(data, LIMITS)
    assert photo.metadata is not None
    assert len(photo.metadata.exif) > 30 * 1024
    again = decode(written(photo, "JPEG", photo.metadata), LIMITS)
    assert again.metadata == photo.metadata
