"""Pictures as they are sent back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dorian_server.domain.requests import Output
from dorian_server.domain.results import EncodedImage
from dorian_server.images import Photo, encode


def store(pixels: NDArray[np.uint8], photo: Photo, output: Output) -> EncodedImage:
    """``pixels`` RGB uint8 as ``output`` asks, or else in the format of ``photo``, with its alpha and perhaps its metadata."""
    kind = output.format or photo.format
    height, width = pixels.shape[:2]
    metadata = photo.metadata if output.keep_metadata else None
    return EncodedImage(encode(pixels, kind, output.quality, photo.alpha, metadata), kind, width, height)


def store_crop(pixels: NDArray[np.uint8], photo: Photo, output: Output) -> EncodedImage:
    """As ``store``, of a crop of ``photo`` or of what was drawn of it: without the photo's alpha and metadata."""
    return store(pixels, Photo(pixels, photo.format), output)
