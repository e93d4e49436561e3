"""The age translator: a checkpoint's averaged network as a verified graph, and its calibration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.calibration import Calibration
from dorian_bundle.face_shape import SHAPE_FILE, FaceShape
from dorian_bundle.families.age_translator import AgeTranslatorMethod, age_translator_signature
from dorian_bundle.graphs import Array
from dorian_bundle.masks import learned_mask
from dorian_bundle.mesh import crop_mesh
from dorian_bundle.skin_detail import DETAIL_FILE, DETAIL_SIZE, SkinDetail, read_skin
from dorian_bundle.stored_files import describe_file
from dorian_bundle.tensors import crops_to_images, images_to_crops
from dorian_export.calibration import Ages, DetailEffect, calibrate_by_source
from dorian_export.calibration_faces import CalibrationFaces, calibration_faces
from dorian_export.face_readers import averaged_age_estimator
from dorian_export.hair import HAIR_CHECKPOINTS, export_hair_networks
from dorian_export.method_exporter import ExportJob, MethodExport, MethodExporter
from dorian_export.onnx_writer import cast_like
from dorian_export.provenance import describe_provenance
from dorian_export.verified_export import BATCHES, export_verified, require_faces, require_family
from dorian_training.checkpoint import load_weights
from dorian_training.data.batches import run_on_centres
from dorian_training.networks.age_estimator import expected_age
from dorian_training.networks.age_translator import AgeTranslatorShape, TranslatorShape, age_translator_of

YOUNGEST, OLDEST = 1.0, 90.0  # years that training drew
_YOUNGEST_SOURCE = 3.0  # years
_CALIBRATION_FACES = 240
# By the manifest's field: the checkpoint's family, what its arrays make, and the file of that.
_TABLES: dict[str, tuple[str, Callable[..., SkinDetail | FaceShape], str]] = {
    "detail": ("skin_detail", SkinDetail, DETAIL_FILE),
    "shape": ("face_shape", FaceShape, SHAPE_FILE),
}
_RESEARCH = "age_translator_research"
_DESCRIPTIONS = {
    "age_translator": "Age translator, Dorian's own: one pass of a residual network draws what a change of age adds to the face, at any age.",
    _RESEARCH: "Age translator that has learned from UTKFace, too, and is for non-commercial research.",
}


class AgeTranslatorGraph(nn.Module):
    """An age translator whose image is RGB in [0, 1], as is the scale of its delta. Ages stay in full precision."""

    def __init__(self, translator: nn.Module) -> None:
        super().__init__()
        self.translator = translator

    def forward(self, image: Tensor, source_age: Tensor, target_age: Tensor) -> Tensor:
        delta: Tensor = self.translator(cast_like(self.translator, image * 2 - 1), source_age, target_age)
        return delta.float() * 0.5  # (batch, 3, size, size)


def export_age_translator(job: ExportJob, name: str = "age_translator") -> MethodExport:
    """Export the network of ``job.checkpoints[name]`` as the method ``name``; see ``MethodExporter``.

    It is calibrated by the bundle's age estimator, as it is served: with what the table of skin's detail changes.
    """
    weights, metadata = load_weights(job.checkpoints[name])
    require_family(metadata, "age_translator")
    network, shape = age_translator_of(weights, metadata), AgeTranslatorShape.from_dict(metadata["shape"]).translator
    crops = job.faces.resized(shape.size)
    require_faces(crops)
    graph, differences = export_verified(
        name,
        AgeTranslatorGraph(network),
        age_translator_signature(shape.size),
        _inputs(crops[: max(BATCHES)]),
        job.folder,
        job.precisions,
    )
    is_mirrored = not metadata["settings"].get(
        "flip_weight"
    )  # else it learnt to draw a mirrored face as it draws the face
    hair, hair_graphs, hair_differences = export_hair_networks(job) or (None, {}, {})
    entry = AgeTranslatorMethod(
        name=name,
        description=_DESCRIPTIONS[name],
        graph=name,
        age_groups=PAPER_GROUPS,
        crop_size=shape.size,
        min_years=YOUNGEST,
        max_years=OLDEST,
        calibration=_calibrate(job, network, shape.size, is_mirrored),
        mirrored=is_mirrored,
        reads_back=True,
        provenance=describe_provenance(metadata, job.metrics_with(name, differences)),
        **_write_table(job, "detail"),
        **_write_table(job, "shape"),
        hair=hair,
    )
    return MethodExport(entry, {name: graph, **hair_graphs}, differences | hair_differences)


def _read_table(job: ExportJob, field: str) -> tuple[SkinDetail | FaceShape, dict[str, Any]] | None:
    """Return the table of the manifest's ``field`` and the metadata of its checkpoint; ``None`` if ``job`` has none."""
    family, make, _ = _TABLES[field]
    if family not in job.checkpoints:
        return None
    weights, metadata = load_weights(job.checkpoints[family])
    require_family(metadata, family)
    return make(**{name: values.numpy() for name, values in weights[family].items()}), metadata


def _write_table(job: ExportJob, field: str) -> dict[str, Any]:
    """Write the table of the manifest's ``field`` if ``job`` has its checkpoint; return what the manifest says of it."""
    read = _read_table(job, field)
    if read is None:
        return {}
    (table, metadata), file = read, _TABLES[field][2]
    table.save(job.folder / file)
    return {field: describe_file(job.folder, file), f"{field}_provenance": describe_provenance(metadata, {})}


def _inputs(crops: NDArray[np.uint8]) -> list[dict[str, Array]]:
    """Return random images and ``crops``, with ages that include changes up and down, and none."""
    random = np.random.default_rng(0)
    count = len(crops)
    images = crops_to_images(crops)
    noise = random.random(images.shape, dtype=np.float32)
    source = np.linspace(5, 80, count, dtype=np.float32)
    targets = random.uniform(YOUNGEST, OLDEST, (2, count)).astype(np.float32)
    targets[:, 0] = source[0]
    return [
        {"image": image, "source_age": source, "target_age": target}
        for image, target in zip((noise, images), targets, strict=True)
    ]


def _calibrate(job: ExportJob, network: nn.Module, size: int, is_mirrored: bool) -> Calibration:
    estimator = averaged_age_estimator(job.checkpoints["age_estimator"])
    shown = calibration_faces(job.faces, estimator, size, _YOUNGEST_SOURCE, _CALIBRATION_FACES)
    mask = torch.tensor(learned_mask(DEFAULT_TEMPLATE, size))

    def masked_deltas(target_age: float) -> list[Tensor]:
        deltas = []
        for image, source in shown.batches():
            target = torch.full_like(source, target_age)
            delta = network(image, source, target)
            if is_mirrored:
                delta = (delta + network(image.flip(3), source, target).flip(3)) / 2
            deltas.append(mask * delta)
        return deltas

    table, _ = _read_table(job, "detail") or (None, None)
    effect = _detail_effect(table, shown, masked_deltas, mask) if isinstance(table, SkinDetail) else None
    aged = job.faces.aged
    ages = np.asarray([record.age for record in aged.records], dtype=np.float64)
    estimates = expected_age(run_on_centres(estimator, aged, estimator.size)).numpy()
    with torch.no_grad():
        estimate = shown.estimate_drawn(masked_deltas)
        return calibrate_by_source(estimate, shown.sources.numpy(), ages, estimates, YOUNGEST, OLDEST, effect)


def _detail_effect(
    detail: SkinDetail, shown: CalibrationFaces, deltas: Callable[[float], list[Tensor]], mask: Tensor
) -> DetailEffect:
    """Return how many years older the drawn faces are read when their skin's own detail changes as well."""
    mesh, side = crop_mesh(DETAIL_SIZE), mask.shape[-1]
    crops = images_to_crops((shown.images / 2 + 0.5).numpy())
    skins = [read_skin(_resized(crop, DETAIL_SIZE, cv2.INTER_CUBIC), mesh) for crop in crops]
    sources = shown.sources.tolist()

    def effect(asked: float) -> Ages:
        changes = [detail.change(skin, source, asked) for skin, source in zip(skins, sources, strict=True)]
        own = np.stack([_resized(change, side, cv2.INTER_AREA) for change in changes])
        added = torch.from_numpy(2 * own)[:, None] * mask  # (changed, 1, side, side), of images in [-1, 1]
        drawn = deltas(asked)
        both = [delta + part for delta, part in zip(drawn, torch.split(added, [len(d) for d in drawn]), strict=True)]
        return shown.read(both) - shown.read(drawn)

    return effect


def _resized(values: NDArray[Any], side: int, interpolation: int) -> NDArray[Any]:
    return cv2.resize(values, (side, side), interpolation=interpolation)


EXPORTER = MethodExporter(
    "Run or checkpoint of the age translator, which is then the default.",
    TranslatorShape().size,
    export_age_translator,
    {
        "skin_detail": "Checkpoint of skin-detail: how the photo's own fine structure of skin changes with age.",
        "face_shape": "Checkpoint of face-shape: how the shape of a face changes with age.",
        **HAIR_CHECKPOINTS,
    },
)

RESEARCH_EXPORTER = MethodExporter(
    "Run or checkpoint of another age translator, which is served beside the others.",
    TranslatorShape().size,
    partial(export_age_translator, name=_RESEARCH),
)
