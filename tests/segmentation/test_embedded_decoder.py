"""How the embedded segmenter draws masks, and what corrects them."""

import math

import torch
from torch import nn

from groundingdino.segmentation.embedded_decoder import ColourModel, MaskJudge
from groundingdino.segmentation.embedded_encoder import DIM, FINE_DIM
from groundingdino.segmentation.embedded_sam import build_embedded_sam


def test_colours_tell_thin_parts_from_what_is_between_them():
    """A red grid on blue, and a mask that is a blot over half of it; what lies far away, also red, says nothing."""
    torch.manual_seed(0)
    red, blue = (torch.tensor(colour)[:, None, None] for colour in ([2.0, -1, -1], [-1.0, -1, 2]))
    grid = torch.zeros(64, 96, dtype=torch.bool)
    grid[8:40:8, 8:40] = grid[8:40, 8:40:8] = grid[:, 90:] = True
    colours = torch.where(grid, red, blue)[None]
    logits = torch.full((1, 4, 64, 96), -2.0)
    logits[..., 8:40, 8:24] = 2
    shown = torch.ones(1, 64, 96, dtype=torch.bool)
    model = ColourModel(masks=4)
    fine = torch.zeros(1, FINE_DIM, 64, 96)
    with torch.no_grad():
        bins = model.palette(torch.cat([fine, colours], dim=1)).softmax(1)[0].flatten(1)
        likelier = model.likelier(logits, bins, shown)
        assert likelier.shape == logits.shape
        assert (likelier[..., grid] > likelier[..., ~grid].max() + 0.1).all()
        shown[:, 48:] = False  # padding, whatever it looks like
        padded = model.likelier(logits, bins, shown)[..., :48, :]
        bins[:, 48 * 96 :] = bins[:, grid.flatten()][:, :1]
        torch.testing.assert_close(model.likelier(logits, bins, shown)[..., :48, :], padded)
        assert not torch.allclose(model.likelier(logits, bins, shown | True)[..., :48, :], padded)
        corrected, told = model(logits, fine, fine, colours, [1])
        torch.testing.assert_close(corrected, logits)  # a fresh one corrects nothing
        assert (told[..., grid] > told[..., ~grid].max() + 0.1).all()
        model.correct.weight.normal_()
        assert not torch.allclose(model(logits, fine, fine, colours, [1])[0], logits)


def test_the_judge_looks_at_each_mask_and_corrects_nothing_when_fresh():
    torch.manual_seed(0)
    judge = MaskJudge()
    logits, told, embedding = torch.randn(2, 4, 64, 96), torch.randn(2, 4, 64, 96), torch.randn(2, DIM, 16, 24)
    logits.requires_grad_()
    assert not judge(*judge.look(logits, told, embedding)).any()
    for parameter in judge.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    before = judge(*judge.look(logits, told, embedding))
    assert before.shape == (2, 4)
    before.sum().backward()
    assert logits.grad is None
    assert all(parameter.grad.any() for parameter in judge.parameters())
    for changed in (logits, told):
        other = changed.detach().clone()
        other[0, 1] /= 10
        after = judge(*judge.look(*(other if each is changed else each for each in (logits, told, embedding))))
        assert (after != before).tolist() == [[False, True, False, False], [False] * 4]
    other = embedding.clone()
    other[1, 0, 3, 3] += 10
    assert (judge(*judge.look(logits, told, other)) != before).tolist() == [[False] * 4, [True] * 4]


def test_the_judge_sees_where_a_mask_is():
    """Means inside are those of the cells inside; a mask that is sure has no border."""
    embedding = torch.zeros(1, DIM, 16, 24)
    embedding[:, 0, 4:8, 4:8] = 1
    logits = torch.full((1, 2, 64, 96), -30.0)
    logits[:, 0, 16:32, 16:32] = 30
    logits[:, 1, 16:32, 32:48] = 30  # next to it
    told = torch.where(logits > 0, 2.0, -1.0)
    seen, measured = MaskJudge().look(logits, told, embedding)
    inside, border, beside = seen[0, :, ::DIM].unbind(1)
    torch.testing.assert_close(inside, torch.tensor([1.0, 0]))
    torch.testing.assert_close(border, torch.zeros(2))
    torch.testing.assert_close(beside, torch.tensor([0, 4 / 20]))
    torch.testing.assert_close(measured[0, 0], torch.tensor([math.log(1.256), 0, 2, -1]))


def test_masks_follow_the_fine_map():
    torch.manual_seed(0)
    model = build_embedded_sam(96).eval()
    features = torch.randn(1, DIM + 16 * (FINE_DIM + 3), 12, 12)
    sparse, dense = model.prompt_encoder(points=None, boxes=torch.tensor([[9.0, 9, 50, 50]]), masks=None)
    places = model.prompt_encoder.get_dense_pe()
    with torch.no_grad():
        before, _ = model.mask_decoder.predict_masks(features, places, sparse, dense)
        features[:, DIM:, 3, 5] += 3  # 4 x 4 cells of the fine map
        after, _ = model.mask_decoder.predict_masks(features, places, sparse, dense)
    rows, columns = (after != before).any(1)[0].nonzero().unbind(1)
    assert (rows.unique().tolist(), columns.unique().tolist()) == ([12, 13, 14, 15], [20, 21, 22, 23])
