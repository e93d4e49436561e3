"""Images that the server sent: their bytes, and the ways to save or open them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from dorian_client._files import DEFAULT_QUALITY, FORMATS, decode_image, encode_image, format_of, write_atomically


@dataclass(frozen=True)
class Picture:
    """An image as the bytes of a file.

    Attributes:
        data: The file's bytes.
        format: "jpeg", "png" or "webp"; empty if the server names one that this version does not know.
        width: In pixels.
        height: In pixels.

    Example:
        >>> picture = client.age("portrait.jpg", "60+").photos[0].picture
        >>> picture.save("older.jpg")
        >>> pixels = picture.to_array()  # (height, width, 3)
    """

    data: bytes = field(repr=False)
    format: str
    width: int
    height: int

    def save(self, path: str | os.PathLike[str], *, quality: int = DEFAULT_QUALITY) -> Path:
        """Write the image to a file, which appears whole or not at all.

        The suffix decides the format: .jpg or .jpeg, .png, .webp. If it is the image's own, its bytes are written
        unchanged; if not, it is converted.

        Args:
            path: Where to write; an existing file is replaced.
            quality: 1 to 100, for a conversion to JPEG or WebP. WebP is lossless at 100.

        Returns:
            The path.

        Raises:
            ValueError: The suffix stands for no image format.
            OSError: The file cannot be written.
        """
        path = Path(path)
        write_atomically(path, self.encode(format_of(path).name, quality=quality))
        return path

    def encode(self, format: str, *, quality: int = DEFAULT_QUALITY) -> bytes:
        """Return the image as the bytes of a file: its own, if it has the format.

        Args:
            format: "jpeg", "png" or "webp".
            quality: 1 to 100, for a conversion to JPEG or WebP. WebP is lossless at 100.

        Raises:
            ValueError: There is no such format.
        """
        if format not in FORMATS:
            raise ValueError(f"a format cannot be {format!r}; give one of {', '.join(FORMATS)}")
        return self.data if format == self.format else encode_image(self.to_pil(), FORMATS[format], quality)

    def to_pil(self) -> Image.Image:
        """Return a PIL image, upright."""
        return decode_image(self.data)

    def to_array(self) -> npt.NDArray[np.uint8]:
        """Return an array (height, width, 3) of uint8 in RGB order."""
        return np.asarray(self.to_pil().convert("RGB"), dtype=np.uint8)
