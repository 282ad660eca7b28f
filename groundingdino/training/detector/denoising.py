"""Noisy queries: true boxes, shaken, for the decoder to settle or to refuse (DINO, arXiv 2203.03605, section 3.3)."""

from typing import NamedTuple

import torch
from torch import Tensor

from groundingdino.model.layers import logit
from groundingdino.model.query_selection import Queries
from groundingdino.training.detector.matcher import Match
from groundingdino.training.detector.targets import Target


class NoisyQueries(NamedTuple):
    """Extra queries to put before the selected ones."""

    queries: Queries  # content (B, N, C), box_logits (B, N, 4)
    match: Match  # the shaken boxes that must come back to their object; all others must score nothing
    groups: int
    group_size: int


def noisy_queries(
    targets: list[Target], content: Tensor, groups: int, generator: torch.Generator | None = None
) -> NoisyQueries | None:
    """Queries for each group: every object's box shaken a little (to be settled) and more (to be refused).

    Args:
        targets: Of each picture; None comes back where no picture has an object.
        content: (Q, C), the learned contents of the model's queries. Noisy queries take theirs in turn from it, so that
            they differ from selected ones only by where they start.
        groups: How many times; a group sees itself only.
    """
    most = max(len(target.boxes) for target in targets)
    if most == 0:
        return None
    device, batch = content.device, len(targets)
    size = 2 * most  # settled ones first, refused ones after them
    # Pictures with fewer objects are filled up with nothing in the corner: elsewhere it could be where an object is.
    boxes = torch.zeros(batch, groups, 2, most, 4, device=device)
    for picture, target in enumerate(targets):
        boxes[picture, :, :, : len(target.boxes)] = target.boxes
    shape = (batch, groups, 2, most, 4)
    sign = torch.randint(0, 2, shape, generator=generator).to(device) * 2 - 1
    strength = torch.rand(shape, generator=generator).to(device)
    strength[:, :, 1] += 1  # refused boxes are 1 to 2 times as far off as the worst settled one
    reach = boxes[..., [2, 3, 2, 3]] * 0.25
    boxes = (boxes + sign * strength * reach).clamp(0, 1).view(batch, groups * size, 4)
    match = [
        torch.stack(
            [
                torch.full((count,), picture),
                torch.arange(count) + group * size,
                torch.arange(count),
            ]
        )
        for picture, count in enumerate(len(target.boxes) for target in targets)
        for group in range(groups)
    ]
    order = torch.randperm(len(content), generator=generator).to(device)
    index = order[torch.arange(groups * size, device=device) % len(content)]
    queries = Queries(content[index].expand(batch, -1, -1), logit(boxes, 1e-3))
    return NoisyQueries(queries, Match(*torch.cat(match, dim=1).to(device)), groups, size)


def attention_blocks(noisy: NoisyQueries, num_queries: int) -> Tensor:
    """(N + Q, N + Q) bool, True where the row's query must not see the column's.

    Selected queries see no noisy one, which would tell them the answer; a group sees itself and nothing else.
    """
    count = noisy.groups * noisy.group_size
    group = torch.arange(count + num_queries, device=noisy.queries.box_logits.device) // noisy.group_size
    group[count:] = -1
    return group[:, None] != group[None, :]
