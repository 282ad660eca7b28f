"""What a segmenter learns from: Segment Anything's losses on masks, and what its image encoder should see by itself."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from groundingdino.segmentation.embedded_encoder import FINE_STRIDE, STRIDE
from groundingdino.training.segmenter.mask_batches import UNKNOWN

BACKGROUND_WEIGHT = 0.1  # of cells far from the object, which are most and mostly right
EDGE_WEIGHT = 2.0  # of cells at the object's edge, added to that of those around it
LOSER_WEIGHT = 0.3  # of the masks that were not the best of three


class MaskLossWeights(NamedTuple):
    """Weights of the terms.

    Published are 20, 1 and 1 with a focal loss: a small model is taught the last steps to the edge, and to be sure of
    itself, by plain cross entropy.
    """

    cross_entropy: float = 4.0
    dice: float = 2.0
    iou: float = 2.0


WEIGHTS = MaskLossWeights()


def mask_losses(logits: Tensor, qualities: Tensor, targets: Tensor, inside: Tensor) -> dict[str, Tensor]:
    """Weighted terms of arXiv 2304.02643, appendix A, whose sum is the loss; means over the objects.

    The first mask answers alone; of the other three the best is taught and the others a little, so that they differ
    where a prompt can mean several things and none stays what it was at the start. All four learn to tell how good they
    are.

    Args:
        logits: (N, 4, H, W) of `MaskDecoder.predict_masks`.
        qualities: (N, 4) predicted IoU.
        targets: (N, H, W) in [0, 1], the share of each cell that is object.
        inside: (N, H, W) bool, False on the padding beside the picture, which counts nothing.
    """
    importance = cell_weights(targets, inside)[:, None]
    weight = inside[:, None].to(logits.dtype)
    targets = targets[:, None].expand_as(logits)
    wrong = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    cross_entropy = (wrong * importance).sum((2, 3)) / importance.sum((2, 3)).clamp(min=1)
    dice = dice_loss(logits, targets, weight)
    cost = WEIGHTS.cross_entropy * cross_entropy + WEIGHTS.dice * dice
    chosen = F.one_hot(1 + cost[:, 1:].detach().argmin(1), 4).to(logits.dtype).clamp(min=LOSER_WEIGHT)  # (N, 4)
    chosen[:, 0] = 1
    with torch.no_grad():
        truth = mask_iou(logits * weight, targets)
    count = max(1, len(logits))
    return {
        "cross_entropy": WEIGHTS.cross_entropy * (chosen * cross_entropy).sum() / count,
        "dice": WEIGHTS.dice * (chosen * dice).sum() / count,
        "iou": WEIGHTS.iou * ((qualities.float() - truth) ** 2).sum() / count,
    }


def cell_weights(targets: Tensor, inside: Tensor) -> Tensor:
    """How much each cell counts, (N, H, W): 1 in a box twice the object's, more at its edge, little elsewhere.

    All that is elsewhere counts no more than what is near: a small object would learn little else.
    """
    around = []
    for axis in (1, 2):
        taken = (targets > 0).any(3 - axis)  # (N, length)
        places = torch.arange(taken.shape[1], device=taken.device)
        first = torch.where(taken, places, taken.shape[1]).amin(1, keepdim=True)
        last = torch.where(taken, places, -1).amax(1, keepdim=True)
        margin = (last - first + 1) / 2
        around.append((places >= first - margin) & (places <= last + margin))
    near = around[0][:, :, None] & around[1][:, None, :]
    spread = F.max_pool2d(targets, 3, 1, 1) + F.max_pool2d(-targets, 3, 1, 1)  # greatest minus least of neighbours
    most, far = ((part & inside).sum((1, 2), keepdim=True) for part in (near, ~near))
    elsewhere = (most / far.clamp(min=1)).clamp(max=BACKGROUND_WEIGHT)
    weights = torch.where(near, 1.0, elsewhere) + EDGE_WEIGHT * (spread > 0.5)
    return weights * inside


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


def object_losses(outlines: Tensor, taken: Tensor, reach: Tensor, owners: Tensor, extents: Tensor) -> dict[str, Tensor]:
    """Terms of what `ObjectHead` reads, whose sum is the loss; means over cells.

    Args:
        outlines: (B, 2, H / 2, W / 2), taken: (B, H / 8, W / 8) and reach: (B, 4, H / 8, W / 8) of `ObjectHead`.
        owners: (B, H, W) and extents: (B, 4, H / 8, W / 8), as `MaskBatch` has them.
    """
    numbers = owners[:, None].float()
    is_known = (owners != UNKNOWN)[:, None].float()
    objects = F.avg_pool2d((numbers > 0).float() * is_known, FINE_STRIDE)
    # Of a cell and its neighbours' nearest pixels: more than one number is an edge.
    most, least = (sign * F.max_pool2d(sign * numbers, 2 * FINE_STRIDE, FINE_STRIDE, 1) for sign in (1, -1))
    edges = (most > least).float()
    # What is not known teaches nothing, but that an object ends where it begins.
    weights = torch.cat(
        [F.avg_pool2d(is_known, FINE_STRIDE), F.max_pool2d(is_known, 2 * FINE_STRIDE, FINE_STRIDE, 1)], dim=1
    )
    seen = F.binary_cross_entropy_with_logits(outlines, torch.cat([objects, edges], dim=1), weights)
    on_object = ~extents.isnan().any(1)
    centres = is_known[:, 0, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    on = F.binary_cross_entropy_with_logits(taken, on_object.float(), centres)
    predicted, true = (x.permute(0, 2, 3, 1)[on_object] for x in (reach, extents))  # (cells, 4)
    return {"seen": seen, "on": on, "reach": reach_loss(predicted, true) if on_object.any() else seen.new_zeros(())}


def reach_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """How wrong ways to the edges of boxes are, (N, 4) pixels from one place in each: distance and IoU (FCOS).

    Each cell counts as one part of its box: otherwise the large ones, of many cells, are all that is learned.
    """
    width, height = (true[:, axis] + true[:, axis + 2] for axis in (0, 1))
    weights = 1 / (width * height).clamp(min=STRIDE**2)  # a box without a cell of its own has one at most
    inside = predicted.clamp(min=0)
    smaller = torch.minimum(inside, true)
    overlap, area = ((each[:, :2] + each[:, 2:]).prod(1) for each in (smaller, inside))
    iou = overlap / (area + width * height - overlap).clamp(min=1)
    sides = torch.stack([width, height], dim=1).repeat(1, 2).clamp(min=1)
    away = F.smooth_l1_loss(predicted / sides, true / sides, beta=0.1, reduction="none").mean(1)
    return (weights * (1 - iou + away)).sum() / weights.sum()
