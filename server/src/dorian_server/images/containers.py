"""What the parsers of image files share: their result, their error, and their limits.

Only the image itself goes on to a decoder, so that comments, previews, animations and whatever else a file may carry cost no
time and no memory there. The work of a parser is bounded by the length of the file.
"""

from __future__ import annotations

from dataclasses import dataclass

EXIF_HEADER = b"Exif\0\0"

# Far more than any camera or program writes; each costs a few microseconds.
MAX_PARTS = 65_536
# A profile with tables for four inks takes one or two.
MAX_PROFILE_BYTES = 4 * 2**20


class BrokenFileError(Exception):
    """The file is not a whole image of a known format; the message says what is wrong with it."""


@dataclass(frozen=True)
class Header:
    """What a file says of its image before any of it is decoded.

    Args:
        width: In pixels.
        height: In pixels.
        decoding_bytes: Bytes per pixel that decoding takes at its peak, the decoded photo included.
        has_alpha: Whether the image may be transparent somewhere.
    """

    width: int
    height: int
    decoding_bytes: int
    has_alpha: bool = False


@dataclass(frozen=True)
class ParsedFile:
    """The parts of an image file.

    Args:
        image: A file of the same format with nothing but the image.
        exif: A TIFF file, not yet checked.
        profile: An ICC profile, not yet checked.
    """

    image: bytes
    exif: bytes | None
    profile: bytes | None
