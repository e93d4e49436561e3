"""The styles that a bundle keeps: the mean at each age, and those of reference faces, of which no picture is kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.errors import GraphFileError
from dorian_bundle.stored_arrays import load_arrays

LIBRARY_FILE = "styles.npz"
_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class StyleLibrary:
    """Styles, float32.

    ``age_means`` (years, levels, style): mean styles at the whole years from 0. Of the references: ``styles``
    (references, levels, style); ``structure`` (references, numbers), by which those like a face are found; first and last year
    of age ``age_low`` and ``age_high`` (references,); ``woman`` (references,), 1 or 0.
    """

    age_means: NDArray[np.float32]
    styles: NDArray[np.float32]
    structure: NDArray[np.float32]
    age_low: NDArray[np.float32]
    age_high: NDArray[np.float32]
    woman: NDArray[np.float32]

    def mean_at(self, age: float) -> NDArray[np.float32]:
        """Return the mean styles (levels, style) at ``age`` in years, in a line between whole years."""
        position = min(max(age, 0.0), len(self.age_means) - 1.0)
        below = min(int(position), len(self.age_means) - 2)
        share = np.float32(position - below)
        mean: NDArray[np.float32] = self.age_means[below] * (1 - share) + self.age_means[below + 1] * share
        return mean

    def nearest(self, age: float, structure: NDArray[np.float32], woman: bool | None, count: int) -> NDArray[np.intp]:
        """Return the indices of up to ``count`` references for a face, the most alike first.

        They are of the span of ages that holds ``age`` or is nearest to it, of the same gender where it is known, and then
        nearest in structure.

        Args:
            age: The age in years that references should have.
            structure: The face's structure, of which as many numbers count as references have.
            woman: Whether the face is a woman's; ``None``: not known.
            count: How many.
        """
        outside = np.maximum(self.age_low - age, 0) + np.maximum(age - self.age_high - 1, 0)
        other = np.zeros(len(outside)) if woman is None else (self.woman > 0.5) != woman
        distance = np.square(self.structure - structure[: self.structure.shape[1]]).sum(axis=1)
        return np.lexsort((distance, other, outside))[:count]

    def save(self, path: Path) -> None:
        """Write the styles to ``path`` in half precision."""
        np.savez(path, allow_pickle=False, **{name: values.astype(np.float16) for name, values in asdict(self).items()})


def load_style_library(path: Path, levels: int, style: int, structure: int) -> StyleLibrary:
    """Read the styles in ``path``.

    Args:
        path: The file.
        levels: Levels that styles must have.
        style: Numbers that a style must have.
        structure: Numbers that a structure may have at most.

    Raises:
        GraphFileError: If the file holds something else.
    """
    library = load_arrays(path, StyleLibrary, "library of styles", "styles", _MAX_BYTES)
    count = len(library.styles)
    shapes = {"age_means": (levels, style), "styles": (levels, style)}
    for name, shape in shapes.items():
        found = getattr(library, name).shape
        if found[1:] != shape or len(found) != 3 or found[0] < 2:
            raise GraphFileError(f"{path} has {name} of shape {found}; (2 or more, {levels}, {style}) is needed")
    for name in ("structure", "age_low", "age_high", "woman"):
        found, dimensions = getattr(library, name).shape, 2 if name == "structure" else 1
        if len(found) != dimensions:
            raise GraphFileError(f"{path} has {name} of shape {found}; a shape of length {dimensions} is needed")
        if found[0] != count:
            raise GraphFileError(f"{path} has {count} references, but {found[0]} rows of {name}")
    if (numbers := library.structure.shape[1]) > structure:
        raise GraphFileError(f"{path} has structures of {numbers} numbers; the method's have {structure}")
    if not all(np.isfinite(values).all() for values in asdict(library).values()):
        raise GraphFileError(f"{path} holds styles that are not finite")
    return library
