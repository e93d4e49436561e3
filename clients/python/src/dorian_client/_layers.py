"""Adds the layer of what a server changed to the photo that it was made for."""

from __future__ import annotations

import numpy as np
from PIL import Image

from dorian_client._photos import PhotoLike, open_upright, read_photo
from dorian_client._pictures import Picture

_NO_CHANGE = 128


def compose(photo: PhotoLike, delta: Picture | PhotoLike) -> Image.Image:
    """Returns the photo, upright and as RGB, with a layer added: each pixel is photo + colour - 128, within 0 to 255.

    delta: AgedPhoto.delta, or the file that `dorian age --delta` wrote. Its alpha tells where the faces are, and takes no
        part: the colours hold what was added already.

    This is the aged picture before it was compressed, to the bit where the photo has 8 bits a channel, no alpha and the
    colours of sRGB; else the server converts the photo first, and its rounding may be another.
    Raises PhotoError if one of the two cannot be read, ValueError if they do not belong together.
    """
    base = open_upright(read_photo(photo)).convert("RGB")
    layer = open_upright(delta.data if isinstance(delta, Picture) else read_photo(delta), "the layer")
    if layer.mode != "RGBA":
        raise ValueError(f"a layer cannot be of mode {layer.mode}; give the delta of an aged photo, which is RGBA")
    if layer.size != base.size:
        layers, photos = ("{} by {}".format(*image.size) for image in (layer, base))
        raise ValueError(f"a layer of {layers} cannot go onto a photo of {photos}; give the photo that was sent")
    change = np.asarray(layer, dtype=np.int16)[:, :, :3] - _NO_CHANGE
    return Image.fromarray((np.asarray(base) + change).clip(0, 255).astype(np.uint8))
