"""The graphs of an AE-StyleGAN method, faces as they read them, and changes of age as they draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.graphs import Array
from dorian_bundle.masks import learned_mask
from dorian_bundle.style_library import StyleLibrary, load_style_library
from dorian_bundle.tensors import crops_to_images
from dorian_evaluation.graphs import open_graph
from dorian_training.data.crops import cut_crops
from dorian_training.data.records import FaceRecord

_BATCH_SIZE = 16
_VIEW = 2  # sides of a crop in a view
WHITE = 255


@dataclass(frozen=True)
class Codes:
    """Codes of faces, float32: ``structure`` (faces, numbers), of no numbers where there is none, and ``styles`` (faces, levels, style)."""

    structure: Array
    styles: Array

    def with_styles(self, styles: Array) -> Codes:
        """Return the same faces with other styles."""
        return Codes(self.structure, styles)


class StyleNetworks:
    """The opened graphs and the library of one method of a bundle.

    Raises:
        DataError: A graph cannot be opened.
        GraphFileError: The library cannot be read.
    """

    def __init__(self, bundle: Bundle, method: AeStyleGanMethod) -> None:
        self.method, self.template = method, bundle.manifest.alignment
        self.library: StyleLibrary = load_style_library(
            bundle.file_path(method.library), method.levels, method.style, method.structure
        )
        self._encoder = open_graph(bundle, method.encoder)
        self._generator = open_graph(bundle, method.generator)
        self._filters = {filter.name: open_graph(bundle, filter.graph) for filter in method.filters}

    @property
    def filters(self) -> tuple[str, ...]:
        """The names of the filters."""
        return tuple(self._filters)

    def encode(self, crops: NDArray[np.uint8]) -> Codes:
        """Return the codes of ``crops``, RGB uint8 (faces, size, size, 3)."""
        structure, styles = [], []
        for rows in _batches(len(crops)):
            code = self._encoder({"image": crops_to_images(crops[rows])})
            styles.append(code["styles"])
            structure.append(code.get("structure", np.zeros((len(code["styles"]), 0), np.float32)))
        return Codes(np.concatenate(structure), np.concatenate(styles))

    def draw(self, codes: Codes, filter: str | None = None) -> Array:
        """Return images, float32 RGB (faces, size, size, 3), about [0, 1], by the generator or by a filter's."""
        graph, images = self._generator if filter is None else self._filters[filter], []
        for rows in _batches(len(codes.styles)):
            inputs = {"styles": np.ascontiguousarray(codes.styles[rows])}
            if codes.structure.shape[1]:
                inputs["structure"] = codes.structure[rows]
            images.append(graph(inputs)["image"].transpose(0, 2, 3, 1))
        return np.concatenate(images)


@dataclass(frozen=True)
class StyleFaces:
    """Faces as the networks see them and, twice as large, as they are changed and judged.

    Attributes:
        records: The faces, all of known age.
        crops: RGB uint8 (faces, size, size, 3).
        views: RGB uint8 (faces, 2 · size, 2 · size, 3).
        codes: What the encoder finds in ``crops``.
        own: What the generator draws of ``codes``, float32 (faces, size, size, 3).
    """

    records: tuple[FaceRecord, ...]
    crops: NDArray[np.uint8]
    views: NDArray[np.uint8]
    codes: Codes
    own: Array

    def __len__(self) -> int:
        return len(self.records)

    @property
    def ages(self) -> list[float]:
        """Ages in years."""
        return [record.age for record in self.records if record.age is not None]


def read_faces(networks: StyleNetworks, records: Sequence[FaceRecord], cache: Path) -> StyleFaces:
    """Cut faces of known age out of their images, encode and draw them."""
    size, template = networks.method.crop_size, networks.template
    crops = cut_crops(records, size, cache, template)
    views = cut_crops(crops.records, _VIEW * size, cache, template)
    codes = networks.encode(crops.pixels)
    return StyleFaces(crops.records, crops.pixels, views.pixels, codes, networks.draw(codes))


def add_deltas(views: NDArray[np.uint8], deltas: Array, template: AlignmentTemplate) -> NDArray[np.uint8]:
    """Return ``views``, RGB uint8 (faces, side, side, 3), with ``deltas`` (faces, size, size, 3) added under the mask, as a server does."""
    side = views.shape[1]
    mask = learned_mask(template, side)[..., None]
    large = np.stack([cv2.resize(delta, (side, side), interpolation=cv2.INTER_LINEAR) for delta in deltas])
    return np.asarray(np.rint(views + WHITE * mask * large).clip(0, WHITE), dtype=np.uint8)


def _batches(count: int) -> list[slice]:
    return [slice(start, start + _BATCH_SIZE) for start in range(0, count, _BATCH_SIZE)]
