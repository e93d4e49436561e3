"""The age translator: a checkpoint's averaged network as a graph, proven against torch, and its calibration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.calibration import Calibration
from dorian_bundle.families.age_translator import AgeTranslatorMethod, age_translator_signature
from dorian_bundle.graphs import Precision
from dorian_bundle.masks import face_mask
from dorian_bundle.tensors import crops_to_images
from dorian_export.calibration import calibrate
from dorian_export.errors import ExportError
from dorian_export.faces import Faces, spread
from dorian_export.graphs import AgeTranslatorGraph
from dorian_export.made import Made, with_differences
from dorian_export.origin import provenance
from dorian_export.parity import BATCHES, Array
from dorian_export.proven import export_proven, require_faces, require_family
from dorian_export.readers import averaged_network
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.data.batches import as_images
from dorian_training.networks.age_estimator import SIZE as AGE_SIZE
from dorian_training.networks.age_estimator import AgeEstimator, AgeEstimatorShape, expected_age
from dorian_training.networks.age_translator import AgeTranslator, AgeTranslatorShape

YOUNGEST, OLDEST = 1.0, 90.0  # years that training drew
_GRAPH = "age_translator"
_BATCH = 64
_ADULT, _ELDER = 18, 70  # whose faces the calibration changes
_CALIBRATED_ON = 150  # of them at most
_DESCRIPTION = "Age translator, Dorian's own: one pass of a residual network draws what a change of age adds to the face, at any age."


def make_age_translator(
    checkpoint: Path,
    estimator: Path,
    faces: Faces,
    folder: Path,
    precisions: Sequence[Precision],
    metrics: dict[str, Any],
) -> Made:
    """The method of ``checkpoint``, calibrated by the age estimator of the checkpoint ``estimator``; graphs in ``folder``.

    ``ParityError`` if a graph differs too much; ``ExportError`` if the checkpoint is of another family, or faces lack.
    """
    weights, about = load_weights(checkpoint)
    require_family(about, "age_translator")
    shape = AgeTranslatorShape.from_dict(about["shape"]).translator
    network = AgeTranslator(shape).eval().requires_grad_(False)
    load_network(network, weights, "translator_ema")
    pictures = faces.pictures(shape.size)
    require_faces(pictures)
    graph, differences = export_proven(
        _GRAPH,
        AgeTranslatorGraph(network),
        age_translator_signature(shape.size),
        _inputs(pictures[: max(BATCHES)]),
        folder,
        precisions,
    )
    calibration = _calibration(network, estimator, faces, shape.size)
    entry = AgeTranslatorMethod(
        name="age_translator",
        description=_DESCRIPTION,
        graph=_GRAPH,
        age_groups=PAPER_GROUPS,
        crop_size=shape.size,
        min_years=YOUNGEST,
        max_years=OLDEST,
        calibration=calibration,
        mirrored=True,
        provenance=provenance(about, with_differences(metrics, differences)),
    )
    return Made(entry, {_GRAPH: graph}, differences)


def _inputs(pictures: NDArray[np.uint8]) -> list[dict[str, Array]]:
    """Random inputs, and real ones; among the ages are changes up and down, and none."""
    random = np.random.default_rng(0)
    count = len(pictures)
    real = crops_to_images(pictures)
    noise: Array = random.random(real.shape, dtype=np.float32)
    source = np.linspace(5, 80, count, dtype=np.float32)
    targets = random.uniform(YOUNGEST, OLDEST, (2, count)).astype(np.float32)
    targets[:, 0] = source[0]
    return [
        {"image": image, "source_age": source, "target_age": target}
        for image, target in zip((noise, real), targets, strict=True)
    ]


def _calibration(network: nn.Module, estimator: Path, faces: Faces, size: int) -> Calibration:
    reader, _ = averaged_network(estimator, "age_estimator", AgeEstimatorShape, AgeEstimator)
    known = faces.crops.where(np.asarray([r.age_low == r.age_high for r in faces.crops.records], dtype=bool))
    ages = np.asarray([record.age for record in known.records], dtype=np.float32)
    images = as_images(torch.from_numpy(known.pixels))
    if images.shape[2] != size:
        images = F.interpolate(images, (size, size), mode="area")
    adults = np.flatnonzero((ages >= _ADULT) & (ages <= _ELDER))
    if not len(adults):
        raise ExportError("calibration needs validation faces from 18 to 70 years whose age is known exactly")
    adult = torch.tensor(spread(adults.tolist(), _CALIBRATED_ON))
    adult_images = torch.split(images[adult], _BATCH)
    mask = torch.from_numpy(face_mask(DEFAULT_TEMPLATE.points(size), size))

    def read(image: Tensor) -> Tensor:
        return expected_age(reader(F.interpolate(image, (AGE_SIZE, AGE_SIZE), mode="area")))

    @lru_cache(maxsize=1)  # several factors are asked for one age after the other
    def deltas(asked: float) -> list[Tensor]:
        found = []
        for image, source in zip(adult_images, torch.split(torch.from_numpy(ages)[adult], _BATCH), strict=True):
            target = torch.full_like(source, asked)
            both = network(image, source, target) + network(image.flip(3), source, target).flip(3)
            found.append(mask * both / 2)
        return found

    def read_drawn(asked: float, factor: float) -> NDArray[np.floating]:
        drawn = [
            read((image + factor * delta).clamp(-1, 1))
            for image, delta in zip(adult_images, deltas(asked), strict=True)
        ]
        return torch.cat(drawn).numpy()

    with torch.no_grad():
        readings = torch.cat([read(part) for part in torch.split(images, _BATCH)]).numpy()
        return calibrate(read_drawn, ages, readings, YOUNGEST, OLDEST)
