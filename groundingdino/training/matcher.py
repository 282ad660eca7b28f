"""Which prediction answers for which object: one to one for queries, many to one for image tokens."""

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou

from groundingdino.training.targets import Target

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


class Match(NamedTuple):
    """Pairs of a prediction and an object over a batch, each (M,) int64."""

    picture: Tensor
    prediction: Tensor
    target: Tensor


class MatchWeights(NamedTuple):
    """Weights of the matching cost's terms, as in the paper's section 4.1."""

    score: float = 2.0
    l1: float = 5.0
    giou: float = 2.0


WEIGHTS = MatchWeights()


@torch.no_grad()
def hungarian_match(logits: Tensor, boxes: Tensor, targets: list[Target], weights: MatchWeights = WEIGHTS) -> Match:
    """The one-to-one matching of least cost (DETR, arXiv 2005.12872, section 3.1), each picture for itself.

    Args:
        logits: (B, Q, T), -inf on text padding.
        boxes: (B, Q, 4), cxcywh in [0, 1].
    """
    pairs = []
    for picture, target in enumerate(targets):
        cost = weights.score * _score_cost(logits[picture].float(), target.tokens)
        cost = cost + weights.l1 * torch.cdist(boxes[picture], target.boxes, p=1)
        cost = cost - weights.giou * generalized_box_iou(_xyxy(boxes[picture]), _xyxy(target.boxes))
        predictions, objects = linear_sum_assignment(cost.cpu().numpy())
        pairs.append(
            torch.stack([torch.full((len(objects),), picture), torch.tensor(predictions), torch.tensor(objects)])
        )
    return Match(*torch.cat(pairs, dim=1).long().to(logits.device))


def _score_cost(logits: Tensor, tokens: Tensor) -> Tensor:
    """(Q, N): what calling each query by each object's tokens changes in the focal loss, mean over the tokens."""
    logits = logits.clamp(min=-30)  # text padding is -inf, and 0 * inf is not a cost
    probability = logits.sigmoid()
    negative = (1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA * torch.nn.functional.softplus(logits)
    positive = FOCAL_ALPHA * (1 - probability) ** FOCAL_GAMMA * torch.nn.functional.softplus(-logits)
    share = tokens.float() / tokens.sum(1, keepdim=True)
    return (positive - negative) @ share.T


@torch.no_grad()
def dense_match(logits: Tensor, boxes: Tensor, targets: list[Target], candidates: int = 4) -> tuple[Match, Tensor]:
    """Up to `candidates` image tokens for each object: task-aligned assignment (TOOD, arXiv 2108.07755, section 3.2).

    Candidates are the tokens whose proposed box has its centre in the object, ranked by score^0.5 * IoU^4; one that
    serves two objects goes to the one it overlaps more.

    Args:
        logits: (B, S, T), -inf on text padding.
        boxes: (B, S, 4), cxcywh in [0, 1].

    Returns:
        The pairs, and for each its quality in (0, 1]: the alignment, scaled so that an object's best token has the IoU
        it reaches.
    """
    matches, qualities = [], []
    for picture, target in enumerate(targets):
        count = len(target.boxes)
        if count == 0:
            continue
        share = target.tokens.float() / target.tokens.sum(1, keepdim=True)
        score = logits[picture].float().clamp(min=-30).sigmoid() @ share.T  # (S, N)
        iou = (
            generalized_box_iou(_xyxy(boxes[picture]), _xyxy(target.boxes)) + 1
        ) / 2  # in (0, 1], never without slope
        offset = (boxes[picture][:, None, :2] - target.boxes[None, :, :2]).abs()
        inside = (offset < target.boxes[None, :, 2:] / 2).all(-1)
        alignment = score.sqrt() * iou**4 * inside
        best = alignment.topk(min(candidates, len(alignment)), dim=0)
        chosen = torch.zeros_like(alignment).scatter(0, best.indices, best.values)  # (S, N)
        chosen = chosen * (chosen == chosen.amax(1, keepdim=True))
        predictions, objects = chosen.nonzero(as_tuple=True)
        alignment = chosen / chosen.amax(0, keepdim=True).clamp(min=1e-9)
        quality = alignment * (iou * (chosen > 0)).amax(0, keepdim=True)
        matches.append(torch.stack([torch.full_like(predictions, picture), predictions, objects]))
        qualities.append(quality[predictions, objects])
    if not matches:
        empty = torch.zeros(0, dtype=torch.long, device=logits.device)
        return Match(empty, empty, empty), torch.zeros(0, device=logits.device)
    return Match(*torch.cat(matches, dim=1)), torch.cat(qualities)


def _xyxy(boxes: Tensor) -> Tensor:
    return box_convert(boxes, "cxcywh", "xyxy")
