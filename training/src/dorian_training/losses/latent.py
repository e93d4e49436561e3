"""The objective of a latent search: those of Antipov et al. 2017, §3.2, weighed, with a prior on the latent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dorian_training.networks.facenet import FaceNet
from dorian_training.networks.layers import resizing

TERMS = ("pixelwise", "identity", "prior")  # in the order of weights and terms


class LatentObjective(nn.Module):
    """Latents and target faces → a loss for each face, and its terms; differentiable in the latent.

    ``generator`` takes latent (batch, latent) and condition (batch, groups) to images (batch, 3, side, side) in [-1, 1].
    Both networks are for inference.
    """

    def __init__(self, generator: nn.Module, facenet: FaceNet) -> None:
        super().__init__()
        self.generator, self.facenet = generator, facenet

    def forward(
        self, latent: Tensor, condition: Tensor, image: Tensor, embedding: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the loss (batch,) = Σ ``weights`` (batch, 3) · terms, and the terms (batch, 3), in the order of ``TERMS``.

        Pixelwise: mean ‖x - G(z, y)‖² per value, of ``image`` x (batch, 3, side, side) in [-1, 1], in units of [0, 1].
        Identity: ‖FR(x) - FR(G(z, y))‖² of ``embedding`` FR(x) (batch, embedding), from 0 to 4. Prior: how far the mean z² is from
        1, squared, as the generator was trained on standard normal latents.
        """
        generated = self.generator(latent, condition)  # (batch, 3, side, side)
        # Each term is (batch,).
        pixelwise = (generated - image).square().mean(dim=(1, 2, 3)) / 4
        identity = (embedding_of(self.facenet, generated) - embedding).square().sum(dim=1)
        prior = (latent.square().mean(dim=1) - 1).square()
        terms = torch.stack([pixelwise, identity, prior], dim=1)
        return (terms * weights).sum(dim=1), terms


def embedding_of(facenet: FaceNet, image: Tensor) -> Tensor:
    """Return FR(image), (batch, embedding), of ``image`` (batch, 3, side, side), resized to what ``facenet`` takes."""
    resized = image
    if image.shape[2] != facenet.size:
        rows = resizing(image.shape[2], facenet.size).to(image)
        resized = rows @ image @ rows.T
    embedding: Tensor = facenet(resized)
    return embedding


def loss_and_gradient(objective: nn.Module, latent: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return, of ``objective`` at ``latent``: the loss (batch,), its gradient by the latent (batch, latent), and terms (batch, 3).

    ``objective`` is, or is called as, a ``LatentObjective``; ``rest`` are its other arguments.
    """
    with torch.enable_grad():
        latent = latent.detach().requires_grad_(True)
        loss, terms = objective(latent, *rest)
        (gradient,) = torch.autograd.grad(loss.sum(), latent)
    return loss.detach(), gradient, terms.detach()
