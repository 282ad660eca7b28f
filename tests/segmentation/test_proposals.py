"""Boxes read off an embedding, by a head that is told what to say."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from groundingdino.segmentation.masks import compact, join
from groundingdino.segmentation.proposals import ObjectCells

INPUT = (80, 128)  # (height, width) of the picture in a square of 128
LEFT, RIGHT = (8, 16, 40, 48), (56, 8, 120, 72)


def encoder(*boxes: tuple[float, ...], noise: float = 0.0) -> SimpleNamespace:
    """Its cells know the boxes exactly, or nearly."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(8 * torch.arange(16) + 4.0, 8 * torch.arange(16) + 4.0, indexing="ij")
    taken, reach = torch.full((1, 16, 16), -5.0), torch.zeros(1, 4, 16, 16)
    for left, top, right, bottom in boxes:
        inside = (x > left) & (x < right) & (y > top) & (y < bottom)
        taken[0, inside] = 5
        reach[0, :, inside] = torch.stack([x - left, y - top, right - x, bottom - y])[:, inside]
    reach += noise * torch.randn_like(reach)
    return SimpleNamespace(objects=lambda _: (torch.zeros(1, 2, 64, 64), taken, reach))


def ask(told: SimpleNamespace, points_per_side: int = 64) -> list[list[float]]:
    return sorted(read(told).propose(points_per_side).tolist())


def read(told: Any) -> ObjectCells:
    return ObjectCells.read(told, torch.zeros(1, 1, 16, 16), INPUT)


def test_cells_that_agree_propose_an_object_once():
    assert ask(encoder(LEFT, RIGHT)) == [list(LEFT), list(RIGHT)]


def test_a_proposal_is_the_mean_of_those_that_agree():
    left, right = ask(encoder(LEFT, RIGHT, noise=1.0))
    assert left == pytest.approx(LEFT, abs=1)
    assert right == pytest.approx(RIGHT, abs=1)


def test_a_cell_alone_proposes_what_it_lies_on():
    assert ask(encoder((64, 40, 72, 48))) == [[64, 40, 72, 48]]


def test_boxes_end_where_the_picture_does():
    assert ask(encoder((96, 48, 200, 200))) == [[96, 48, 128, 80]]


def test_fewer_cells_can_be_asked():
    assert ask(encoder(LEFT, RIGHT), points_per_side=4) == [list(LEFT), list(RIGHT)]
    assert ask(encoder(LEFT, RIGHT), points_per_side=1) == [list(RIGHT)]  # at the middle of the picture


def test_nothing_is_proposed_where_nothing_is():
    assert read(encoder()).propose(64).shape == (0, 4)


def test_cells_know_objects_from_parts_and_from_several():
    """On a picture twice as large as the model sees it; a mask between the cells' centres is nobody's."""
    size = (2 * INPUT[1], 2 * INPUT[0])
    whole, part, both, tiny = (np.zeros(size[::-1], bool) for _ in range(4))
    for mask, (left, top, right, bottom) in ((whole, LEFT), (both, LEFT), (both, RIGHT), (part, (8, 16, 40, 32))):
        mask[2 * top : 2 * bottom, 2 * left : 2 * right] = True
    tiny[2 * 17 : 2 * 19, 2 * 9 : 2 * 11] = True
    agreement = read(encoder(LEFT, RIGHT)).agreement(join(map(compact, (whole, part, both, tiny)), size))
    left, right = (4 * 4, 8 * 8)  # cells
    assert agreement == pytest.approx([1, 0.5, (left * 32 * 32 + right * 64 * 64) / (left + right) / (112 * 64), 0])
