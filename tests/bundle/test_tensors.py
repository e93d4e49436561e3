"""Pixels and the floats that graphs take."""

from __future__ import annotations

import numpy as np

from dorian_bundle.tensors import crops_to_images, floats_to_pixels, images_to_crops, pixels_to_floats

CROPS = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)


def test_crops_become_images_and_come_back() -> None:
    images = crops_to_images(CROPS)
    assert images.shape == (3, 3, 4, 4)
    assert images.dtype == np.float32
    assert images.flags.c_contiguous
    assert np.array_equal(images, crops_to_images(list(CROPS)))
    assert images[1, 2, 3, 0] == np.float32(CROPS[1, 3, 0, 2]) / np.float32(255)
    assert np.array_equal(images_to_crops(images), CROPS)


def test_every_level_is_divided_in_single_precision() -> None:
    levels = np.arange(256, dtype=np.uint8)
    floats = pixels_to_floats(levels)
    assert floats.dtype == np.float32
    assert np.array_equal(floats, [np.float32(level) / np.float32(255) for level in range(256)])
    assert np.array_equal(floats_to_pixels(floats), levels)


def test_floats_are_rounded_and_clipped() -> None:
    values = np.asarray([[-1.0, 0.4 / 255], [0.6 / 255, 7.0]], dtype=np.float32)
    assert floats_to_pixels(values).tolist() == [[0, 0], [1, 255]]
