"""AE-StyleGAN: a checkpoint's averaged encoder and generator as graphs, and the styles that a bundle keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.calibration import Calibration
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.graphs import Array, Graph, Signature
from dorian_bundle.masks import learned_mask
from dorian_bundle.method_entry import Filter
from dorian_bundle.stored_files import describe_file
from dorian_bundle.style_levels import preset_levels
from dorian_bundle.style_library import LIBRARY_FILE, StyleLibrary
from dorian_bundle.tensors import crops_to_images
from dorian_export.calibration import calibrate
from dorian_export.calibration_faces import CalibrationFaces, calibration_faces
from dorian_export.errors import ExportError
from dorian_export.face_readers import averaged_age_estimator
from dorian_export.faces import pick_evenly
from dorian_export.method_exporter import ExportJob, MethodExport, MethodExporter
from dorian_export.onnx_writer import cast_like
from dorian_export.provenance import describe_provenance
from dorian_export.verified_export import BATCHES, export_verified, require_faces, require_family
from dorian_export.weight_storage import round_to_bytes, round_to_half, rounded_to_bytes, store_weights
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.data.sources import DLIB_NETWORK
from dorian_training.methods.style_mixing import fit_age_means, mean_at
from dorian_training.networks.ae_stylegan import (
    PRESETS,
    AeStyleGanShape,
    StyleGenerator,
    StyleMaps,
    StyleReader,
    build_encoder,
    linear_faces,
)
from dorian_training.networks.age_estimator import DlibAgeEstimator
from dorian_training.networks.eigen_pyramid import EigenPyramid

YOUNGEST, OLDEST = 1.0, 90.0
_ENCODER, _GENERATOR = "ae_stylegan_encoder", "ae_stylegan_generator"
_AGE_PRESET = "mid"
_REFERENCES = 16  # at most, of each span of ages and gender
_REFERENCE_SET = "fairface"  # whose licence lets styles be passed on
_LIKENESS = 72  # numbers of the structure by which references are compared: the coarsest, of tone, light and pose
_FILTERS = {"stylegan_old": "Makes faces look old.", "stylegan_young": "Makes faces look young."}
_BATCH = 32
_DESCRIPTION = "AE-StyleGAN after Han et al. 2022: a face's structure and its styles at twelve levels; ages and references change some styles."


class StyleEncoderGraph(nn.Module):
    """An encoder whose image is RGB in [0, 1]: to structure and styles, or to styles alone."""

    def __init__(self, encoder: nn.Module, pyramid: EigenPyramid | None, reader: StyleReader | None) -> None:
        super().__init__()
        self.encoder, self.pyramid, self.reader = encoder, pyramid, reader

    def forward(self, image: Tensor) -> tuple[Tensor, ...] | Tensor:
        image = image * 2 - 1
        if self.pyramid is None or self.reader is None:
            styles: Tensor = self.encoder(cast_like(self.encoder, image)).float()
            return styles
        return self.pyramid.encode(image), self.encoder(self.reader(image))


class StyleGeneratorGraph(nn.Module):
    """A generator whose image is RGB, about [0, 1], of structure and styles, or of styles alone."""

    def __init__(self, generator: StyleGenerator, pyramid: EigenPyramid | None) -> None:
        super().__init__()
        self.generator, self.pyramid = generator, pyramid

    def forward(self, structure: Tensor, styles: Tensor | None = None) -> Tensor:
        """Draw a face; where it has no structure, styles alone are given."""
        linear: list[Tensor] = []
        if self.pyramid is not None:
            linear = linear_faces(self.pyramid, structure, self.generator.shape.sides)
        picture: Tensor = self.generator(structure if styles is None else styles, linear)
        return picture.float() * 0.5 + 0.5


class StyleFilterGraph(nn.Module):
    """A filter: the generator of a fine-tuned pair, of structure and styles as the pair that it began from finds them.

    Both pairs' styles are linear maps of the same features, so one pair's follow from the other's.
    """

    moves: Tensor
    offsets: Tensor

    def __init__(self, networks: StyleNetworks, encoder: StyleMaps, generator: StyleGenerator) -> None:
        super().__init__()
        base = networks.encoder.encoder
        assert isinstance(base, StyleMaps)
        self.generator = StyleGeneratorGraph(generator, networks.encoder.pyramid)
        moves = torch.linalg.solve(base.maps.detach(), encoder.maps.detach())  # (levels, style, style)
        self.register_buffer("moves", moves)
        self.register_buffer(
            "offsets", encoder.offsets.detach() - torch.einsum("lf,lfs->ls", base.offsets.detach(), moves)
        )

    def forward(self, structure: Tensor, styles: Tensor) -> Tensor:
        moved = torch.einsum("blf,lfs->bls", styles, self.moves) + self.offsets
        picture: Tensor = self.generator(structure, moved)
        return picture


@dataclass(frozen=True)
class StyleNetworks:
    """The networks of a checkpoint as a bundle has them: weights rounded as they are stored."""

    shape: AeStyleGanShape
    encoder: StyleEncoderGraph
    generator: StyleGeneratorGraph
    age_means: Tensor | None  # (years, levels, style)


def load_style_networks(job: ExportJob, checkpoint: str = "ae_stylegan") -> tuple[StyleNetworks, dict[str, Any]]:
    """Return the averaged networks of a checkpoint of ``job``, and its metadata.

    Raises:
        ExportError: If it is of another family, or the bundle's age estimator is not of the layout that styles are read by.
    """
    weights, metadata = load_weights(job.checkpoints[checkpoint])
    require_family(metadata, checkpoint)
    shape = AeStyleGanShape.from_dict(metadata["shape"])
    encoder, generator = build_encoder(shape).eval(), StyleGenerator(shape).eval()
    load_network(encoder, weights, "encoder_ema")
    load_network(generator, weights, "generator_ema")
    round_to_bytes(generator)
    if not isinstance(encoder, StyleMaps):
        round_to_half(encoder)
        return StyleNetworks(
            shape, StyleEncoderGraph(encoder, None, None), StyleGeneratorGraph(generator, None), None
        ), metadata
    estimator = averaged_age_estimator(job.checkpoints.get("style_reader") or job.checkpoints["age_estimator"])
    if not isinstance(estimator, DlibAgeEstimator):
        raise ExportError("styles are read by an age estimator of dlib's layout; --style-reader has another")
    round_to_bytes(estimator)
    pyramid = EigenPyramid(shape.structure_sides, shape.structure_counts)
    load_network(pyramid, weights, "pyramid")
    _round_buffers(pyramid)
    _round_buffers(encoder)
    round_to_half(encoder)
    with torch.no_grad():
        age_means = encoder.styles_of(weights["age_means"]["features"])
    graphs = StyleEncoderGraph(encoder, pyramid, StyleReader(estimator)), StyleGeneratorGraph(generator, pyramid)
    return StyleNetworks(shape, *graphs, age_means), metadata


def export_ae_stylegan(job: ExportJob) -> MethodExport:
    """Export the networks of ``job.checkpoints["ae_stylegan"]``; see ``MethodExporter``.

    It is calibrated by the age estimator of the checkpoint ``calibrator``, or else by the bundle's own.
    """
    networks, metadata = load_style_networks(job)
    shape = networks.shape
    crops = job.faces.resized(shape.size)
    require_faces(crops)
    library = _collect_styles(networks, job, crops)
    library.save(job.folder / LIBRARY_FILE)
    levels = _age_levels(shape.levels)
    estimator = job.checkpoints.get("calibrator") or job.checkpoints["age_estimator"]
    faces = calibration_faces(job.faces, averaged_age_estimator(estimator), shape.size)
    entry = AeStyleGanMethod(
        name="ae_stylegan",
        description=_DESCRIPTION,
        encoder=_ENCODER,
        generator=_GENERATOR,
        crop_size=shape.size,
        levels=shape.levels,
        style=shape.style,
        structure=shape.structure,
        age_levels=levels,
        age_groups=PAPER_GROUPS,
        min_years=YOUNGEST,
        max_years=OLDEST,
        calibration=_calibrate(networks, torch.from_numpy(library.age_means), levels, faces),
        library=describe_file(job.folder, LIBRARY_FILE),
        max_change=shape.max_change,
        provenance=describe_provenance(metadata, job.metrics_with("ae_stylegan", {}), [DLIB_NETWORK]),
    )
    filters, filters_about = _load_filters(networks, job)
    graphs, differences = export_style_graphs(networks, entry, crops, job, filters)
    about: dict[str, Any] = {
        "provenance": describe_provenance(metadata, job.metrics_with("ae_stylegan", differences), [DLIB_NETWORK])
    }
    if filters:
        about["filters"] = tuple(
            Filter(name=name, description=description, graph=name) for name, description in _FILTERS.items()
        )
        measured = dict(job.metrics.get("cycle_stylegan", {}))
        about["filters_provenance"] = describe_provenance(filters_about, measured, [DLIB_NETWORK])
    return MethodExport(entry.model_copy(update=about), graphs, differences)


def _load_filters(networks: StyleNetworks, job: ExportJob) -> tuple[dict[str, StyleFilterGraph], dict[str, Any]]:
    """The filters of ``job.checkpoints["cycle_stylegan"]`` by name, none without it, and the checkpoint's metadata.

    Raises:
        ExportError: If the checkpoint is of another family, or of networks that no filter can be made of.
    """
    if "cycle_stylegan" not in job.checkpoints:
        return {}, {}
    weights, metadata = load_weights(job.checkpoints["cycle_stylegan"])
    require_family(metadata, "cycle_stylegan")
    if AeStyleGanShape.from_dict(metadata["shape"]) != networks.shape or not networks.shape.structure:
        raise ExportError("--cycle-stylegan needs networks of the same shape as --ae-stylegan, of the lean preset")
    filters = {}
    for name in _FILTERS:
        domain = name.removeprefix("stylegan_")
        encoder, generator = StyleMaps(networks.shape).eval(), StyleGenerator(networks.shape).eval()
        load_network(encoder, weights, f"encoder_{domain}_ema")
        load_network(generator, weights, f"generator_{domain}_ema")
        round_to_bytes(generator)
        filters[name] = StyleFilterGraph(networks, encoder, generator)
    return filters, metadata


def export_style_graphs(
    networks: StyleNetworks,
    entry: AeStyleGanMethod,
    crops: NDArray[np.uint8],
    job: ExportJob,
    filters: Mapping[str, nn.Module],
) -> tuple[dict[str, Graph], dict[str, float]]:
    """Write encoder, generator and ``filters``, verified on ``crops`` and on noise; return the graphs and their differences from torch."""
    images = crops_to_images(crops[: max(BATCHES)])
    noise = np.random.default_rng(0).random(images.shape, dtype=np.float32)
    pictures = [{"image": noise}, {"image": images}]
    codes: list[Mapping[str, Array]] = []
    for picture in pictures:
        with torch.no_grad():
            code = networks.encoder(torch.from_numpy(picture["image"]))
        arrays = [code] if isinstance(code, Tensor) else list(code)
        names = [spec.name for spec in entry.encoder_signature().outputs]
        codes.append({name: part.numpy() for name, part in zip(names, arrays, strict=True)})
    graphs: dict[str, Graph] = {}
    differences: dict[str, float] = {}
    parts: list[tuple[str, nn.Module, Signature, Sequence[Mapping[str, Array]]]] = [
        (_ENCODER, networks.encoder, entry.encoder_signature(), pictures),
        (_GENERATOR, networks.generator, entry.generator_signature(), codes),
        *((name, network, entry.generator_signature(), codes) for name, network in filters.items()),
    ]
    for name, network, signature, inputs in parts:
        graph, of_files = export_verified(name, network, signature, inputs, job.folder, ("fp32",), store_weights)
        graphs[name] = graph
        differences |= of_files
    return graphs, differences


def _round_buffers(network: nn.Module) -> None:
    """Round the matrices among the buffers of ``network`` to 8 bits and the others to half precision, in place."""
    for name, buffer in network.named_buffers():
        matrix = buffer.ndim > 1 and name.startswith("basis")
        buffer.copy_(rounded_to_bytes(buffer) if matrix else buffer.half().to(buffer.dtype))


def _age_levels(levels: int) -> tuple[int, ...]:
    """The levels at which ages are changed: those of the default preset, in a generator of any number of levels."""
    first = preset_levels(_AGE_PRESET)[0][0]
    return tuple(range(first, levels + 1))


@torch.no_grad()
def _collect_styles(networks: StyleNetworks, job: ExportJob, crops: NDArray[np.uint8]) -> StyleLibrary:
    """The mean styles at each age, by the faces of ``job`` unless training has kept them, and some of its faces as references."""
    records = job.faces.crops.records
    codes = [_code(networks, image) for image in _images(crops)]
    structure, styles = (torch.cat([code[part] for code in codes]) for part in (0, 1))
    age_means = networks.age_means
    brackets = torch.tensor([(record.age_low, record.age_high) for record in records], dtype=torch.float32)
    woman = np.asarray([record.is_woman for record in records])
    if age_means is None:
        age_means = fit_age_means(styles.flatten(1), brackets, woman, int(OLDEST)).view(-1, *styles.shape[1:])
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, record in enumerate(records):
        if record.source == _REFERENCE_SET and record.gender:
            groups.setdefault((record.age_low, record.age_high, record.gender), []).append(index)
    selected = [index for members in groups.values() for index in pick_evenly(members, _REFERENCES)]
    selected = selected or list(range(len(records)))
    return StyleLibrary(
        age_means=age_means.numpy(),
        styles=styles[selected].numpy(),
        structure=structure[selected, :_LIKENESS].numpy(),
        age_low=brackets[selected, 0].numpy(),
        age_high=brackets[selected, 1].numpy(),
        woman=woman[selected].astype(np.float32),
    )


def _code(networks: StyleNetworks, image: Tensor) -> tuple[Tensor, Tensor]:
    """Structure (batch, numbers) and styles (batch, levels, style) of ``image``, in [0, 1]."""
    code = networks.encoder(image)
    return (image.new_zeros(len(image), 0), code) if isinstance(code, Tensor) else code


def _images(crops: NDArray[np.uint8]) -> Iterator[Tensor]:
    return iter(torch.split(torch.from_numpy(crops_to_images(crops)), _BATCH))


def _calibrate(
    networks: StyleNetworks, age_means: Tensor, levels: tuple[int, ...], faces: CalibrationFaces
) -> Calibration:
    mask = torch.tensor(learned_mask(DEFAULT_TEMPLATE, networks.shape.size))
    lent = [level - 1 for level in levels]

    def masked_deltas(target_age: float) -> list[Tensor]:
        deltas = []
        for image, source in faces.batches():
            structure, styles = _code(networks, image * 0.5 + 0.5)
            shift = mean_at(age_means, torch.full_like(source, target_age)) - mean_at(age_means, source)
            mixed = styles.clone()
            mixed[:, lent] += shift[:, lent]
            code = [structure.repeat(2, 1)] if networks.shape.structure else []
            own, other = networks.generator(*code, torch.cat([styles, mixed])).chunk(2)
            deltas.append(mask * networks.shape.bounded((other - own) * 2))
        return deltas

    with torch.no_grad():
        return calibrate(faces.estimate_drawn(masked_deltas), faces.ages, faces.estimates(), YOUNGEST, OLDEST)


EXPORTER = MethodExporter(
    "Run or checkpoint of AE-StyleGAN.",
    PRESETS["lean"].size,
    export_ae_stylegan,
    {
        "style_reader": "Run or checkpoint of the age estimator whose features AE-StyleGAN's styles are; --age-estimator's unless given.",
        "calibrator": "Run or checkpoint of an age estimator to calibrate AE-StyleGAN by; --age-estimator's unless given.",
        "cycle_stylegan": "Run or checkpoint of Cycle-StyleGAN, fine-tuned from it: the filters stylegan_old and stylegan_young.",
    },
)
