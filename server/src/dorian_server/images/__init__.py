"""Images between files and pixels: decoding, encoding, and the table of their formats."""

from dorian_server.images.decode import Photo, PhotoHeader, decode, read_photo_header
from dorian_server.images.encode import encode
from dorian_server.images.exif import Metadata
from dorian_server.images.formats import FORMATS, list_labels

__all__ = ["FORMATS", "Metadata", "Photo", "PhotoHeader", "decode", "encode", "list_labels", "read_photo_header"]
