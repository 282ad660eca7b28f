import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as F

from groundingdino.model.preprocessing import MIN_SCALED_SIDE, collate, preprocess, scaled_size


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), (1066, 800)),
        ((480, 640), (800, 1066)),
        ((800, 800), (800, 800)),
        ((100, 100), (800, 800)),
        ((2000, 500), (1332, 333)),  # the long side rules: 333.25 is rounded, then 333 * 4
        ((500, 2000), (333, 1332)),
        ((1333, 800), (1333, 800)),
        ((1, 1), (800, 800)),
    ],
)
def test_size_rule_is_the_published_one(size, expected):
    assert scaled_size(*size, 800, 1333) == expected


@pytest.mark.parametrize("size", [(61, 47), (47, 61), (300, 20)])
def test_preprocess_equals_torchvision(size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    width, height = scaled_size(*size, 96, 160)
    expected = F.to_tensor(F.resize(image, [height, width]))
    expected = F.normalize(expected, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    result = preprocess(image, 96, 160)
    assert result.shape == (3, height, width)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected)


def test_extreme_shapes_are_refused_where_nothing_is_left():
    widest = 1333 // MIN_SCALED_SIDE
    assert min(preprocess(Image.new("RGB", (widest * 10, 10)), 800, 1333).shape[1:]) == MIN_SCALED_SIDE
    with pytest.raises(ValueError, match=r"3 across; crop it to at most 166 : 1"):
        preprocess(Image.new("RGB", (5000, 10)), 800, 1333)


@pytest.mark.parametrize("size", [(1, 50_000), (50_000, 1), (1, 2000), (20_000, 10)])
def test_pictures_of_a_single_line_are_too_narrow(size):
    with pytest.raises(ValueError, match=rf"too narrow: scaled to 1333 pixels, its {size[0]} x {size[1]} pixels leave"):
        preprocess(Image.new("RGB", size), 800, 1333)


@pytest.mark.parametrize("sides", [(-5, 1333), (0, 1333), (7, 1333), (800, -1), (10**6, 10**6), (800, float("nan"))])
def test_a_side_to_scale_to_has_a_range(sides):
    for scale in (lambda: scaled_size(640, 480, *sides), lambda: preprocess(Image.new("RGB", (40, 30)), *sides)):
        with pytest.raises(ValueError, match="A side to scale to must be from 8 to 8000 pixels, not "):
            scale()


def test_collate_pads_at_the_right_and_the_bottom():
    tall, wide = torch.full((3, 4, 2), 1.0), torch.full((3, 2, 5), 2.0)
    pixels, padding_mask = collate([tall, wide])
    assert pixels.shape == (2, 3, 4, 5)
    assert padding_mask.dtype == torch.bool
    torch.testing.assert_close(pixels[0, :, :, :2], tall)
    torch.testing.assert_close(pixels[1, :, :2, :], wide)
    assert padding_mask.tolist()[0] == [[False, False, True, True, True]] * 4
    assert padding_mask.tolist()[1] == [[False] * 5] * 2 + [[True] * 5] * 2
    assert pixels[padding_mask[:, None].expand_as(pixels)].abs().max() == 0
