"""Files that a server must survive: odd, broken, cut, forged and oversized ones, by name, the same at each call.

Names begin with what must become of the file: ``whole/`` is decoded, ``refused/`` is not, ``either/`` may be or not.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Named = Iterator[tuple[str, bytes]]
Pixels = NDArray[np.uint8]

MEGABYTE = 2**20
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def hostile_images() -> dict[str, bytes]:
    """All of them, by name; none has more than 16 MiB."""
    files: dict[str, bytes] = {}
    for kind in (_modes, _shapes, _cut, _foreign, _bombs, _headers, _scans, _exif, _profiles, _fuzzed):
        for name, data in kind():
            assert name not in files, name
            files[name] = data
    return files


# --- building files ---


def painted(width: int = 64, height: int = 48, bands: int = 3) -> Pixels:
    """A picture (height, width, bands) of slopes with a little noise."""
    y, x = np.mgrid[:height, :width]
    slopes = np.stack([x * 3, y * 4, x + y, 255 - x][:bands], axis=2)
    return (slopes + np.random.default_rng(7).integers(0, 20, slopes.shape)).astype(np.uint8)


def written(picture: Pixels | Image.Image, kind: str, **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, depth: int = 8, colour: int = 2, interlaced: bool = False) -> bytes:
    """A PNG of raw rows, each with its filter's byte."""
    return png_of(chunk(b"IDAT", zlib.compress(rows)), width, height, depth, colour, interlaced)


def png_of(
    chunks: bytes, width: int = 64, height: int = 48, depth: int = 8, colour: int = 2, interlaced: bool = False
) -> bytes:
    """A PNG with ``chunks`` between its header and its end."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return PNG_MAGIC + chunk(b"IHDR", header) + chunks + chunk(b"IEND", b"")


def interlaced_png(pixels: Pixels) -> bytes:
    """RGB ``pixels`` in the seven passes of Adam7."""
    passes = [pixels[top::down, left::right] for left, top, right, down in ADAM7]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    return png(pixels.shape[1], pixels.shape[0], rows, interlaced=True)


def deep_png(samples: NDArray[np.uint16], colour: int) -> bytes:
    """``samples`` (height, width, bands) at 16 bits."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png(samples.shape[1], samples.shape[0], rows, 16, colour)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """``jpeg`` with ``segments`` before all of its own."""
    return b"".join([jpeg[:2], *segments, jpeg[2:]])


def webp_of(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def webp_canvas(width: int, height: int, flags: int = 0x10) -> tuple[bytes, bytes]:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", struct.pack("<I", flags) + sides


def tiff(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """EXIF of one directory with ``entries``: tag, type, count, and the four bytes of the value."""
    rows = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    return head + rows + bytes(4)


def srgb_profile() -> bytes:
    """Without the time of its making, which would make it another each time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = profile[84:100] = bytes(12)
    return bytes(profile)


def boundaries(data: bytes) -> list[int]:
    """Where the segments or chunks of a JPEG, PNG or WebP file begin."""
    result = []
    if data[:2] == b"\xff\xd8":
        position = 2
        while data[position + 1] != 0xDA:
            result.append(position)
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        return [*result, position, len(data) - 2]
    is_png = data.startswith(PNG_MAGIC)
    position = 8 if is_png else 12
    while position < len(data):
        result.append(position)
        length = int.from_bytes(data[position : position + 4], "big")
        if not is_png:
            length = int.from_bytes(data[position + 4 : position + 8], "little")
        position += length + (12 if is_png else 8 + length % 2)
    return result


@cache
def bases() -> dict[str, bytes]:
    """A whole file of each make, small, with all that such files carry."""
    exif = tiff((0x010F, 2, 4, b"Me\0\0"), (0x0112, 3, 1, b"\1\0\0\0"))
    rich = {"exif": b"Exif\0\0" + exif, "icc_profile": srgb_profile()}
    rgb, rgba = painted(), painted(bands=4)
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - rgb)], "duration": 100}
    return {
        "jpeg": written(rgb, "JPEG", comment=b"hello", **rich),
        "progressive-jpeg": written(rgb, "JPEG", progressive=True),
        "png": written(rgba, "PNG", **rich),
        "interlaced-png": interlaced_png(rgb),
        "apng": written(rgb, "PNG", **frames),
        "webp": written(rgba, "WEBP", **rich),
        "lossless-webp": written(rgb, "WEBP", lossless=True),
        "animated-webp": written(rgb, "WEBP", **frames),
    }


# --- what cameras and programs do write ---


def _modes() -> Named:
    rgb = painted()
    image = Image.fromarray(rgb)
    for name, data in bases().items():
        yield f"whole/base-{name}", data
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        deep = Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)
        yield f"whole/png-{mode}", written(deep if mode == "I;16" else image.convert(mode), "PNG")
    for bits in (1, 2, 4):
        yield f"whole/png-palette-{bits}-bits", written(image.quantize(2**bits), "PNG", bits=bits)
    for name, transparency in {"one": 3, "many": bytes(range(0, 256, 2)), "short": b"\7\0\x80"}.items():
        yield f"whole/png-palette-transparent-{name}", written(image.quantize(128), "PNG", transparency=transparency)
    yield "whole/png-transparent-colour", written(image, "PNG", transparency=tuple(int(level) for level in rgb[0, 0]))
    yield "whole/png-transparent-grey", written(image.convert("L"), "PNG", transparency=7)
    for colour, bands in {0: 1, 2: 3, 4: 2, 6: 4}.items():
        samples = painted(bands=bands).astype(np.uint16) * 257
        deep_file = deep_png(samples, colour)
        yield f"whole/png-16-bits-{bands}", deep_file
        transparency = chunk(b"tRNS", samples[0, 0].astype(">u2").tobytes())
        yield f"either/png-16-bits-transparent-{bands}", deep_file[:33] + transparency + deep_file[33:]
    yield "whole/jpeg-grey", written(image.convert("L"), "JPEG")
    yield "whole/jpeg-cmyk", written(image.convert("CMYK"), "JPEG")
    yield (
        "whole/jpeg-ycck",
        written(image.convert("CMYK"), "JPEG").replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"),
    )
    yield "whole/jpeg-rgb", written(image, "JPEG", keep_rgb=True)
    yield "whole/jpeg-restarts", written(image, "JPEG", restart_marker_blocks=1)
    yield "whole/jpeg-mpo", written(image, "MPO", save_all=True, append_images=[Image.fromarray(255 - rgb)])
    yield "whole/webp-poor", written(rgb, "WEBP", quality=0)
    jpeg = bases()["jpeg"]
    yield "whole/jpeg-and-a-film-after-it", jpeg + np.random.default_rng(3).bytes(3 * MEGABYTE)
    yield "whole/jpeg-fill-bytes", with_segments(jpeg, b"\xff" * 1000)
    yield "whole/jpeg-junk-between", with_segments(jpeg, segment(0xFE, b"x"), bytes(1000))
    yield "whole/png-no-end", bases()["png"][:-12]
    yield "whole/png-and-more-after-it", bases()["png"] + b"more"


def _shapes() -> Named:
    for width, height in ((1, 1), (1, 64), (64, 1), (31, 31), (1, 60_000), (31, 2_000)):
        grey = np.full((height, width), 99, np.uint8)
        yield f"refused/png-{width}x{height}", written(grey, "PNG")
        yield f"refused/jpeg-{width}x{height}", written(grey, "JPEG")
        if height < 16_384:
            yield f"refused/webp-{width}x{height}", written(grey, "WEBP")
    for width, height in ((32, 32), (32, 60_000), (60_000, 32)):
        grey = np.full((height, width), 99, np.uint8)
        yield f"whole/png-{width}x{height}", written(grey, "PNG", compress_level=1)
        yield f"whole/jpeg-{width}x{height}", written(grey, "JPEG")
    yield "whole/webp-32x16383", written(np.zeros((16_383, 32, 3), np.uint8), "WEBP", lossless=True, method=0)
    pixels = bytes(49 * 64 * 3)
    for width, height in ((0, 0), (0, 48), (64, 0)):
        yield f"refused/png-{width}x{height}", png(width, height, pixels)
        yield f"refused/jpeg-{width}x{height}", _resized_jpeg(width, height)
    yield "either/png-taller-than-its-rows", png(64, 480, pixels)
    yield "either/png-lower-than-its-rows", png(64, 32, bytes(MEGABYTE))


def _resized_jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header tells another size."""
    data = bytearray(written(painted(), "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


# --- cut, mixed up, of another kind ---


def _cut(within: int = 4) -> Named:
    random = np.random.default_rng(11)
    for name, data in bases().items():
        places = {place + off for place in boundaries(data) for off in (0, 1, 6)}
        places |= {int(place) for place in random.integers(1, len(data), within)}
        for place in sorted(places):
            if place < len(data):
                yield f"either/cut-{name}-{place}", data[:place]
        yield f"refused/cut-{name}-half", data[: len(data) // 2]


def _foreign() -> Named:
    files = bases()
    image = Image.fromarray(painted())
    for kind in ("GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "PCX", "DDS", "EPS"):
        yield f"refused/foreign-{kind}", written(image, kind)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(zipfile.ZipInfo("photo.jpg"), files["jpeg"])
    yield "refused/foreign-zip", archive.getvalue()
    yield "refused/foreign-svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "refused/foreign-html", b"<!doctype html><title>404 Not Found</title>"
    yield "refused/foreign-pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
    yield "refused/foreign-json", b'{"error": "expired"}'
    yield "refused/foreign-script", b"%!PS\n(%pipe%touch x) (w) file\n"
    yield "refused/foreign-heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500)
    yield "refused/empty", b""
    for name, data in files.items():
        yield f"refused/late-{name}", b"\n" + data
        yield f"refused/wrong-magic-{name}", b"XXXX" + data[4:]
    for name, magic in {"png": PNG_MAGIC, "jpeg": b"\xff\xd8\xff", "webp": b"RIFF\0\1\0\0WEBPVP8 "}.items():
        yield f"refused/only-magic-{name}", magic
        yield f"refused/magic-and-zeros-{name}", magic + bytes(1000)
        for other in ("png", "jpeg", "webp"):
            if other != name:
                yield f"either/{name}-magic-{other}-body", magic + files[other][len(magic) :]
    for index in range(8):
        noise = np.random.default_rng(index).bytes(2000)
        yield f"refused/noise-{index}", noise
        yield f"refused/noise-png-{index}", PNG_MAGIC + noise
        yield f"refused/noise-jpeg-{index}", b"\xff\xd8\xff" + noise
        yield f"refused/noise-webp-{index}", b"RIFF" + struct.pack("<I", 2012) + b"WEBPVP8 " + noise


# --- little data that asks for much ---


def _bombs() -> Named:
    for side in (8_000, 50_000, 2**31 - 1, 2**32 - 1):
        yield f"refused/bomb-png-{side}", png(side, side, b"\0" * 1000)
    yield "refused/bomb-jpeg-65500", _resized_jpeg(65_500, 65_500)
    yield "refused/bomb-webp-65536", webp_of(webp_canvas(65_536, 65_535), (b"VP8 ", bytes(10)))
    yield "refused/bomb-webp-2^24", webp_of(webp_canvas(2**24, 2**24))
    yield "refused/bomb-webp-lossless", webp_of((b"VP8L", b"\x2f" + b"\xff" * 20))
    yield "refused/bomb-webp-lossy", webp_of((b"VP8 ", b"\x30\1\0\x9d\1\x2a" + b"\xff\x3f" * 2 + bytes(20)))
    lie = webp_of(webp_canvas(64, 48), (b"VP8L", b"\x2f" + struct.pack("<I", 16_383 | 16_383 << 14) + bytes(20)))
    yield "refused/bomb-webp-behind-a-small-canvas", lie
    pixels = chunk(b"IDAT", zlib.compress(bytes(48 * 193)))
    packed = zlib.compress(bytes(20 * MEGABYTE), 9)
    almost = zlib.compress(bytes(MEGABYTE - 1), 9)
    yield "whole/bomb-ztxt", png_of(chunk(b"zTXt", b"Comment\0\0" + packed) + pixels)
    yield "whole/bomb-itxt", png_of(chunk(b"iTXt", b"Comment\0\1\0\0\0" + packed) + pixels)
    yield "whole/bomb-iccp", png_of(chunk(b"iCCP", b"profile\0\0" + packed) + pixels)
    yield "whole/bomb-many-ztxt", png_of(chunk(b"zTXt", b"\0\0" + almost) * 2000 + pixels)
    yield "whole/bomb-many-iccp", png_of(chunk(b"iCCP", b"\0\0" + almost) * 2000 + pixels)
    yield "whole/bomb-pixels-go-on", png_of(chunk(b"IDAT", zlib.compress(bytes(20 * MEGABYTE), 9)))
    many = zlib.compress(painted().tobytes() + bytes(48))
    yield "either/png-a-chunk-per-byte", png_of(b"".join(chunk(b"IDAT", many[at : at + 1]) for at in range(len(many))))


def _headers() -> Named:
    jpeg, pixels = bases()["jpeg"], chunk(b"IDAT", zlib.compress(bytes(48 * 193)))
    full = segment(0xE5, bytes(65_533))
    yield "whole/jpeg-8-mb-of-segments", with_segments(jpeg, *[full] * 128)
    yield (
        "whole/jpeg-xmp-of-2-mb",
        with_segments(jpeg, *[segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(65_000))] * 32),
    )
    yield "whole/jpeg-1000-comments", with_segments(jpeg, *[segment(0xFE, b"x")] * 1000)
    yield "refused/jpeg-100000-exifs", with_segments(jpeg, *[segment(0xE1, b"Exif\0\0x")] * 100_000)
    yield "refused/jpeg-10000-tables", with_segments(jpeg, *[segment(0xDB, bytes(65))] * 10_000)
    yield "whole/jpeg-2-mb-of-junk", with_segments(jpeg, segment(0xFE, b"x"), bytes(2 * MEGABYTE))
    yield "whole/jpeg-2-mb-of-fill-bytes", with_segments(jpeg, b"\xff" * (2 * MEGABYTE))
    yield "refused/jpeg-two-frames", with_segments(jpeg, segment(0xC0, b"\10\0\x30\0\x40\1\1\x11\0"))
    for length in (0, 1, 2, 65_535):
        yield f"either/jpeg-segment-of-length-{length}", with_segments(jpeg, b"\xff\xe7" + struct.pack(">H", length))
    yield "whole/png-8-mb-of-text", png_of(chunk(b"tEXt", b"Comment\0" + b"x" * (8 * MEGABYTE)) + pixels)
    yield "whole/png-1000-texts", png_of(chunk(b"iTXt", b"Comment\0\0\0\0\0x") * 1000 + pixels)
    yield "refused/png-100000-chunks", png_of(chunk(b"abCd", b"") * 100_000 + pixels)
    yield "either/png-palette-of-2-mb", png_of(chunk(b"PLTE", bytes(2 * MEGABYTE)) + pixels, colour=3)
    yield "either/png-no-palette", png_of(chunk(b"IDAT", zlib.compress(bytes(48 * 65))), colour=3)
    for depth, colour in ((0, 2), (3, 0), (7, 6), (8, 1), (8, 5), (16, 3), (255, 255)):
        yield f"refused/png-depth-{depth}-colour-{colour}", png_of(pixels, depth=depth, colour=colour)
    png_file = bases()["png"]
    for index, place in enumerate(boundaries(png_file)[:-1]):
        length = int.from_bytes(png_file[place : place + 4], "big")
        at = place + 8 + length
        yield f"either/png-bad-checksum-{index}", png_file[:at] + b"\0\0\0\0" + png_file[at + 4 :]
        for lie in (0, length + 1, 2**31, 2**32 - 1):
            forged = png_file[:place] + struct.pack(">I", lie) + png_file[place + 4 :]
            yield f"either/png-length-{index}-{lie}", forged
    webp = bases()["webp"]
    for index, place in enumerate(boundaries(webp)):
        for lie in (0, 1, 2**31, 2**32 - 1):
            yield f"either/webp-length-{index}-{lie}", webp[: place + 4] + struct.pack("<I", lie) + webp[place + 8 :]


def _scans() -> Named:
    """Scans without a bit in them, which cost a pass over the picture each."""
    progressive = written(painted(256, 256), "JPEG", progressive=True)[:-2]
    baseline = written(painted(256, 256), "JPEG")
    start = baseline.index(b"\xff\xda")
    empty = segment(0xDA, b"\1\1\0\1\x3f\0")
    for count, outcome in ((20, "either"), (5_000, "refused"), (200_000, "refused")):
        yield f"{outcome}/jpeg-{count}-more-scans", progressive + empty * count + b"\xff\xd9"
        sequential = segment(0xDA, b"\1\1\0\0\x3f\0") * count
        yield f"{outcome}/jpeg-{count}-sequential-scans", baseline[:start] + sequential + b"\xff\xd9"


# --- broken EXIF and profiles in whole photos ---


def _exif() -> Named:
    for orientation in range(10):
        yield from _with_exif(f"orientation-{orientation}", tiff((0x0112, 3, 1, struct.pack("<HH", orientation, 0))))
    for kind in (0, 1, 2, 4, 5, 7, 9, 12, 13, 255, 65_535):
        yield from _with_exif(f"orientation-of-type-{kind}", tiff((0x0112, kind, 1, b"\6\0\0\0")))
    for count in (0, 2, 3, 2**31, 2**32 - 1):
        yield from _with_exif(f"orientation-counted-{count}", tiff((0x0112, 3, count, b"\6\0\0\0")))
    for place in (0, 8, 26, 2**31, 2**32 - 1):
        field = struct.pack("<I", place)
        yield from _with_exif(f"directory-at-{place}", tiff((0x8769, 4, 1, field), (0x8825, 4, 1, field)))
        yield from _with_exif(f"first-directory-at-{place}", b"II*\0" + field)
    everything = [(tag, 7, 60_000, struct.pack("<I", 8)) for tag in range(5000)]
    yield from _with_exif("overlapping-values", tiff(*everything) + bytes(5000))
    yield from _with_exif("big-endian", tiff((0x0112, 3, 1, b"\0\6\0\0"), order=">"))
    for name, data in {
        "none": b"",
        "text": b"no metadata",
        "mark": b"II",
        "cut": tiff((0x010F, 2, 40, b"\x1a\0\0\0")),
    }.items():
        yield from _with_exif(name, data)
    yield "whole/exif-of-4-mb-png", written(painted(), "PNG", exif=tiff(*everything) + bytes(4 * MEGABYTE))
    yield "whole/exif-of-4-mb-webp", written(painted(), "WEBP", exif=tiff(*everything) + bytes(4 * MEGABYTE))


def _with_exif(name: str, exif: bytes) -> Named:
    jpeg = written(painted(), "JPEG")
    yield f"whole/exif-{name}-jpeg", with_segments(jpeg, segment(0xE1, b"Exif\0\0" + exif))
    if name.endswith(("0", "6", "text")):
        yield f"whole/exif-{name}-png", written(painted(), "PNG", exif=exif or b"\0")
        yield f"whole/exif-{name}-webp", written(painted(), "WEBP", exif=exif or b"\0")


def _profiles() -> Named:
    good = srgb_profile()
    random = np.random.default_rng(5)
    profiles = {
        "empty": b"\0",
        "text": b"profile",
        "half": good[: len(good) // 2],
        "zeros": bytes(3000),
        "head": good[:128],
    }
    profiles["long"] = good + bytes(MEGABYTE)
    profiles["too-long"] = random.bytes(5 * MEGABYTE)
    profiles["many-tags"] = good[:128] + struct.pack(">I", 2**32 - 1) + good[132:]
    for space in (b"GRAY", b"CMYK", b"Lab ", b"XYZ ", b"FCLR"):
        profiles[f"of-{space.decode().strip()}"] = good[:16] + space + good[20:]
    for index in range(12):
        forged = bytearray(good)
        for place in random.integers(128, len(good), 6):
            forged[place] = random.integers(256)
        profiles[f"forged-{index}"] = bytes(forged)
    for name, profile in profiles.items():
        yield f"whole/profile-{name}-png", written(painted(), "PNG", icc_profile=profile)
    jpeg, cmyk = written(painted(), "JPEG"), written(Image.fromarray(painted()).convert("CMYK"), "JPEG")
    yield "whole/profile-sRGB-in-cmyk", with_segments(cmyk, _profile_segment(good, 1, 1))
    for number, count in ((0, 0), (1, 2), (2, 1), (255, 255)):
        yield f"whole/profile-part-{number}-of-{count}", with_segments(jpeg, _profile_segment(good, number, count))
    yield "whole/profile-no-part", with_segments(jpeg, segment(0xE2, b"ICC_PROFILE\0"))
    yield "whole/profile-twice", with_segments(jpeg, *[_profile_segment(good, 1, 1)] * 2)


def _profile_segment(profile: bytes, number: int, count: int) -> bytes:
    return segment(0xE2, b"ICC_PROFILE\0" + bytes([number, count]) + profile)


# --- whole files, damaged by chance ---


def _fuzzed(per_file: int = 14) -> Named:
    for name, data in bases().items():
        for index in range(per_file):
            random = np.random.default_rng([index, len(data)])
            forged = bytearray(data)
            for place in random.integers(0, len(data), 1 + index):
                if index % 3 == 0:
                    forged[place] ^= 1 << int(random.integers(8))
                elif index % 3 == 1:
                    forged[place:place] = random.bytes(3)
                else:
                    del forged[place : place + 3]
            yield f"either/fuzzed-{name}-{index}", bytes(forged)
