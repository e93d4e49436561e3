"""Losses of an anchor-free detector: which cells are to find which face, and how well they do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_training.networks.detector import STRIDES, Cells

# Sides of faces (root of width times height, in pixels) that each level learns; neighbours overlap.
SIZES = {8: (0.0, 56.0), 16: (40.0, 128.0), 32: (96.0, 1e9)}
REACH = 1.5  # cells around a face's centre, in strides, that are to find it


@dataclass(frozen=True)
class Truth:
    """Faces to find, padded: ``boxes`` x, y, width, height (batch, faces, 4); ``landmarks`` (batch, faces, 5, 2), in pixels.

    ``kind`` (batch, faces): 1 a face, -1 a region in which nothing is learnt, 0 padding, which comes last.
    """

    boxes: Tensor
    landmarks: Tensor
    kind: Tensor


def assign(cells: Cells, truth: Truth) -> tuple[Tensor, Tensor]:
    """The face that each cell is to find, int64 (batch, cells), -1 for none, and which cells learn, bool (batch, cells).

    A face belongs to the cells within ``REACH`` of its centre and inside its box, at the levels of its size; to its
    nearest cell of these in any case. Where two faces claim a cell, the smaller has it.
    """
    centre = truth.boxes[..., :2] + truth.boxes[..., 2:] / 2
    side = truth.boxes[..., 2:].clamp(min=0).prod(dim=-1).sqrt()
    bounds = torch.tensor([SIZES[stride] for stride in STRIDES], device=side.device)
    bounds = bounds[(cells.strides / STRIDES[0]).log2().long()]
    away = (cells.centres[None, :, None] - centre[:, None]).abs()  # batch, cells, faces, 2
    fits = (side[:, None] >= bounds[None, :, None, 0]) & (side[:, None] < bounds[None, :, None, 1])
    fits &= (truth.kind == 1)[:, None]
    near = (away <= REACH * cells.strides[None, :, None, None]).all(-1) & (away <= truth.boxes[:, None, :, 2:] / 2).all(
        -1
    )
    distance = torch.where(fits, away.square().sum(-1), torch.inf)
    nearest = distance == distance.amin(dim=1, keepdim=True)
    claims = fits & (near | nearest)
    size = torch.where(claims, side[:, None].expand_as(claims), torch.inf)
    smallest, face = size.min(dim=-1)
    face = torch.where(smallest.isfinite(), face, -1)
    inside = (away <= truth.boxes[:, None, :, 2:] / 2).all(-1) & (truth.kind == -1)[:, None]
    return face, (face >= 0) | ~inside.any(dim=-1)


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union of boxes ``a`` and ``b`` as centre and size (..., 4), and its distance-aware loss.

    The loss is DIoU's (Zheng et al. 2020, eq. 7), which also has a slope where boxes do not touch.
    """
    low = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    shared = (high - low).clamp(min=0).prod(dim=-1)
    union = a[..., 2:].prod(dim=-1) + b[..., 2:].prod(dim=-1) - shared
    iou = shared / union.clamp(min=1e-6)
    outer_low = torch.minimum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    outer_high = torch.maximum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    diagonal = (outer_high - outer_low).square().sum(-1).clamp(min=1e-6)
    return iou, 1 - iou + (a[..., :2] - b[..., :2]).square().sum(-1) / diagonal


def detection_losses(cells: Cells, truth: Truth) -> dict[str, Tensor]:
    """``score``, ``box`` and ``landmarks``, each a mean over the cells that have a face to find.

    The score learns the overlap that its cell's box reaches (quality focal loss, Li et al. 2020, eq. 4); landmarks a smooth
    L1 distance in tenths of the face's side.
    """
    most = max(1, int((truth.kind != 0).sum(dim=1).max()))  # padding comes last, and costs as much as faces do
    truth = Truth(truth.boxes[:, :most], truth.landmarks[:, :most], truth.kind[:, :most])
    face, learns = assign(cells, truth)
    image, cell = torch.nonzero(face >= 0, as_tuple=True)
    chosen = face[image, cell]
    box = truth.boxes[image, chosen]
    corner, size = box[:, :2], box[:, 2:]
    iou, distance = overlap(cells.boxes[image, cell], torch.cat([corner + size / 2, size], dim=-1))
    target = torch.zeros_like(cells.score)
    target[image, cell] = iou.detach().clamp(0, 1)
    away = (target - cells.score.sigmoid()).abs().square()
    score = F.binary_cross_entropy_with_logits(cells.score, target, reduction="none") * away * learns
    side = size.prod(dim=-1).sqrt()[:, None, None]
    off = 10 * (cells.landmarks[image, cell] - truth.landmarks[image, chosen]) / side
    count = max(1, len(image))
    return {
        "score": score.sum() / count,
        "box": distance.sum() / count,
        "landmarks": F.smooth_l1_loss(off, torch.zeros_like(off), reduction="sum", beta=0.2) / (10 * count),
    }
