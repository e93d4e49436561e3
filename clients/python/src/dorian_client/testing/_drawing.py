"""The fake server's images, made of photos."""

from __future__ import annotations

import numpy as np
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian_client._faces import Face
from dorian_client._files import PNG, ImageFormat, encode_image

_BEST_QUALITY = 100  # lossless for WebP


def crop_image(photo: Image.Image, face: Face) -> Image.Image:
    """Return a face's box, cut out."""
    box = face.box
    return photo.crop((int(box.x), int(box.y), int(box.x + box.width), int(box.y + box.height)))


def mark_image(picture: Image.Image, number: int) -> Image.Image:
    """Write a number into the red of the top left pixel."""
    picture.putpixel((0, 0), (number % 256, 0, 0))
    return picture


def write_delta(photo: Image.Image, picture: Image.Image) -> pb.Image:
    """Return what makes a photo a picture, as a layer."""
    change = np.asarray(picture, dtype=np.int16) - np.asarray(photo, dtype=np.int16)  # (height, width, 3)
    layer = Image.fromarray((change + 128).clip(0, 255).astype(np.uint8))
    layer.putalpha(255)
    return write_image(layer, PNG)


def write_image(image: Image.Image, format: ImageFormat) -> pb.Image:
    """Return an image in a format."""
    data = encode_image(image, format, quality=_BEST_QUALITY)
    return pb.Image(data=data, format=format.number, width=image.width, height=image.height)
