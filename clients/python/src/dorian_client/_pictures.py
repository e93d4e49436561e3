"""Pictures that the server sent: their bytes, and the ways to save or open them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

FORMATS_BY_SUFFIX = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}
DEFAULT_QUALITY = 92  # the server's own default
_LOSSLESS_WEBP_QUALITY = 100


@dataclass(frozen=True)
class Picture:
    """A picture as the bytes of an image file.

    format: "jpeg", "png" or "webp"; empty where the server names one that this version does not know.
    width, height: in pixels.
    """

    data: bytes = field(repr=False)
    format: str
    width: int
    height: int

    def save(self, path: str | os.PathLike[str], *, quality: int = DEFAULT_QUALITY) -> Path:
        """Writes the picture to a file, which appears whole or not at all, and returns its path.

        The suffix decides the format: .jpg or .jpeg, .png, .webp. Where that is the picture's own, its bytes are
        written unchanged; else they are converted, at the quality given (1 to 100; JPEG and WebP, which is lossless
        at 100).
        Raises ValueError for another suffix, OSError where the file cannot be written.
        """
        path = Path(path)
        if format_of(path) == self.format:
            write_whole(path, self.data)
        else:
            save_image(self.to_pil(), path, quality=quality)
        return path

    def to_pil(self) -> Image.Image:
        """Returns the picture as a PIL image, upright and loaded."""
        image = Image.open(io.BytesIO(self.data))
        return ImageOps.exif_transpose(image)

    def to_array(self) -> npt.NDArray[np.uint8]:
        """Returns the picture as an array (height, width, 3) in RGB order, uint8."""
        return np.asarray(self.to_pil().convert("RGB"), dtype=np.uint8)


def format_of(path: Path) -> str:
    """Returns the format that a path's suffix asks for, or raises ValueError."""
    try:
        return FORMATS_BY_SUFFIX[path.suffix.lower()]
    except KeyError:
        raise ValueError(f"the name {path.name!r} asks for no format; end it in .jpg, .jpeg, .png or .webp") from None


def save_image(image: Image.Image, path: Path, *, quality: int = DEFAULT_QUALITY) -> None:
    """Writes a PIL image in the format of the path's suffix; raises ValueError and OSError as Picture.save does."""
    buffer = io.BytesIO()
    match format_of(path):
        case "jpeg":
            image = image if image.mode in ("L", "RGB") else image.convert("RGB")
            image.save(buffer, "JPEG", quality=quality)
        case "webp":
            image.save(buffer, "WEBP", quality=quality, lossless=quality == _LOSSLESS_WEBP_QUALITY)
        case _:
            image.save(buffer, "PNG")
    write_whole(path, buffer.getvalue())


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file, which appears whole or not at all; raises OSError."""
    part = path.with_name(f".{uuid4().hex}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
