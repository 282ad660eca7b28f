import numpy as np
import pytest

from groundingdino.editing.crops import MAX_STRETCH, Crop

SHAPES = [(40, 60), (600, 37), (31, 900), (480, 640), (1, 1), (5, 4000)]


def mask_in(shape: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def waves(shape: tuple[int, int]) -> np.ndarray:
    """A smooth picture, so that what scaling costs is small."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    channels = [127 + 120 * np.sin(x / 40), 127 + 120 * np.cos(y / 40), 127 + 120 * np.sin((x + y) / 60)]
    return np.stack(channels, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("whole", [True, False])
def test_a_crop_holds_the_mask_lies_in_the_picture_and_keeps_proportions(shape, whole):
    height, width = shape
    mask = np.ones(shape, bool) if whole else mask_in(shape, width // 2, height // 3, width // 2 + 1, height // 3 + 1)
    crop = Crop.around(mask, 64, 0.5, multiple=8)
    x0, y0, x1, y1 = crop.box
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert mask[crop.window].sum() == mask.sum()
    for length, scaled in zip((x1 - x0, y1 - y0), crop.scaled, strict=True):
        assert abs(scaled - max(1, length * crop.scale)) <= 1
    assert max(crop.scaled) <= MAX_STRETCH * 64 + 1
    assert all(side % 8 == 0 for side in crop.canvas)
    assert crop.cut(np.zeros((*shape, 3), np.uint8)).shape == (crop.canvas[1], crop.canvas[0], 3)


def test_a_square_is_cut_where_the_picture_allows_one_with_context():
    crop = Crop.around(mask_in((300, 400), 100, 100, 200, 150), 128, 0.25)
    assert crop.box == (75, 50, 225, 200)
    assert crop.scaled == crop.canvas == (128, 128)
    moved = Crop.around(mask_in((300, 400), 0, 0, 100, 50), 128, 0.25)
    assert moved.box == (0, 0, 150, 150)


def test_a_tiny_mask_is_seen_with_a_quarter_of_the_working_size():
    crop = Crop.around(mask_in((300, 400), 200, 200, 203, 203), 128, 0.5)
    assert crop.box[2] - crop.box[0] == 32


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_cut_comes_back(shape):
    pixels = waves(shape)
    crop = Crop.around(np.ones(shape, bool), 256, 0.5)
    back = crop.uncut(crop.cut(pixels))
    assert back.shape == pixels[crop.window].shape
    assert np.abs(back.astype(int) - pixels[crop.window]).mean() < (6 if max(shape) > 1000 else 3)


def test_a_mask_on_the_canvas_is_made_of_whole_cells_and_loses_nothing():
    mask = mask_in((300, 400), 101, 101, 103, 250)  # thinner than a cell, and than a pixel of the canvas
    crop = Crop.around(mask, 64, 0.5)
    hole = crop.cut_mask(mask, 8)
    assert hole.shape == crop.canvas[::-1]
    cells = hole.reshape(hole.shape[0] // 8, 8, hole.shape[1] // 8, 8)
    assert (cells.all(axis=(1, 3)) == cells.any(axis=(1, 3))).all()
    shown = crop.uncut(np.repeat(hole[..., None] * np.uint8(255), 3, axis=2))[..., 0]
    assert (shown[mask[crop.window]] > 0).all()


def test_boxes_lie_on_the_canvas_in_shares():
    crop = Crop.around(mask_in((300, 400), 100, 100, 200, 200), 128, 0.5)
    assert crop.box == (50, 50, 250, 250)
    assert crop.box_on_canvas((100, 150, 150, 250)) == pytest.approx((0.25, 0.5, 0.5, 1))
    assert crop.box_on_canvas((0, 0, 400, 300)) == (0, 0, 1, 1)
