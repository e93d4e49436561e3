"""Age-cGAN: an encoder finds a face's latent, a generator draws it at an age; a third graph lets latents be searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from dorian_bundle.ages import AgeGroup, check_groups
from dorian_bundle.entries import Provenance, require_graph
from dorian_bundle.errors import BundleError
from dorian_bundle.face_readers import FaceReaders
from dorian_bundle.graphs import BATCH, Graph, Signature, TensorSpec
from dorian_bundle.method_entry import MethodEntry

_TERMS = 3  # of the latent search's loss


def age_cgan_signatures(crop_size: int, latent_size: int, groups: int) -> dict[str, Signature]:
    """Return the signatures by role: ``encoder`` image → latent, ``generator`` latent and condition → image."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    latent = TensorSpec(name="latent", shape=(BATCH, latent_size))
    condition = TensorSpec(name="condition", shape=(BATCH, groups))
    return {
        "encoder": Signature(inputs=(image,), outputs=(latent,)),
        "generator": Signature(inputs=(latent, condition), outputs=(image,)),
    }


def latent_gradient_signature(crop_size: int, latent_size: int, groups: int, embedding_size: int) -> Signature:
    """Return the signature of a latent search's step: a latent and its target → loss, gradient by the latent, and terms.

    ``weights`` and ``terms`` are, in this order, of ‖x - G(z, y)‖² as a mean over values, of ‖FR(x) - FR(G(z, y))‖², and of
    the prior on the latent; a face's loss is the sum of their products. ``embedding`` is FaceNet's.
    """
    return Signature(
        inputs=(
            TensorSpec(name="latent", shape=(BATCH, latent_size)),
            TensorSpec(name="condition", shape=(BATCH, groups)),
            TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size)),
            TensorSpec(name="embedding", shape=(BATCH, embedding_size)),
            TensorSpec(name="weights", shape=(BATCH, _TERMS)),
        ),
        outputs=(
            TensorSpec(name="loss", shape=(BATCH,)),
            TensorSpec(name="gradient", shape=(BATCH, latent_size)),
            TensorSpec(name="terms", shape=(BATCH, _TERMS)),
        ),
    )


class AgeCganMethod(MethodEntry):
    """A method of the family ``age_cgan``. ``graphs`` maps its roles (encoder, generator) to names of graphs.

    With a third, ``latent_gradient``, its latents can be searched; ``embedding_size`` is that of the FaceNet in that graph,
    which is the bundle's. ``learned_under_mask``: whether the generator was trained on what its deltas do to a photo, under the
    face's mask.
    """

    family: Literal["age_cgan"] = "age_cgan"
    graphs: dict[str, str]
    age_groups: tuple[AgeGroup, ...]
    crop_size: int = Field(ge=16, le=1024)
    latent_size: int = Field(ge=1)
    embedding_size: int | None = Field(default=None, ge=1)
    learned_under_mask: bool = False
    provenance: Provenance

    def check_graphs(self, graphs: Mapping[str, Graph]) -> None:
        check_groups(self.age_groups)
        sizes = (self.crop_size, self.latent_size, len(self.age_groups))
        signatures = age_cgan_signatures(*sizes)
        if self.embedding_size is not None:
            signatures["latent_gradient"] = latent_gradient_signature(*sizes, self.embedding_size)
        if set(self.graphs) != set(signatures):
            raise BundleError(f"needs graphs for {', '.join(signatures)}, has them for {', '.join(self.graphs)}")
        for role, signature in signatures.items():
            require_graph(graphs, role, self.graphs[role], signature)

    def graph_names(self) -> tuple[str, ...]:
        return tuple(self.graphs.values())

    def check_readers(self, readers: FaceReaders) -> None:
        size = readers.facenet.embedding_size
        if self.embedding_size not in (None, size):
            raise BundleError(f"searches embeddings of {self.embedding_size} values, but FaceNet's have {size}")
