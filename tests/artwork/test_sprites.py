import colorsys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from groundingdino.artwork.drawings import Artwork
from groundingdino.artwork.names import COLOURS
from groundingdino.artwork.sprites import COLOUR_RANGES, Pose, fit, tint, warp


@pytest.fixture(scope="module")
def car():
    return Artwork(("noto",), 96).sprite("noto", "1f697")


def bar():
    """20 x 10 pixels, its left half red, its right half blue."""
    picture = Image.new("RGBA", (20, 10), (0, 0, 255, 255))
    ImageDraw.Draw(picture).rectangle((0, 0, 9, 9), fill=(255, 0, 0, 255))
    return picture


def test_every_colour_word_has_a_range():
    assert set(COLOUR_RANGES) == set(COLOURS)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_tinted_car_has_the_colour(car, colour):
    """The median of its paint lies in the range of the word, the wheels stay as they were."""
    pixels = np.asarray(tint(car, colour, np.random.default_rng(0)))
    before = np.asarray(car)
    red, green, blue = (before[..., channel].astype(int) for channel in range(3))
    paint = (red > 150) & (green < 90) & (blue < 90) & (before[..., 3] > 200)
    hue, saturation, value = colorsys.rgb_to_hsv(*(np.median(pixels[paint][:, :3], axis=0) / 255))
    hues, saturations, values = COLOUR_RANGES[colour]
    assert (saturation < 0.2) == (saturations[1] < 0.2)
    if saturations[1] > 0.2:
        assert min((hue * 360 - hues[0]) % 360, (hues[1] - hue * 360) % 360) < hues[1] - hues[0] + 4
    assert values[0] - 0.15 < value <= min(1, values[1] + 0.15)
    assert np.array_equal(pixels[..., 3], before[..., 3])
    wheels = (np.ptp(before[..., :3], axis=-1) < 10) & (before[..., 3] > 200)
    assert wheels.sum() > 100
    assert np.median(np.abs(pixels[wheels].astype(int) - before[wheels])) <= 2


def test_fit_only_makes_smaller(car):
    assert max(fit(car, 24).size) == 24
    assert fit(car, 200) is car


def test_warp_turns_counter_clockwise():
    picture = warp(bar(), Pose(size=20, angle=90))
    assert picture.size == (10, 20)
    assert picture.getpixel((5, 16))[:3] == (255, 0, 0)
    assert picture.getpixel((5, 3))[:3] == (0, 0, 255)


def test_warp_mirrors_and_scales():
    picture = warp(bar(), Pose(size=40, mirror=True))
    assert picture.size == (40, 20)
    assert picture.getpixel((33, 10))[:3] == (255, 0, 0)


def test_warp_stretches():
    assert warp(bar(), Pose(size=20, stretch=4.0)).size == (40, 5)
