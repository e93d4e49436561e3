"""Pictures between bytes and pixels: files in, pixels on, files out."""

from dorian_server.pictures.decode import Photo, decode
from dorian_server.pictures.encode import DEFAULT_QUALITY, encode
from dorian_server.pictures.files import FORMATS, Format
from dorian_server.pictures.metadata import Metadata

__all__ = ["DEFAULT_QUALITY", "FORMATS", "Format", "Metadata", "Photo", "decode", "encode"]
