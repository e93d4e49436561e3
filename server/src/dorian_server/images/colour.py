"""Colour management: from the colours of a file's ICC profile to sRGB, which networks and screens expect."""

from __future__ import annotations

import io
import logging

import numpy as np
from PIL import Image, ImageCms

from dorian_server.images.profiles import UnusableProfileError, rebuild_profile

log = logging.getLogger(__name__)

# By a profile's colour space: the mode of an image that it describes.
_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
_CLASSES = {"scnr", "mntr", "prtr", "spac"}  # of scanners, displays, printers, colour spaces; no links or named colours
# A profile that moves no colour further than this, in levels of 255, is sRGB under one of its many names.
_MAX_ROUNDING = 2


def convert_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return ``image``, of mode L, RGB or CMYK, in sRGB (mode RGB); it may be changed in place.

    A profile that is broken, asks for unbounded work, or describes another mode, is ignored, and the log says so: RGB stays as
    it is, and CMYK is converted without one.
    """
    if profile:
        try:
            image = _apply_profile(image, rebuild_profile(profile))
        except UnusableProfileError as error:
            log.info("colours are taken as sRGB; their profile cannot be used: %s", error)
        except Exception as error:  # Little CMS's errors, and Pillow's, are of many kinds
            log.info("colours are taken as sRGB; their profile cannot be used: %s", type(error).__name__)
    return image if image.mode == "RGB" else image.convert("RGB")


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = _MODES.get(source.profile.xcolor_space.strip(), "")
    if mode == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if mode != image.mode or source.profile.device_class.strip() not in _CLASSES:
        return image
    srgb = ImageCms.createProfile("sRGB")
    if mode == "L":
        return _convert_grey(image, ImageCms.buildTransform(source, srgb, "L", "RGB", flags=ImageCms.Flags.NOOPTIMIZE))
    transform = ImageCms.buildTransform(source, srgb, mode, "RGB")
    if mode == "CMYK":
        return _transform(image, transform)
    probe = _colour_lattice()
    difference = np.asarray(_transform(probe, transform), dtype=int) - np.asarray(probe)
    if np.abs(difference).max() > _MAX_ROUNDING:
        ImageCms.applyTransform(image, transform, inPlace=True)
    return image


def _transform(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # as it is not in place
    return converted


def _convert_grey(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """Convert by a table of all 256 levels, as Little CMS is less exact on many pixels."""
    levels = Image.frombytes("L", (256, 1), bytes(range(256)))
    return Image.merge("RGB", [image.point(list(band.tobytes())) for band in _transform(levels, transform).split()])


def _colour_lattice() -> Image.Image:
    """Return an image (27, 27) of 9×9×9 colours from all over RGB."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3))
