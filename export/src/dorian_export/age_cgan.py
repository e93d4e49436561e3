"""Age-cGAN: a checkpoint's averaged encoder and generator as graphs, each proven against torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.families.age_cgan import AgeCganMethod, age_cgan_signatures, latent_gradient_signature
from dorian_bundle.graphs import Graph, Precision
from dorian_bundle.tensors import crops_to_images
from dorian_export.faces import Faces
from dorian_export.graphs import EncoderGraph, GeneratorGraph, in_precision
from dorian_export.latent_gradient import export_latent_gradient
from dorian_export.made import Made, with_differences
from dorian_export.origin import provenance
from dorian_export.parity import BATCHES, Array
from dorian_export.proven import export_proven, require_faces, require_family
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.losses.latent import LatentObjective, mirrored_embedding
from dorian_training.methods.age_cgan_joint import JointStage
from dorian_training.networks.age_cgan import SIZE, AgeCganShape, build_encoder, build_generator
from dorian_training.networks.facenet import FaceNet

_ROLES = ("encoder", "generator")
_GRADIENT = "age_cgan_latent_gradient"
_DESCRIPTION = (
    "Age-cGAN after Antipov et al. 2017: an encoder finds the face's latent, a generator draws it at six age groups,"
    " and the difference between two of them is added to the photo."
)


def make_age_cgan(
    checkpoint: Path,
    facenet: FaceNet,
    faces: Faces,
    folder: Path,
    precisions: Sequence[Precision],
    metrics: dict[str, Any],
) -> Made:
    """The method of ``checkpoint``: encoder, generator, and the gradient by which latents are searched for ``facenet``.

    Their graphs are in ``folder``. Errors as ``make_age_translator``.
    """
    weights, about = load_weights(checkpoint)
    require_family(about, "age_cgan")
    pictures = faces.pictures(SIZE)
    require_faces(pictures)
    shape = AgeCganShape.from_dict(about["shape"])
    networks: dict[str, nn.Module] = {"encoder": build_encoder(shape), "generator": build_generator(shape)}
    for role in _ROLES:
        load_network(networks[role], weights, f"{role}_ema")
    wrapped = {"encoder": EncoderGraph(networks["encoder"]), "generator": GeneratorGraph(networks["generator"])}
    inputs = _inputs(in_precision(wrapped["encoder"], "fp32"), shape, pictures)
    graphs: dict[str, Graph] = {}
    differences: dict[str, float] = {}
    for role, signature in age_cgan_signatures(SIZE, shape.latent, shape.groups).items():
        name = f"age_cgan_{role}"
        graphs[name], found = export_proven(name, wrapped[role], signature, inputs, folder, precisions)
        differences |= found
    objective = LatentObjective(networks["generator"], facenet)
    signature = latent_gradient_signature(SIZE, shape.latent, shape.groups, facenet.embedding)
    graphs[_GRADIENT], found = export_latent_gradient(
        _GRADIENT, objective, signature, _search_inputs(inputs, facenet), folder, precisions[-1]
    )
    differences |= found
    entry = AgeCganMethod(
        name="age_cgan",
        description=_DESCRIPTION,
        graphs={**{role: f"age_cgan_{role}" for role in _ROLES}, "latent_gradient": _GRADIENT},
        age_groups=PAPER_GROUPS,
        crop_size=SIZE,
        latent_size=shape.latent,
        embedding_size=facenet.embedding,
        learned_under_mask=JointStage.name in (about["stage"], *(earlier["stage"] for earlier in about["earlier"])),
        provenance=provenance(about, with_differences(metrics, differences)),
    )
    return Made(entry, graphs, differences)


def _inputs(encoder: nn.Module, shape: AgeCganShape, crops: NDArray[np.uint8]) -> list[dict[str, Array]]:
    """Random inputs, and real ones: the crops, and the latents that the encoder finds for them."""
    random = np.random.default_rng(0)
    faces = crops_to_images(crops[: max(BATCHES)])
    with torch.no_grad():
        latents = encoder(torch.from_numpy(faces)).numpy()
    conditions = np.eye(shape.groups, dtype=np.float32)[np.arange(max(BATCHES)) % shape.groups]
    noise = {
        "image": random.random(faces.shape, dtype=np.float32),
        "latent": random.standard_normal(latents.shape, dtype=np.float32),
        "condition": random.dirichlet(np.ones(shape.groups), max(BATCHES)).astype(np.float32),
    }
    return [noise, {"image": faces, "latent": latents, "condition": conditions}]


def _search_inputs(inputs: Sequence[dict[str, Array]], facenet: FaceNet) -> list[dict[str, Array]]:
    """``inputs`` with the embeddings of their images, and with each term's weight once alone and then all together."""
    rows = max(BATCHES)
    weights = np.vstack([np.eye(3), np.ones((rows - 3, 3))]).astype(np.float32)
    with torch.no_grad():
        embeddings = [mirrored_embedding(facenet, torch.from_numpy(each["image"]) * 2 - 1).numpy() for each in inputs]
    return [{**each, "embedding": found, "weights": weights} for each, found in zip(inputs, embeddings, strict=True)]


def group_sheet(checkpoint: Path, rows: int, seed: int = 0) -> Tensor:
    """Faces that the generator draws: a latent per row, an age group per column; (rows, groups, 3, 64, 64) in [-1, 1]."""
    weights, about = load_weights(checkpoint)
    shape = AgeCganShape.from_dict(about["shape"])
    generator = build_generator(shape).eval()
    load_network(generator, weights, "generator_ema")
    latent = torch.randn(rows, shape.latent, generator=torch.Generator().manual_seed(seed))
    condition = torch.eye(shape.groups).repeat(rows, 1)
    with torch.no_grad():
        images: Tensor = generator(latent.repeat_interleave(shape.groups, dim=0), condition)
    return torch.unflatten(images, 0, (rows, shape.groups))
