"""How the embedded segmenter draws masks, and what corrects them."""

import torch
from torch import nn

from groundingdino.embedded_decoder import ColourModel, MaskJudge, MaskRefiner
from groundingdino.embedded_encoder import DIM, FINE_DIM
from groundingdino.embedded_sam import build_embedded_sam


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


def test_the_refiner_looks_far_around_and_corrects_nothing_when_fresh():
    torch.manual_seed(0)
    refiner = MaskRefiner(masks=4)
    logits, told, image = (torch.randn(2, channels, 64, 96) for channels in (4, 4, FINE_DIM))
    embedding = torch.randn(2, DIM, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(refiner(logits, told, image, embedding)[0], logits)
        for parameter in refiner.parameters():
            parameter.normal_(0, 0.1)
        before, _ = refiner(logits, told, image, embedding)
        for changed in (told, image, embedding):
            changed[0, 0, 3, 3] += 10
            after, _ = refiner(logits, told, image, embedding)
            moved = (after != before).any(1)
            assert moved[0, :48, :48].any()
            assert not moved[1].any()  # another prompt's
            before = after
        assert moved[0, 40:].any()  # by a cell of the embedding seven cells away


def test_the_judge_looks_at_each_mask_and_corrects_nothing_when_fresh():
    torch.manual_seed(0)
    judge = MaskJudge()
    logits, seen = torch.randn(2, 4, 64, 96, requires_grad=True), torch.randn(2, MaskRefiner.SEEN, 16, 24)
    assert not judge(logits, seen).any()
    for parameter in judge.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    before = judge(logits, seen)
    assert before.shape == (2, 4)
    assert torch.autograd.grad(before.sum(), logits, allow_unused=True, retain_graph=True) == (None,)
    changed = logits.detach().clone()
    changed[0, 1] /= 10  # as sure of nothing
    assert (judge(changed, seen) != before).tolist() == [[False, True, False, False], [False] * 4]
    moved = seen.clone()
    moved[1, 0, 3, 3] += 10
    assert (judge(logits, moved) != before).tolist() == [[False] * 4, [True] * 4]
    before.sum().backward()
    assert judge.read.weight.grad.any()


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
