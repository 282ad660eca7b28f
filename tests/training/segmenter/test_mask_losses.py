"""Losses on masks, by hand."""

import pytest
import torch

from groundingdino.training.segmenter.mask_losses import (
    BACKGROUND_WEIGHT,
    EDGE_WEIGHT,
    LOSER_WEIGHT,
    WEIGHTS,
    cell_weights,
    dice_loss,
    mask_iou,
    mask_losses,
    object_losses,
    reach_loss,
)


def test_dice_and_iou_by_hand():
    targets = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    logits = torch.tensor([[[[50.0, -50.0, 50.0, -50.0]]]])
    weight = torch.ones(1, 1, 1, 4)
    assert dice_loss(logits, targets, weight).item() == pytest.approx(1 - 3 / 5)
    assert mask_iou(logits, targets).item() == pytest.approx(1 / 3)
    weight[..., 2] = 0  # the wrong pixel is padding
    assert dice_loss(logits, targets, weight).item() == pytest.approx(1 - 3 / 4)


def test_the_first_mask_and_the_best_of_the_others_learn_most():
    target = torch.zeros(1, 8, 8)
    target[:, :4] = 1
    logits = torch.zeros(1, 4, 8, 8)
    logits[:, 2] = target * 2 - 1  # nearest to the truth
    logits.requires_grad_()
    qualities = torch.full((1, 4), 0.5, requires_grad=True)
    losses = mask_losses(logits, qualities, target, torch.ones(1, 8, 8, dtype=torch.bool))
    assert set(losses) == {"cross_entropy", "dice", "iou"}
    assert losses["iou"].item() == pytest.approx(
        WEIGHTS.iou * (3 * 0.25 + 0.25)
    )  # three empty masks, and one that is right
    torch.stack(list(losses.values())).sum().backward()
    taught = logits.grad.abs().sum((2, 3))[0]
    assert taught[1] == taught[3] == pytest.approx(LOSER_WEIGHT * taught[0].item())  # alike, but not the best
    assert taught[2] > taught[1]
    assert (qualities.grad != 0).all()


def test_padding_teaches_nothing():
    target = torch.zeros(1, 4, 4)
    inside = torch.ones(1, 4, 4, dtype=torch.bool)
    inside[:, :, 2:] = False
    logits = torch.randn(1, 4, 4, 4, requires_grad=True)
    losses = mask_losses(logits, torch.zeros(1, 4), target, inside)
    (losses["cross_entropy"] + losses["dice"]).backward()
    assert (logits.grad[..., 2:] == 0).all()
    assert (logits.grad[:, 0, :, :2] != 0).all()


def test_cells_count_by_where_they_are():
    targets = torch.zeros(1, 12, 20)
    targets[0, 4:8, 4:10] = 1
    inside = torch.ones(1, 12, 20, dtype=torch.bool)
    inside[:, 11] = False
    weights = cell_weights(targets, inside)[0]
    assert weights[2, 1] == weights[9, 12] == 1  # in a box twice as wide and high
    assert weights[1, 1] == weights[2, 13] == pytest.approx(BACKGROUND_WEIGHT)
    assert weights[4, 4] == weights[3, 4] == 1 + EDGE_WEIGHT  # both sides of the edge
    assert weights[5, 6] == 1
    assert not weights[11].any()


def test_what_is_far_counts_no_more_than_what_is_near():
    targets, inside = torch.zeros(1, 100, 100), torch.ones(1, 100, 100, dtype=torch.bool)
    targets[0, 40:44, 40:44] = 1
    weights = cell_weights(targets, inside)[0]
    near = weights[38:46, 38:46]
    assert weights.sum() - near.sum() == pytest.approx(near.numel(), rel=1e-4)


def test_what_is_seen_without_a_prompt():
    owners = torch.zeros(1, 16, 32, dtype=torch.uint8)
    owners[:, :, 8:16], owners[:, :, 16:24] = 1, 2
    extents = torch.full((1, 4, 2, 4), torch.nan)
    extents[:, :, 0, 1] = torch.tensor([4.0, 4.0, 4.0, 12.0])
    outlines = torch.tensor([9.0, -9.0])[None, :, None, None].expand(1, 2, 8, 16)  # all is object, nowhere an edge
    taken = torch.zeros(1, 2, 4)
    reach = torch.tensor([4.0, 4.0, 4.0, 12.0])[None, :, None, None].expand(1, 4, 2, 4)
    losses = object_losses(outlines, taken, reach, owners, extents)
    # Half of the 16 cells of a row are background, and 3 edges (8, 16, 24) have a cell on each side: 9 / 2 each.
    assert losses["seen"].item() == pytest.approx((9 * 8 / 16 + 9 * 6 / 16) / 2, abs=0.01)
    assert losses["on"].item() == pytest.approx(0.6931, abs=1e-4)
    assert losses["reach"].item() == pytest.approx(0)
    taken[0, 0, 1] = 9
    losses = object_losses(outlines, taken, reach, owners, extents)
    assert losses["on"].item() == pytest.approx(0.6931 * 7 / 8, abs=1e-3)
    assert object_losses(outlines, taken, reach, owners, torch.full_like(extents, torch.nan))["reach"] == 0


def test_boxes_are_wrong_by_distance_and_overlap():
    true = torch.tensor([[10.0, 20, 10, 20]])
    shorter = torch.tensor([[10.0, 20, 10, 0]])  # half of the box; the smooth distance of a half of a side
    assert reach_loss(shorter, true).item() == pytest.approx(0.5 + (0.5 - 0.05) / 4)
    beyond = torch.tensor([[10.0, 20, 10, -20]])  # no box at all, but the way back is known
    assert reach_loss(beyond, true).item() == pytest.approx(0.5 + (1 - 0.05) / 4)


def test_large_boxes_count_no_more_than_small_ones_of_fewer_cells():
    true = torch.tensor([[10.0, 10, 10, 10], [40, 40, 40, 40]])
    small, large = true.clone(), true.clone()
    small[0] /= 2
    large[1] /= 2
    assert reach_loss(small, true).item() == pytest.approx(16 * reach_loss(large, true).item())
