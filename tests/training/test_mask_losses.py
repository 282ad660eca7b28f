"""Losses on masks, by hand."""

import pytest
import torch

from groundingdino.training.mask_losses import dice_loss, focal_loss, mask_iou, mask_losses


def test_focal_loss_by_hand():
    logits = torch.zeros(2)
    expected = [0.25 * 0.6931, 0.25**2 * 0.6931]  # |0.5 - t| squared times the cross entropy
    assert focal_loss(logits, torch.tensor([1.0, 0.25])).tolist() == pytest.approx(expected, abs=1e-4)


def test_dice_and_iou_by_hand():
    targets = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    logits = torch.tensor([[[[50.0, -50.0, 50.0, -50.0]]]])
    weight = torch.ones(1, 1, 1, 4)
    assert dice_loss(logits, targets, weight).item() == pytest.approx(1 - 3 / 5)
    assert mask_iou(logits, targets).item() == pytest.approx(1 / 3)
    weight[..., 2] = 0  # the wrong pixel is padding
    assert dice_loss(logits, targets, weight).item() == pytest.approx(1 - 3 / 4)


def test_the_first_mask_and_the_best_of_the_others_learn():
    target = torch.zeros(1, 8, 8)
    target[:, :4] = 1
    logits = torch.zeros(1, 4, 8, 8)
    logits[:, 2] = target * 2 - 1  # nearest to the truth
    logits.requires_grad_()
    qualities = torch.full((1, 4), 0.5, requires_grad=True)
    losses = mask_losses(logits, qualities, target, torch.ones(1, 8, 8, dtype=torch.bool))
    assert set(losses) == {"focal", "dice", "iou"}
    assert losses["iou"].item() == pytest.approx(3 * 0.25 + 0.25)  # three empty masks, and one that is right
    torch.stack(list(losses.values())).sum().backward()
    taught = logits.grad.abs().sum((2, 3))[0] > 0
    assert taught.tolist() == [True, False, True, False]
    assert (qualities.grad != 0).all()


def test_padding_teaches_nothing():
    target = torch.zeros(1, 4, 4)
    inside = torch.ones(1, 4, 4, dtype=torch.bool)
    inside[:, :, 2:] = False
    logits = torch.randn(1, 4, 4, 4, requires_grad=True)
    losses = mask_losses(logits, torch.zeros(1, 4), target, inside)
    (losses["focal"] + losses["dice"]).backward()
    assert (logits.grad[..., 2:] == 0).all()
    assert (logits.grad[:, 0, :, :2] != 0).all()
