"""Families of methods: the graphs that each needs, by role, with the signature that follows from its sizes.

Declared here once: the exporter names inputs and outputs after it, the manifest is checked against it, the server feeds by it.
Images are RGB in [0, 1]; pixel normalisation is inside the graphs.
"""

from __future__ import annotations

from dorian_bundle.graphs import Signature, TensorSpec

BATCH = "batch"


def age_cgan_signatures(crop_size: int, latent_size: int, groups: int) -> dict[str, Signature]:
    """Age-cGAN: ``encoder`` image → latent, ``generator`` latent and condition → image."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    latent = TensorSpec(name="latent", shape=(BATCH, latent_size))
    condition = TensorSpec(name="condition", shape=(BATCH, groups))
    return {
        "encoder": Signature(inputs=(image,), outputs=(latent,)),
        "generator": Signature(inputs=(latent, condition), outputs=(image,)),
    }
