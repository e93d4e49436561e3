"""Pictures between bytes and pixels: files in, pixels on, files out."""

from dorian_server.images.containers import FORMATS, Format
from dorian_server.images.decode import Photo, decode
from dorian_server.images.encode import DEFAULT_QUALITY, encode
from dorian_server.images.exif import Metadata

__all__ = ["DEFAULT_QUALITY", "FORMATS", "Format", "Metadata", "Photo", "decode", "encode"]
