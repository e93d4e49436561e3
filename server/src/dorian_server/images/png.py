"""PNG: its chunks, see the PNG specification, third edition, section 5."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image

from dorian_server.images.containers import MAX_PARTS, MAX_PROFILE_BYTES, BrokenFileError, Header, ParsedFile

MAGIC = b"\x89PNG\r\n\x1a\n"

_COMPRESS_LEVEL = 3
_GREY, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 3, 4, 6  # colour types; 2 is RGB


def read_header(data: bytes) -> Header:
    """Return the header of a PNG file.

    Raises:
        BrokenFileError: The file does not begin with it.
    """
    length, kind, width, height, depth, colour = struct.unpack_from(">I4sIIBB", data, len(MAGIC))
    if (length, kind) != (13, b"IHDR"):
        raise BrokenFileError("the file does not begin with its header")
    if colour == _GREY and depth == 16:
        return Header(width, height, decoding_bytes=13)
    has_alpha = colour in (_PALETTE, _GREY_ALPHA, _RGB_ALPHA) or data.find(b"tRNS", 0, data.find(b"IDAT")) > 0
    return Header(width, height, 13 if has_alpha else 8, has_alpha)


def parse(data: bytes) -> ParsedFile:
    """Return the parts of a PNG file.

    Raises:
        BrokenFileError: The file ends before its image begins, has too many chunks, or a checksum does not match.
    """
    chunks: dict[bytes, bytes] = {}  # the first of each kind
    pixels = []
    position = len(MAGIC)
    for _ in range(MAX_PARTS):
        if position == len(data):  # only the end mark is missing
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        position += 12 + length
        if kind == b"IEND":
            break
        if kind not in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"iCCP"):
            continue
        if zlib.crc32(content, zlib.crc32(kind)) != checksum:
            if kind[0] & 0x20:  # may be missing
                continue
            raise BrokenFileError("a checksum of the file does not match")
        if kind == b"IDAT":
            pixels.append(content)
        else:
            chunks.setdefault(kind, content)
    else:
        raise BrokenFileError("the file has too many chunks")
    if not pixels or b"IHDR" not in chunks:
        raise BrokenFileError("the file ends before its image begins")
    (depth,) = struct.unpack_from(">B", chunks[b"IHDR"], 8)
    chunks[b"IDAT"] = b"".join(pixels)
    kinds = [b"IHDR", b"PLTE", b"tRNS", b"IDAT"]
    if depth == 16:
        kinds.remove(b"tRNS")  # a colour of 16 bits cannot be told from its neighbours in the 8 bits that are kept
    image = [_write_chunk(kind, chunks[kind]) for kind in kinds if kind in chunks]
    image_file = b"".join([MAGIC, *image, _write_chunk(b"IEND", b"")])
    return ParsedFile(image_file, chunks.get(b"eXIf"), _inflate_profile(chunks.get(b"iCCP", b"")))


def _write_chunk(kind: bytes, content: bytes) -> bytes:
    return b"".join(
        [struct.pack(">I", len(content)), kind, content, struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))]
    )


def _inflate_profile(content: bytes) -> bytes | None:
    """Return the profile in an iCCP chunk, which is a name, a zero, the method's zero, and a zlib stream."""
    _, _, packed = content.partition(b"\0")
    if packed[:1] != b"\0":
        return None
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if stream.eof else None


def save(image: Image.Image, file: BytesIO, quality: int, exif: bytes | None) -> None:
    """Write ``image`` (mode RGB or RGBA) to ``file``; PNG is lossless at any ``quality``."""
    image.save(file, "PNG", compress_level=_COMPRESS_LEVEL, **({"exif": exif} if exif else {}))
