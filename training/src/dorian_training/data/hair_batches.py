"""Views of heads with labels of their hair: cut once, labelled once, and changed at random in each batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from dorian_bundle.alignment import DEFAULT_TEMPLATE, crop_matrix, warp_crop
from dorian_bundle.files import draft_file
from dorian_bundle.hair import NEAR_SIZE, PEOPLE_SIZE, near_template
from dorian_bundle.tensors import crops_to_images, floats_to_pixels
from dorian_training.data.augmentation import Augmentation, coarsened, recoloured
from dorian_training.data.batches import as_images
from dorian_training.data.beard_labels import label_beard
from dorian_training.data.hair_kinds import hair_kind
from dorian_training.data.hair_labels import label_hair
from dorian_training.data.mesh import load_mesh
from dorian_training.data.records import FaceRecord, PictureReader
from dorian_training.data.region_labels import RegionLabels
from dorian_training.errors import DataError

_LABEL_VERSION = 2  # raised when labels change, so that older ones on disk are not taken for new ones
_WHOLLY_SEEN = 0.98
_BEARDED = 2.0  # times as often as others, views with beards are drawn
_COLOURS = Augmentation(light=0.35, contrast=0.35, saturation=0.6, grey=0.15, coarse=0.3)

FindPeople = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class HairViews:
    """Views with their hair and, second, their beards.

    ``pixels`` uint8 RGB (views, size, size, 3); ``regions`` and ``weights`` uint8 (views, 2, size, size), 255 for 1; see ``RegionLabels``.
    """

    pixels: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    weights: NDArray[np.uint8]

    def where(self, keep: NDArray[np.bool_]) -> HairViews:
        """Return the views at which ``keep`` (views,) is true."""
        return HairViews(self.pixels[keep], self.regions[keep], self.weights[keep])


@dataclass(frozen=True)
class HairBatch:
    """``image`` float32 RGB in [-1, 1], (batch, 3, size, size); ``regions`` and ``weights`` (batch, 2, size, size) in [0, 1]: hair, beards."""

    image: Tensor
    regions: Tensor
    weights: Tensor


def load_person_segmenter(path: Path) -> FindPeople:
    """Load the network that finds people: it takes RGB in [0, 1], (1, 3, 256, 256), and returns (256, 256) in [0, 1].

    Raises:
        DataError: If ``path`` is not its ONNX file.
    """
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise DataError(f"{path} is not an ONNX file that OpenCV reads: {error}") from error

    def find(image: NDArray[np.float32]) -> NDArray[np.float32]:
        network.setInput(image)
        (people,) = np.asarray(network.forward(), dtype=np.float32)[:, 0]
        return np.asarray(people)

    return find


def cut_hair_views(
    records: Sequence[FaceRecord], people: Path, cache: Path | None
) -> tuple[HairViews, tuple[FaceRecord, ...]]:
    """Cut the heads of ``records`` and label their hair and beards; read them from ``cache`` (a folder) if that was done before.

    Args:
        records: Faces with a mesh, of whose hair something is known (see ``hair_kind``).
        people: ONNX file of the network that finds people.
        cache: Folder of prepared views.

    Returns:
        The views, and the faces that they are of; without those whose hair and beard cannot be told from their skin.

    Raises:
        DataError: If none is left.
    """
    names = [(str(record.container), record.name) for record in records]
    key = hashlib.sha256(repr((_LABEL_VERSION, names)).encode()).hexdigest()[:16]
    path = cache / f"hair-{key}.npz" if cache else None
    if path and path.is_file():
        with np.load(path) as stored:
            views, kept = HairViews(stored["pixels"], stored["regions"], stored["weights"]), stored["kept"]
    else:
        views, kept = _cut(records, load_person_segmenter(people))
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft_file(path, shared=True) as draft, draft.open("wb") as file:
                np.savez(file, pixels=views.pixels, regions=views.regions, weights=views.weights, kept=kept)
    return views, tuple(records[index] for index in kept)


def _cut(records: Sequence[FaceRecord], find_people: FindPeople) -> tuple[HairViews, NDArray[np.int64]]:
    crops, labels, kept = [], [], []
    progress = tqdm(records, desc="labelling hair", unit="face", mininterval=2)
    with PictureReader() as reader:
        for index, (record, mesh) in enumerate(zip(progress, load_mesh(records), strict=True)):
            kind = hair_kind(record)
            if np.isnan(mesh).any():
                continue
            photo = reader.read(record)
            matrix = crop_matrix(record.points(*photo.shape[1::-1]), near_template(DEFAULT_TEMPLATE), NEAR_SIZE)
            crop, points = warp_crop(photo, matrix, NEAR_SIZE), cv2.transform(mesh[None], matrix)[0]
            seen = _warped(np.ones(photo.shape[:2], np.float32), matrix) > _WHOLLY_SEEN
            people = _warped(_people_of(photo, find_people), matrix)
            hair = label_hair(crop, seen, people, points, kind.head) if kind.head else None
            beard = label_beard(crop, seen, points, kind.beard) if kind.beard else None
            if hair or beard:
                kept.append(index)
                crops.append(crop)
                labels.append([region or RegionLabels.unknown(NEAR_SIZE) for region in (hair, beard)])
    if not kept:
        raise DataError("no face with hair to label; give FairFace or portraits with a mesh.npz")
    regions = np.stack([[floats_to_pixels(label.inside) for label in pair] for pair in labels])
    weights = np.stack([[floats_to_pixels(label.weight) for label in pair] for pair in labels])
    return HairViews(np.stack(crops), regions, weights), np.asarray(kept, dtype=np.int64)


def _people_of(photo: NDArray[np.uint8], find_people: FindPeople) -> NDArray[np.float32]:
    """Return how much of each pixel of ``photo`` is a person, (height, width)."""
    small = cv2.resize(photo, (PEOPLE_SIZE, PEOPLE_SIZE), interpolation=cv2.INTER_LINEAR)
    people = find_people(crops_to_images([np.asarray(small, dtype=np.uint8)]))
    return np.asarray(cv2.resize(people, photo.shape[1::-1], interpolation=cv2.INTER_AREA), dtype=np.float32)


def _warped(values: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the near view (NEAR_SIZE, NEAR_SIZE) of ``values`` (height, width); beyond them it is 0."""
    view = cv2.warpAffine(values, matrix, (NEAR_SIZE, NEAR_SIZE), flags=cv2.INTER_LINEAR)
    return np.asarray(view, dtype=np.float32)


class HairBatches:
    """Draws batches of ``views``, moved, mirrored, recoloured and coarsened at random; the stream resumes exactly."""

    def __init__(self, views: HairViews, batch_size: int, seed: int, device: torch.device | str = "cpu") -> None:
        self.batch_size = batch_size
        self._pixels = torch.from_numpy(views.pixels).to(device)
        # (views, 4, size, size): the regions, then their weights
        self._labels = torch.from_numpy(np.concatenate([views.regions, views.weights], axis=1)).to(device)
        bearded = views.regions[:, 1].any(axis=(1, 2))
        self._odds = torch.from_numpy(np.where(bearded, _BEARDED, 1.0))
        self._generator = torch.Generator().manual_seed(seed)

    def next(self) -> HairBatch:
        """Return the next batch."""
        selected = torch.multinomial(self._odds, self.batch_size, replacement=True, generator=self._generator)
        selected = selected.to(self._pixels.device)
        return self._changed(as_images(self._pixels[selected]), self._labels[selected].float() / 255)

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])

    def _changed(self, images: Tensor, labels: Tensor) -> HairBatch:
        count = len(images)

        def spread(limit: float) -> Tensor:
            return ((torch.rand(count, generator=self._generator) * 2 - 1) * limit).to(images.device)

        angle, scale = spread(12.0) * (math.pi / 180), 1 + spread(0.15)
        mirror = torch.where(spread(1.0) < 0, -1.0, 1.0)
        cosine, sine = scale * angle.cos(), scale * angle.sin()
        rows = torch.stack([cosine * mirror, -sine, spread(0.1), sine * mirror, cosine, spread(0.1)], dim=1)
        grid = F.affine_grid(rows.view(count, 2, 3), list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        # What is not seen counts for nothing.
        labels = F.grid_sample(labels, grid, padding_mode="zeros", align_corners=False)
        images = coarsened(recoloured(images, _COLOURS, self._generator), _COLOURS.coarse, self._generator)
        return HairBatch(images.contiguous(memory_format=torch.channels_last), labels[:, :2], labels[:, 2:])
