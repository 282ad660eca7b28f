"""Losses on token scores and boxes, for every decoder layer and for the proposals of the image tokens."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_convert, box_iou, generalized_box_iou_loss

from groundingdino.model import Output
from groundingdino.training.detector.denoising import NoisyQueries
from groundingdino.training.detector.forward import Predictions
from groundingdino.training.detector.matcher import FOCAL_ALPHA, FOCAL_GAMMA, Match, dense_match, hungarian_match
from groundingdino.training.detector.targets import Batch, Target


class LossWeights(NamedTuple):
    """Weights of the terms; l1 and giou as in the paper's section 4.1."""

    score: float = 1.0
    l1: float = 5.0
    giou: float = 2.0
    proposals: float = 1.0  # of the image tokens' losses, against one decoder layer's
    denoising: float = 0.5  # of the noisy queries' losses, against the same layer's
    naming: float = 1.0


WEIGHTS = LossWeights()


def detection_losses(
    predictions: Predictions, batch: Batch, noisy: NoisyQueries | None, naming: bool = True
) -> dict[str, Tensor]:
    """Weighted terms whose sum is the loss; each name tells its part and kind.

    `naming` is for models that learned to tell names before fusion, as ours did and the published ones did not.

    All terms are means over the objects that the batch's prompts name; where an object has several predictions, as
    among the proposals, over their qualities.
    """
    objects = max(1, sum(len(target.boxes) for target in batch.targets))
    losses: dict[str, Tensor] = {}

    def add(part: str, output: Output, match: Match, quality: Tensor | None, weight: float) -> None:
        terms = matched_losses(output, batch, match, quality)
        count = objects if quality is None else quality.sum().clamp(min=1)
        for kind, term_weight in (("score", WEIGHTS.score), ("l1", WEIGHTS.l1), ("giou", WEIGHTS.giou)):
            losses[f"{part}/{kind}"] = weight * term_weight * terms[kind] / count

    match, quality = dense_match(predictions.proposals.logits, predictions.proposals.boxes, batch.targets)
    add("proposals", predictions.proposals, match, quality, WEIGHTS.proposals)
    if naming:
        losses["naming"] = WEIGHTS.naming * naming_loss(*predictions.naming, batch, match, quality)
    for index, layer in enumerate(predictions.layers):
        add(f"layer{index}", layer, hungarian_match(*layer, batch.targets), None, 1.0)
    for index, layer in enumerate(predictions.noisy_layers if noisy is not None else ()):
        assert noisy is not None
        add(f"denoising{index}", layer, noisy.match, None, WEIGHTS.denoising / noisy.groups)
    return losses


def matched_losses(output: Output, batch: Batch, match: Match, quality: Tensor | None) -> dict[str, Tensor]:
    """Score, L1 and GIoU losses of predictions that were matched, summed over the batch.

    The score's target on an object's tokens is `quality` (M,), or, without it, the IoU that the matched box reaches:
    a score then tells how well a box fits, too, which ranks boxes better than ones (Stable-DINO, arXiv 2304.04742).
    """
    boxes = output.boxes[match.picture, match.prediction]
    target_boxes = _gather(batch.targets, match, "boxes")
    predicted, wanted = (box_convert(b, "cxcywh", "xyxy") for b in (boxes, target_boxes))
    l1 = F.l1_loss(boxes, target_boxes, reduction="none").sum(-1)
    giou = generalized_box_iou_loss(predicted, wanted, reduction="none")
    if quality is None:
        fit = torch.diagonal(box_iou(predicted.detach(), wanted)) if len(boxes) else boxes.new_zeros(0)
        share = torch.ones_like(fit)
    else:
        fit = share = quality
    scores = torch.zeros_like(output.logits)
    scores[match.picture, match.prediction] = fit[:, None] * _gather(batch.targets, match, "tokens").float()
    return {
        "score": varifocal_loss(output.logits, scores, batch.tokens.token_mask),
        "l1": (share * l1).sum(),
        "giou": (share * giou).sum(),
    }


def varifocal_loss(logits: Tensor, targets: Tensor, token_mask: Tensor) -> Tensor:
    """Cross entropy towards soft targets, easy negatives weighed down (VarifocalNet, arXiv 2008.13367), summed.

    Positives keep their full weight: with the focal factor on them a fresh model learns to score every word alike.

    Args:
        logits: (B, N, T), -inf on text padding.
        targets: (B, N, T) in [0, 1], above 0 where a token is true of a box.
        token_mask: (B, T) bool, True on real tokens; padding counts nothing.
    """
    logits = logits.masked_fill(~token_mask[:, None], 0)  # -inf would leave NaN behind
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    negative = (1 - FOCAL_ALPHA) * logits.detach().sigmoid() ** FOCAL_GAMMA
    return (torch.where(targets > 0, targets, negative) * cross_entropy * token_mask[:, None]).sum()


def naming_loss(image: Tensor, text: Tensor, batch: Batch, match: Match, quality: Tensor) -> Tensor:
    """Each matched image token must tell its phrase from all other phrases of the batch.

    The score losses compare it with its own prompt's phrases only, few of which are hard; the whole batch's teach names
    several times faster. Equal phrases of several pictures count as one, and those that may be true as well not at all.
    Meaningful before fusion only, while a phrase means the same in every picture.

    Args:
        image: (B, S, C) features of image tokens.
        text: (B, T, C) features of text tokens.
        match, quality: of `dense_match`.
    """
    numbers: dict[str, int] = {}
    for prompt in batch.prompts:
        for phrase in prompt:
            numbers.setdefault(phrase, len(numbers))
    shares = torch.zeros(len(numbers), *text.shape[:2])  # of each text token in each phrase
    for picture, (prompt, tokens) in enumerate(zip(batch.prompts, batch.phrase_tokens, strict=True)):
        index = [numbers[phrase] for phrase in prompt]
        shares[index] = 0  # the last picture's stand for all
        shares[index, picture] = tokens / tokens.sum(1, keepdim=True)
    # Autocast may have left the two sides in different precisions.
    features = shares.flatten(1).to(image) @ text.flatten(0, 1).to(image.dtype)
    logits = (image[match.picture, match.prediction] @ features.T).float()
    phrases = _gather(batch.targets, match, "phrases").tolist()
    named = [numbers[batch.prompts[p][phrase]] for p, phrase in zip(match.picture.tolist(), phrases, strict=True)]
    wanted = torch.tensor(named, dtype=torch.long, device=text.device)
    others = torch.cat([_rows(target.others, numbers) for target in batch.targets]).to(text.device)
    true_too = others[_places(batch.targets, match)]
    true_too[torch.arange(len(wanted)), wanted] = False
    errors = F.cross_entropy(logits.masked_fill(true_too, -torch.inf), wanted, reduction="none")
    return (quality * errors).sum() / quality.sum().clamp(min=1)


def _rows(others: list[frozenset[str]], numbers: dict[str, int]) -> Tensor:
    """(N, phrases) bool, True where a phrase is among the others."""
    rows = torch.zeros(len(others), len(numbers), dtype=torch.bool)
    for row, texts in zip(rows, others, strict=True):
        row[[numbers[text] for text in texts]] = True
    return rows


def _gather(targets: list[Target], match: Match, field: str) -> Tensor:
    """The matched objects' boxes, tokens or phrases."""
    return torch.cat([getattr(target, field) for target in targets])[_places(targets, match)]


def _places(targets: list[Target], match: Match) -> Tensor:
    """The place of each match's object among those of all pictures."""
    offsets = torch.tensor([0] + [len(target.boxes) for target in targets]).cumsum(0)[:-1]
    return offsets.to(match.picture.device)[match.picture] + match.target
