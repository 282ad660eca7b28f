"""Examples for a detector that looks for words: what is like one is what some words say the same of.

Measured before it was offered, see docs/models.md. Of the published models nobody has measured it.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torchvision.ops import box_iou

from groundingdino.artwork.names import load_names
from groundingdino.detection.available_models import ModelCard
from groundingdino.detection.examples import Box, Examples

_WORDS = 60  # of those that a model may know, as many as one pass reads
_NEARLY = 0.8  # of the best overlap with an example


class Described(NamedTuple):
    """What the words of `words_of` say of one picture."""

    boxes: Tensor  # (Q, 4) xyxy pixels of it
    scores: Tensor  # (Q, P) of each word, in [0, 1]
    states: Tensor  # (Q, C) the decoder's, of which the scores are made


def words_of(card: ModelCard) -> tuple[str, ...]:
    """Words that tell things apart which the model knows; they need not be true of what is looked for."""
    if card.names:
        return card.names
    names = load_names()
    return tuple(name.name for name in names[:: len(names) // _WORDS][:_WORDS])


def likeness(searched: Described, source: Described, examples: Examples) -> Tensor:
    """How much each box (Q,) of a picture is like the examples in another, or in itself, in [0, 1].

    To several it is the greatest; what is more like an example of what is not to be found is not like the others.
    """
    scores = torch.stack([_to(searched, source, box) for box in examples.like]).amax(0)
    if examples.unlike:
        others = torch.stack([_to(searched, source, box) for box in examples.unlike]).amax(0)
        scores = scores.masked_fill(others > scores, 0)
    return scores


def _to(searched: Described, source: Described, box: Box) -> Tensor:
    """To one example: of which words say the same, alike beyond what all boxes of its picture share, and a thing."""
    query = _query(source, box)
    said = cosine_similarity(searched.scores, source.scores[query][None])
    common = source.states.mean(0)
    states = cosine_similarity(searched.states - common, (source.states[query] - common)[None])
    return said * states.clamp(min=0) * searched.scores.amax(1).sqrt()


def _query(source: Described, box: Box) -> int:
    """Of the queries whose boxes fit an example nearly as well as the best the surest."""
    overlaps = box_iou(source.boxes, source.boxes.new_tensor([box]))[:, 0]
    fitting = overlaps >= _NEARLY * overlaps.amax()
    return int((source.scores.amax(1) * fitting).argmax())
