import numpy as np
import pytest

from groundingdino.training.scenes.backgrounds import _PAINTERS, noise, paint


@pytest.mark.parametrize("size", [(96, 64), (33, 120)])
@pytest.mark.parametrize("painter", dict.fromkeys(_PAINTERS))
def test_every_painter_fills_the_size(painter, size):
    picture = painter(np.random.default_rng(0), *size)
    assert (picture.size, picture.mode) == (size, "RGB")


def test_paint_follows_its_generator():
    pictures = [paint(np.random.default_rng(seed), 64, 48).tobytes() for seed in (1, 1, *range(2, 20))]
    assert pictures[0] == pictures[1]
    assert len(set(pictures)) == 19


def test_noise_uses_the_full_range():
    values = np.asarray(noise(np.random.default_rng(0), 64, 64, 4))
    assert (values.min(), values.max(), values.dtype) == (0, 255, np.uint8)
