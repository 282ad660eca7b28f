"""Which prediction answers for which object: one to one for queries, many to one for image tokens."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import box_convert, generalized_box_iou

from groundingdino.training.detector.targets import Target

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


class _Objects(NamedTuple):
    """The objects of a batch; pictures with fewer are filled up with boxes without a size."""

    boxes: Tensor  # (B, N, 4), cxcywh in [0, 1]
    shares: Tensor  # (B, N, T), tokens of an object sum to one


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
CANDIDATES = 4  # image tokens for each object


@torch.no_grad()
def hungarian_match(logits: Tensor, boxes: Tensor, targets: list[Target]) -> Match:
    """The one-to-one matching of least cost (DETR, arXiv 2005.12872, section 3.1), each picture for itself.

    Args:
        logits: (B, Q, T), -inf on text padding.
        boxes: (B, Q, 4), cxcywh in [0, 1].
    """
    objects = _objects(targets)
    cost = WEIGHTS.score * _score_cost(logits.float(), objects.shares)
    cost = cost + WEIGHTS.l1 * torch.cdist(boxes, objects.boxes, p=1)
    cost = cost - WEIGHTS.giou * _giou(boxes, objects.boxes)
    pairs = []
    for picture, (own, target) in enumerate(zip(cost.cpu().numpy(), targets, strict=True)):
        rows, columns = linear_sum_assignment(own[:, : len(target.boxes)])
        pairs.append(np.stack([np.full_like(rows, picture), rows, columns]))
    return Match(*torch.from_numpy(np.concatenate(pairs, axis=1)).to(logits.device))


def _objects(targets: list[Target]) -> _Objects:
    tokens = pad_sequence([target.tokens.float() for target in targets], batch_first=True)
    boxes = pad_sequence([target.boxes for target in targets], batch_first=True)
    return _Objects(boxes, tokens / tokens.sum(2, keepdim=True).clamp(min=1))


def _giou(boxes: Tensor, objects: Tensor) -> Tensor:
    """(B, Q, N) of boxes (B, Q, 4) with objects (B, N, 4), all cxcywh."""
    return torch.vmap(generalized_box_iou)(_xyxy(boxes), _xyxy(objects))


def _score_cost(logits: Tensor, shares: Tensor) -> Tensor:
    """(B, Q, N): what calling each query by each object's tokens changes in the focal loss, mean over the tokens."""
    logits = logits.clamp(min=-30)  # text padding is -inf, and 0 * inf is not a cost
    probability = logits.sigmoid()
    negative = (1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA * torch.nn.functional.softplus(logits)
    positive = FOCAL_ALPHA * (1 - probability) ** FOCAL_GAMMA * torch.nn.functional.softplus(-logits)
    return (positive - negative) @ shares.transpose(1, 2)


@torch.no_grad()
def dense_match(logits: Tensor, boxes: Tensor, targets: list[Target]) -> tuple[Match, Tensor]:
    """Up to `CANDIDATES` image tokens for each object: task-aligned assignment (TOOD, arXiv 2108.07755, section 3.2).

    Candidates are the tokens whose proposed box has its centre in the object, ranked by score^0.5 * fit^4, where the
    published IoU is (GIoU + 1) / 2, which never lacks a slope; one that serves two objects goes to where it ranks
    higher.

    Args:
        logits: (B, S, T), -inf on text padding.
        boxes: (B, S, 4), cxcywh in [0, 1].

    Returns:
        The pairs, and for each its quality in (0, 1]: the alignment, scaled so that an object's best token has the fit
        it reaches.
    """
    objects = _objects(targets)
    if objects.boxes.shape[1] == 0:
        empty = torch.zeros(0, dtype=torch.long, device=logits.device)
        return Match(empty, empty, empty), torch.zeros(0, device=logits.device)
    score = logits.float().clamp(min=-30).sigmoid() @ objects.shares.transpose(1, 2)  # (B, S, N)
    fit = (_giou(boxes, objects.boxes) + 1) / 2  # in (0, 1]
    offset = (boxes[:, :, None, :2] - objects.boxes[:, None, :, :2]).abs()
    inside = (offset < objects.boxes[:, None, :, 2:] / 2).all(-1)  # never in what fills up
    alignment = torch.where(inside, score.sqrt() * fit**4, 0)
    best = alignment.topk(min(CANDIDATES, alignment.shape[1]), dim=1)
    chosen = torch.zeros_like(alignment).scatter(1, best.indices, best.values)
    chosen = chosen * (chosen == chosen.amax(2, keepdim=True))
    match = Match(*chosen.nonzero(as_tuple=True))
    alignment = chosen / chosen.amax(1, keepdim=True).clamp(min=1e-9)
    quality = alignment * (fit * (chosen > 0)).amax(1, keepdim=True)
    return match, quality[match]


def _xyxy(boxes: Tensor) -> Tensor:
    return box_convert(boxes, "cxcywh", "xyxy")
