"""Pictures between bytes and pixels: files in, pixels on, files out."""

from dorian_server.images.containers import FORMATS
from dorian_server.images.decode import Photo, decode
from dorian_server.images.encode import encode
from dorian_server.images.exif import Metadata

__all__ = ["FORMATS", "Metadata", "Photo", "decode", "encode"]
