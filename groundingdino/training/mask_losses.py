"""Segment Anything's losses (arXiv 2304.02643, appendix A): focal and dice on masks, squared error on their IoU."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class MaskLossWeights(NamedTuple):
    """Weights of the terms, as published."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0


WEIGHTS = MaskLossWeights()


def mask_losses(logits: Tensor, qualities: Tensor, targets: Tensor, inside: Tensor) -> dict[str, Tensor]:
    """Weighted terms whose sum is the loss, means over the objects.

    The first mask answers alone; of the other three only the best is taught, so that they learn to differ where a
    prompt can mean several things. All four learn to tell how good they are.

    Args:
        logits: (N, 4, H, W) of `MaskDecoder.predict_masks`.
        qualities: (N, 4) predicted IoU.
        targets: (N, H, W) in [0, 1], the share of each cell that is object.
        inside: (N, H, W) bool, False on the padding beside the picture, which counts nothing.
    """
    targets = targets[:, None].expand_as(logits)
    weight = inside[:, None].to(logits.dtype)
    focal = (focal_loss(logits, targets) * weight).sum((2, 3)) / weight.sum((2, 3))  # (N, 4)
    dice = dice_loss(logits, targets, weight)
    cost = WEIGHTS.focal * focal + WEIGHTS.dice * dice
    chosen = F.one_hot(1 + cost[:, 1:].detach().argmin(1), 4).to(logits.dtype)  # (N, 4)
    chosen[:, 0] = 1
    with torch.no_grad():
        truth = mask_iou(logits * weight, targets)
    count = max(1, len(logits))
    return {
        "focal": WEIGHTS.focal * (chosen * focal).sum() / count,
        "dice": WEIGHTS.dice * (chosen * dice).sum() / count,
        "iou": WEIGHTS.iou * ((qualities.float() - truth) ** 2).sum() / count,
    }


def focal_loss(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross entropy, weighed down where it is small already (arXiv 1708.02002); for soft targets as well."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (logits.sigmoid() - targets).abs() ** gamma * cross_entropy


def dice_loss(logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """(N, M, H, W) to (N, M): one minus the overlap of two soft masks (arXiv 1606.04797)."""
    shares = logits.sigmoid() * weight
    overlap = (shares * targets).sum((2, 3))
    return 1 - (2 * overlap + 1) / (shares.sum((2, 3)) + targets.sum((2, 3)) + 1)


def mask_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """(N, M, H, W) to (N, M): IoU of the masks that logits and soft targets become."""
    predicted, true = logits > 0, targets > 0.5
    union = (predicted | true).sum((2, 3))
    return (predicted & true).sum((2, 3)) / union.clamp(min=1)
