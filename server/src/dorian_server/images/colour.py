"""Colours: from those that a file's ICC profile describes to sRGB, which is what networks and screens expect."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
from PIL import Image, ImageCms

# Of the profile's colour space: the mode of a picture that it describes.
_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
_CLASSES = {"scnr", "mntr", "prtr", "spac"}  # of scanners, displays, printers, colour spaces; no links or named colours
# A profile that moves no colour further than this, in levels of 255, is sRGB under one of its many names.
_SAME = 2


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """``image``, of mode L, RGB or CMYK, in sRGB (mode RGB); it may be changed in place.

    A profile that is broken, or is not for such a picture, is ignored: colours stay as they are, inks become light.
    """
    if profile:
        with suppress(Exception):  # Little CMS's errors, and Pillow's, are of many kinds
            image = _converted(image, profile)
    return image if image.mode == "RGB" else image.convert("RGB")


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = _MODES.get(source.profile.xcolor_space.strip(), "")
    if mode == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if mode != image.mode or source.profile.device_class.strip() not in _CLASSES:
        return image
    srgb = ImageCms.createProfile("sRGB")
    if mode == "L":
        return _grey(image, ImageCms.buildTransform(source, srgb, "L", "RGB", flags=ImageCms.Flags.NOOPTIMIZE))
    transform = ImageCms.buildTransform(source, srgb, mode, "RGB")
    if mode == "CMYK":
        return _applied(image, transform)
    probe = _lattice()
    moved = np.asarray(_applied(probe, transform), dtype=int) - np.asarray(probe)
    if np.abs(moved).max() > _SAME:
        ImageCms.applyTransform(image, transform, inPlace=True)
    return image


def _applied(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # as it is not in place
    return converted


def _grey(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """By a table of all 256 levels: Little CMS is quick on many pixels by being less exact."""
    levels = Image.frombytes("L", (256, 1), bytes(range(256)))
    return Image.merge("RGB", [image.point(list(band.tobytes())) for band in _applied(levels, transform).split()])


def _lattice() -> Image.Image:
    """A picture of 9×9×9 colours from all over RGB."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3))
