import colorsys

import numpy as np
import pytest

from groundingdino.artwork.drawings import Artwork
from groundingdino.training.scenes.variation import vary


@pytest.fixture(scope="module")
def car():
    return Artwork(("noto",), 96).sprite("noto", "1f697")


def test_varying_keeps_the_shape_and_differs(car):
    rng = np.random.default_rng(0)
    shape = np.asarray(car)[..., 3] > 127
    pictures = [vary(car, rng, keep_colour=False) for _ in range(30)]
    same_size = [np.asarray(picture) for picture in pictures if picture.size == car.size]
    assert all(((pixels[..., 3] > 127) != shape).mean() < 0.05 for pixels in same_size)
    assert len({picture.tobytes() for picture in pictures}) > 25
    outlined = [picture for picture in pictures if picture.size != car.size]
    assert 0 < len(outlined) < 15


def test_a_named_colour_survives_varying(car):
    """Hue of a red car, over many variations."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        pixels = np.asarray(vary(car, rng, keep_colour=True).convert("RGB").resize((48, 24))).reshape(-1, 3) / 255
        hues = [colorsys.rgb_to_hsv(*rgb) for rgb in pixels]
        vivid = [hue for hue, saturation, value in hues if saturation > 0.5 and value > 0.4]
        assert np.mean([min(hue, 1 - hue) < 0.05 for hue in vivid]) > 0.8
