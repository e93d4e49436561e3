"""Margin softmax: identities as directions on the sphere, to which a face must be nearer, by a margin, than to any other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MarginClassifier(nn.Module):
    """Large-margin cosine loss (CosFace, Wang et al. 2018, eq. 4) over ``identities`` learnt directions.

    ``scale`` s and ``margin`` m as in the paper.
    """

    def __init__(self, embedding: int, identities: int, scale: float, margin: float) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(identities, embedding) * 0.1)
        self.scale, self.margin = scale, margin

    def forward(self, embedding: Tensor, identity: Tensor, part: float = 1.0) -> Tensor:
        """Mean loss of ``embedding`` (batch, embedding), of length 1, for ``identity`` int64 (batch,).

        ``part`` of the margin is used: 0 is a plain softmax over cosines.
        """
        cosine = F.linear(embedding, F.normalize(self.directions, dim=1))
        margin = self.margin * part * F.one_hot(identity, len(self.directions)).to(cosine.dtype)
        return F.cross_entropy(self.scale * (cosine - margin), identity)
