"""How the embedded segmenter draws masks, and what corrects them."""

import torch

from groundingdino.segmentation.embedded_decoder import ColourModel
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
        torch.testing.assert_close(model(logits, fine, fine, colours, [1]), logits)  # a fresh one corrects nothing
        model.correct.weight.normal_()
        assert not torch.allclose(model(logits, fine, fine, colours, [1]), logits)


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
