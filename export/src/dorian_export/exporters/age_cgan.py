"""Age-cGAN: a checkpoint's averaged encoder and generator, and the gradient of its latent search, as verified graphs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.families.age_cgan import AgeCganMethod, age_cgan_signatures, latent_gradient_signature
from dorian_bundle.graphs import Array, Graph
from dorian_bundle.tensors import crops_to_images
from dorian_export.face_readers import averaged_facenet
from dorian_export.latent_gradient import export_latent_gradient
from dorian_export.method_exporter import ExportJob, MethodExport, MethodExporter
from dorian_export.onnx_writer import cast_like, in_precision
from dorian_export.provenance import describe_provenance
from dorian_export.verified_export import BATCHES, export_verified, require_faces, require_family
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.loop import write_grid
from dorian_training.losses.latent import LatentObjective, embedding_of
from dorian_training.methods.age_cgan_joint import JointStage
from dorian_training.networks.age_cgan import SIZE, AgeCganShape, build_encoder, build_generator
from dorian_training.networks.facenet import FaceNet

SAMPLES_FILE = "samples.jpg"
_SAMPLE_ROWS = 10
_ROLES = ("encoder", "generator")
_GRADIENT = "age_cgan_latent_gradient"
_DESCRIPTION = (
    "Age-cGAN after Antipov et al. 2017: an encoder finds the face's latent, a generator draws it at six age groups,"
    " and the difference between two of them is added to the photo."
)


class EncoderGraph(nn.Module):
    """An encoder whose image is RGB in [0, 1]. In half precision inside, if its weights are."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        latent: Tensor = self.encoder(cast_like(self.encoder, image * 2 - 1))
        return latent.float()  # (batch, latent)


class GeneratorGraph(nn.Module):
    """A generator whose image is RGB in [0, 1]. In half precision inside, if its weights are."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        image: Tensor = self.generator(cast_like(self.generator, latent), cast_like(self.generator, condition))
        return image.float() * 0.5 + 0.5  # (batch, 3, size, size)


def export_age_cgan(job: ExportJob) -> MethodExport:
    """Export the networks of ``job.checkpoints["age_cgan"]``; see ``MethodExporter``.

    Latents are searched for the FaceNet of ``job.checkpoints["facenet"]``.
    """
    checkpoint = job.checkpoints["age_cgan"]
    weights, metadata = load_weights(checkpoint)
    require_family(metadata, "age_cgan")
    crops = job.faces.resized(SIZE)
    require_faces(crops)
    shape = AgeCganShape.from_dict(metadata["shape"])
    networks: dict[str, nn.Module] = {"encoder": build_encoder(shape), "generator": build_generator(shape)}
    for role in _ROLES:
        load_network(networks[role], weights, f"{role}_ema")
    wrapped = {"encoder": EncoderGraph(networks["encoder"]), "generator": GeneratorGraph(networks["generator"])}
    inputs = _inputs(in_precision(wrapped["encoder"], "fp32"), shape, crops)
    graphs: dict[str, Graph] = {}
    differences: dict[str, float] = {}
    for role, signature in age_cgan_signatures(SIZE, shape.latent, shape.groups).items():
        name = f"age_cgan_{role}"
        graphs[name], file_differences = export_verified(
            name, wrapped[role], signature, inputs, job.folder, job.precisions
        )
        differences |= file_differences
    facenet = averaged_facenet(job.checkpoints["facenet"])
    objective = LatentObjective(networks["generator"], facenet)
    signature = latent_gradient_signature(SIZE, shape.latent, shape.groups, facenet.embedding)
    graphs[_GRADIENT], file_differences = export_latent_gradient(
        _GRADIENT, objective, signature, _search_inputs(inputs, facenet), job.folder, job.precisions[-1]
    )
    differences |= file_differences
    stages = (metadata["stage"], *(earlier["stage"] for earlier in metadata["earlier"]))
    entry = AgeCganMethod(
        name="age_cgan",
        description=_DESCRIPTION,
        graphs={**{role: f"age_cgan_{role}" for role in _ROLES}, "latent_gradient": _GRADIENT},
        age_groups=PAPER_GROUPS,
        crop_size=SIZE,
        latent_size=shape.latent,
        embedding_size=facenet.embedding,
        learned_under_mask=JointStage.name in stages,
        provenance=describe_provenance(metadata, job.metrics_with("age_cgan", differences)),
    )
    write_grid(job.folder / SAMPLES_FILE, draw_samples(checkpoint, _SAMPLE_ROWS))
    return MethodExport(entry, graphs, differences, (SAMPLES_FILE,))


def _inputs(encoder: nn.Module, shape: AgeCganShape, crops: NDArray[np.uint8]) -> list[dict[str, Array]]:
    """Return random inputs, and real ones: crops, and the latents that the encoder finds for them."""
    random = np.random.default_rng(0)
    images = crops_to_images(crops[: max(BATCHES)])
    with torch.no_grad():
        latents = encoder(torch.from_numpy(images)).numpy()
    conditions = np.eye(shape.groups, dtype=np.float32)[np.arange(max(BATCHES)) % shape.groups]
    noise = {
        "image": random.random(images.shape, dtype=np.float32),
        "latent": random.standard_normal(latents.shape, dtype=np.float32),
        "condition": random.dirichlet(np.ones(shape.groups), max(BATCHES)).astype(np.float32),
    }
    return [noise, {"image": images, "latent": latents, "condition": conditions}]


def _search_inputs(inputs: Sequence[dict[str, Array]], facenet: FaceNet) -> list[dict[str, Array]]:
    """Return ``inputs`` with embeddings of their images, and weights: each term's alone once, then all together."""
    rows = max(BATCHES)
    weights = np.vstack([np.eye(3), np.ones((rows - 3, 3))]).astype(np.float32)
    with torch.no_grad():
        embeddings = [embedding_of(facenet, torch.from_numpy(feed["image"]) * 2 - 1).numpy() for feed in inputs]
    return [
        {**feed, "embedding": embedding, "weights": weights} for feed, embedding in zip(inputs, embeddings, strict=True)
    ]


def draw_samples(checkpoint: Path, rows: int, seed: int = 0) -> Tensor:
    """Draw random faces with a checkpoint's averaged generator.

    Returns:
        A latent per row, an age group per column: (rows, groups, 3, 64, 64) in [-1, 1].
    """
    weights, metadata = load_weights(checkpoint)
    shape = AgeCganShape.from_dict(metadata["shape"])
    generator = build_generator(shape).eval()
    load_network(generator, weights, "generator_ema")
    latent = torch.randn(rows, shape.latent, generator=torch.Generator().manual_seed(seed))
    condition = torch.eye(shape.groups).repeat(rows, 1)
    with torch.no_grad():
        images: Tensor = generator(latent.repeat_interleave(shape.groups, dim=0), condition)
    return torch.unflatten(images, 0, (rows, shape.groups))


EXPORTER = MethodExporter("Run or checkpoint of Age-cGAN.", SIZE, export_age_cgan)
