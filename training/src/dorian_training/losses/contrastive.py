"""Contrastive loss: in a batch, faces of one person must be nearer to each other than to anybody else's."""

from __future__ import annotations

import torch
from torch import Tensor


def supervised_contrastive(embedding: Tensor, identity: Tensor, temperature: float) -> Tensor:
    """Mean loss of ``embedding`` (batch, embedding), of length 1, with ``identity`` int64 (batch,).

    L_out of Khosla et al. 2020, eq. 2: a softmax over all other faces, in which each of the same person must win. All faces
    of a batch are each other's negatives, hard ones weighing most: what FaceNet's mined triplets aim at (Schroff et al. 2015).
    """
    logits = embedding @ embedding.T / temperature
    itself = torch.eye(len(identity), dtype=torch.bool, device=identity.device)
    same = (identity[:, None] == identity[None]) & ~itself
    logs = logits - logits.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)
    counts = same.sum(dim=1)
    means = (logs * same).sum(dim=1) / counts.clamp(min=1)
    return -means[counts > 0].mean()
