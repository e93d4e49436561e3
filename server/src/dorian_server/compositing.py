"""Delta transfer: what the networks see change between two ages is added to the photo, which keeps all else."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# The oval in which a face changes, in fractions of the crop's side: centre, half axes, and how far in its rim fades.
OVAL_CENTRE = (0.5, 0.49)
OVAL_AXES = (0.47, 0.49)
OVAL_FEATHER = 0.45


def oval_mask(size: int) -> NDArray[np.float32]:
    """Weights (size, size) in [0, 1]: 1 inside the oval, falling smoothly to 0 at its rim."""
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    across = (place[None, :] - OVAL_CENTRE[0]) / OVAL_AXES[0]
    down = (place[:, None] - OVAL_CENTRE[1]) / OVAL_AXES[1]
    depth = np.clip((1 - np.sqrt(across**2 + down**2)) / OVAL_FEATHER, 0, 1)
    return np.asarray(depth**2 * (3 - 2 * depth), dtype=np.float32)


def add_delta(
    photo: NDArray[np.uint8], delta: NDArray[np.float32], matrix: NDArray[np.float64], mask: NDArray[np.float32]
) -> None:
    """Add ``delta`` (size, size, 3), RGB in [-1, 1], times ``mask`` (size, size), to ``photo`` in place.

    ``matrix`` (2, 3) leads from pixels of the photo to pixels of the crop. Only the face's own region is touched.
    """
    size = len(mask)
    back = cv2.invertAffineTransform(matrix)
    corners = cv2.transform(np.array([[[0.0, 0.0], [size, 0.0], [0.0, size], [size, size]]]) - 0.5, back)[0]
    height, width = photo.shape[:2]
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)) + 1, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return
    back[:, 2] -= (left, top)
    layer = cv2.warpAffine(
        delta * mask[..., None],
        back,
        (right - left, bottom - top),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
    )
    region = photo[top:bottom, left:right]
    region[:] = np.clip(np.rint(region + layer * 255), 0, 255).astype(np.uint8)
