import numpy as np
from PIL import Image

from groundingdino.editing.backgrounds import lay_behind, make_transparent
from groundingdino.editing.tasks import ColorBackground, PictureBackground

TEAL, RED = (0, 128, 128), (255, 0, 0)
ALPHA = np.zeros((20, 30), np.uint8)
ALPHA[:, 20:] = 255
ALPHA[:, 19] = 128


def plain(color: tuple[int, ...]) -> np.ndarray:
    return np.full((20, 30, len(color)), color, np.uint8)


def test_what_is_behind_becomes_transparent_and_is_gone():
    result = make_transparent(plain(TEAL), ALPHA)
    assert result[0, 0].tolist() == [*TEAL, 255]
    assert result[0, 19].tolist() == [*TEAL, 127]
    assert result[0, 29].tolist() == [0, 0, 0, 0]


def test_transparency_that_was_there_stays():
    result = make_transparent(plain((*TEAL, 100)), ALPHA)
    assert result[0, 0].tolist() == [*TEAL, 100]
    assert result[0, 19, 3] == 50
    assert result[0, 29].tolist() == [0, 0, 0, 0]


def test_what_was_transparent_before_keeps_its_colour_outside_the_mask():
    result = make_transparent(plain((*TEAL, 0)), ALPHA)
    assert result[0, 0].tolist() == [*TEAL, 0]
    assert result[0, 19].tolist() == result[0, 29].tolist() == [0, 0, 0, 0]


def test_a_colour_lies_behind():
    result = lay_behind(plain(TEAL), ALPHA, ColorBackground("red"))
    assert result.shape == (20, 30, 3)
    assert result[0, 0].tolist() == [*TEAL]
    assert result[0, 29].tolist() == [*RED]
    assert result[0, 19].tolist() == [128, 64, 64]


def test_a_colour_shows_through_what_is_transparent():
    result = lay_behind(plain((*TEAL, 0)), ALPHA, ColorBackground("red"))
    assert (result == RED).all()


def test_a_picture_lies_behind_scaled_to_cover_and_cropped_around_its_middle():
    picture = Image.new("RGB", (60, 90), "blue")
    picture.paste("lime", (0, 25, 60, 65))  # the 40 of 90 rows that a 3 : 2 crop shows
    result = lay_behind(plain(TEAL), ALPHA, PictureBackground(picture))
    assert result[10, 29].tolist() == [0, 255, 0]
    assert result[3, 29].tolist() == [0, 255, 0]
    assert result[0, 0].tolist() == [*TEAL]
