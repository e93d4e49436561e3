"""Encoding the images of a response."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_server.domain.requests import Output
from dorian_server.domain.results import EncodedImage
from dorian_server.images import Photo, encode
from dorian_server.pipeline import compositing


def encode_photo(pixels: NDArray[np.uint8], photo: Photo, output: Output) -> EncodedImage:
    """Return the file of a photo whose faces have changed.

    Args:
        pixels: RGB uint8 (height, width, 3).
        photo: The original, which gives the alpha and, where ``output`` does not say, the format.
        output: How to encode.
    """
    image_format = output.format or photo.format
    height, width = pixels.shape[:2]
    metadata = photo.metadata if output.keep_metadata else None
    return EncodedImage(
        encode(pixels, image_format, output.quality, photo.alpha, metadata), image_format, width, height
    )


def encode_crop(pixels: NDArray[np.uint8], photo: Photo, output: Output) -> EncodedImage:
    """As ``encode_photo``, of a crop of ``photo`` or a drawing of it: without the photo's alpha and metadata."""
    return encode_photo(pixels, Photo(pixels, photo.format), output)


def encode_delta(
    before: NDArray[np.uint8], after: NDArray[np.uint8], patches: Sequence[compositing.Patch]
) -> EncodedImage:
    """Return what was added to the photo ``before``, as a PNG with 128 for no change.

    Its alpha is that of the patches' masks, and above 0 wherever a pixel has changed.
    """
    change = compositing.difference(before, after)
    alpha = np.maximum(compositing.coverage(before, patches), (change != 128).any(axis=2).astype(np.uint8))
    height, width = alpha.shape
    return EncodedImage(encode(change, "PNG", alpha=alpha), "PNG", width, height)
