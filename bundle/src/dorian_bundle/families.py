"""What graphs are for: those that read faces, and those of each family of methods, with the signatures that follow.

Declared here once: the exporter names inputs and outputs after it, the manifest is checked against it, the server feeds by it.
Images are RGB in [0, 1]; pixel normalisation is inside the graphs.
"""

from __future__ import annotations

from dorian_bundle.graphs import Signature, TensorSpec

BATCH = "batch"

# The detector's maps: a cell per stride, and what each says. Sides of its image are multiples of the last stride.
DETECTOR_STRIDES = (8, 16, 32)
DETECTOR_CHANNELS = 15


def detector_signature() -> Signature:
    """Face detector: an image of any size → a map per stride.

    Channels of a map: score from 0 to 1; then, in strides from the cell's centre (half a stride into the cell), the box's
    centre x and y, the natural logarithms of its width and height, and x and y of five landmarks.
    """
    image = TensorSpec(name="image", shape=(BATCH, 3, "height", "width"))
    maps = tuple(
        TensorSpec(name=f"map_{stride}", shape=(BATCH, DETECTOR_CHANNELS, f"rows_{stride}", f"columns_{stride}"))
        for stride in DETECTOR_STRIDES
    )
    return Signature(inputs=(image,), outputs=maps)


def landmark_refiner_signature(view_size: int) -> Signature:
    """Landmark refiner: a view aligned to first landmarks → the five landmarks, x and y as fractions of the view's side."""
    image = TensorSpec(name="image", shape=(BATCH, 3, view_size, view_size))
    return Signature(inputs=(image,), outputs=(TensorSpec(name="landmarks", shape=(BATCH, 5, 2)),))


def age_estimator_signature(crop_size: int) -> Signature:
    """Age estimator: aligned crop → age in years."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    return Signature(inputs=(image,), outputs=(TensorSpec(name="age", shape=(BATCH,)),))


def facenet_signature(crop_size: int, embedding_size: int) -> Signature:
    """FaceNet: aligned crop → embedding of length 1."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    return Signature(inputs=(image,), outputs=(TensorSpec(name="embedding", shape=(BATCH, embedding_size)),))


def age_cgan_signatures(crop_size: int, latent_size: int, groups: int) -> dict[str, Signature]:
    """Age-cGAN: ``encoder`` image → latent, ``generator`` latent and condition → image."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    latent = TensorSpec(name="latent", shape=(BATCH, latent_size))
    condition = TensorSpec(name="condition", shape=(BATCH, groups))
    return {
        "encoder": Signature(inputs=(image,), outputs=(latent,)),
        "generator": Signature(inputs=(latent, condition), outputs=(image,)),
    }


def latent_gradient_signature(crop_size: int, latent_size: int, groups: int, embedding_size: int) -> Signature:
    """A step of Age-cGAN's latent optimisation: a latent and what it is to draw → loss, its gradient by the latent, and its terms.

    ``weights`` and ``terms`` are, in this order, of ‖x - G(z, y)‖² as a mean over values, of ‖FR(x) - FR(G(z, y))‖², and of the prior on
    the latent; a face's loss is the sum of their products. ``embedding`` is the FaceNet's.
    """
    terms = 3
    return Signature(
        inputs=(
            TensorSpec(name="latent", shape=(BATCH, latent_size)),
            TensorSpec(name="condition", shape=(BATCH, groups)),
            TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size)),
            TensorSpec(name="embedding", shape=(BATCH, embedding_size)),
            TensorSpec(name="weights", shape=(BATCH, terms)),
        ),
        outputs=(
            TensorSpec(name="loss", shape=(BATCH,)),
            TensorSpec(name="gradient", shape=(BATCH, latent_size)),
            TensorSpec(name="terms", shape=(BATCH, terms)),
        ),
    )


def age_translator_signature(crop_size: int) -> Signature:
    """Age translator: aligned crop, the age it has and the age to draw it at, in years → what to add to it, in [-1, 1]."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    ages = (TensorSpec(name="source_age", shape=(BATCH,)), TensorSpec(name="target_age", shape=(BATCH,)))
    return Signature(inputs=(image, *ages), outputs=(TensorSpec(name="delta", shape=image.shape),))


def cyclegan_signature(crop_size: int) -> Signature:
    """A translator of CycleGAN: aligned crop → the same crop in the other domain."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    return Signature(inputs=(image,), outputs=(TensorSpec(name="translated", shape=image.shape),))
