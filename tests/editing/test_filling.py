import numpy as np
import pytest

from groundingdino.editing import filling
from groundingdino.editing.filling import fill, fill_hole

MAGENTA = (255, 0, 255)
COLORS = np.array([[40, 90, 60], [210, 190, 240]], np.uint8)  # of a checker board


def checker(width: int, height: int, cell: int = 12) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return COLORS[1 - (x // cell + y // cell) % 2]


def gradient(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, np.full(x.shape, 100)], axis=-1).astype(np.uint8)


def grass(width: int, height: int) -> np.ndarray:
    grey = np.random.default_rng(0).integers(40, 180, (height, width, 1))
    return np.concatenate([grey // 2, grey, grey // 3], axis=-1).astype(np.uint8)


def hole_in(width: int, height: int) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[height // 3 : height // 2, width // 3 : width // 2] = True
    return hole


def with_hole(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    pixels = pixels.copy()
    pixels[hole] = MAGENTA
    return pixels


@pytest.mark.parametrize("size", [(60, 40), (2000, 90), (700, 500)])
def test_a_gradient_goes_on(size):
    truth, hole = gradient(*size), hole_in(*size)
    crop, filled = fill(with_hole(truth, hole), hole, hole * np.uint8(255))
    inside = hole[crop.window]
    error = np.abs(filled[inside].astype(int) - truth[crop.window][inside])
    assert error.mean() < 6
    np.testing.assert_array_equal(filled[~inside], truth[crop.window][~inside])


def test_a_pattern_goes_on_which_colours_alone_would_not():
    truth, hole = checker(240, 180), hole_in(240, 180)
    hidden = with_hole(truth, hole)
    error = np.abs(fill_hole(hidden, hole)[hole].astype(int) - truth[hole]).mean()
    smooth = np.abs(filling.continued(hidden, hole)[hole].astype(int) - truth[hole]).mean()
    assert error < 12
    assert smooth > 3 * error


def test_what_is_busy_stays_busy():
    truth, hole = grass(160, 120), hole_in(160, 120)
    filled = fill_hole(with_hole(truth, hole), hole)
    assert filled[hole].std() > 0.7 * truth[hole].std()


def test_nothing_of_what_was_in_the_hole_is_left_at_the_edge_of_the_picture():
    truth = np.full((80, 120, 3), (20, 120, 200), np.uint8)
    hole = np.zeros((80, 120), bool)
    hole[50:, 30:90] = True
    filled = fill_hole(with_hole(truth, hole), hole)
    np.testing.assert_array_equal(filled, truth)


def hills(width: int, height: int) -> np.ndarray:
    """A sky, a hill and a nearer one, each of one colour but for some noise."""
    y, x = np.mgrid[:height, :width]
    far, near = 0.35 * height + 0.1 * height * np.cos(5 * x / width), 0.55 * height - 0.1 * height * x / width
    colours = np.array([[150, 200, 240], [150, 200, 120], [100, 160, 80]], np.uint8)
    noise = np.random.default_rng(0).integers(0, 6, (height, width, 1))
    return (colours[(y > far).astype(int) + (y > np.maximum(far, near))] + noise).astype(np.uint8)


@pytest.mark.parametrize(("left", "right"), [(70, 170), (200, 320)])
def test_edges_behind_an_object_go_on(left, right):
    """At the coarsest scale the sky would run into the hill where the hole reaches a little beyond its edge."""
    truth = hills(400, 300)
    hole = np.zeros((300, 400), bool)
    hole[80:230, left:right] = True
    filled = fill_hole(with_hole(truth, hole), hole)
    wrong = np.abs(filled.astype(int) - truth)[hole].max(-1) > 20
    assert wrong.mean() < 0.08


def test_what_shows_between_two_parts_of_a_hole_is_not_lost():
    truth = hills(400, 300)
    hole = np.zeros((300, 400), bool)
    hole[60:240, 120:200] = hole[60:240, 204:290] = True  # what is between them is no pixel at the coarser scales
    filled = fill_hole(with_hole(truth, hole), hole)
    wrong = np.abs(filled.astype(int) - truth)[hole].max(-1) > 20
    assert wrong.mean() < 0.08


def test_it_is_the_same_each_time():
    truth, hole = grass(90, 70), hole_in(90, 70)
    np.testing.assert_array_equal(fill_hole(truth, hole), fill_hole(truth, hole))


@pytest.mark.parametrize("size", [(1, 2), (5, 5), (6, 300), (13, 13)])
def test_where_no_whole_patch_is_known_the_colours_around_go_on(size):
    width, height = size
    pixels = np.full((height, width, 3), (20, 120, 200), np.uint8)
    hole = np.zeros((height, width), bool)
    hole[height // 2, width // 2] = True
    filled = fill_hole(with_hole(pixels, hole), hole)
    assert np.abs(filled.astype(int) - pixels).max() <= 1


def test_without_numba_the_colours_around_go_on(monkeypatch):
    truth, hole = gradient(60, 40), hole_in(60, 40)
    monkeypatch.setattr(filling, "patch_voting", None)
    filled = fill_hole(with_hole(truth, hole), hole)
    assert np.abs(filled[hole].astype(int) - truth[hole]).mean() < 20


def test_a_large_hole_is_looked_at_in_a_smaller_copy(monkeypatch):
    monkeypatch.setattr(filling, "FILL_SIZE", 300)
    pixels = np.zeros((750, 1000, 3), np.uint8)
    hole = np.zeros((750, 1000), bool)
    hole[125:625, 125:875] = True
    crop, filled = fill(pixels, hole, hole * np.uint8(255))
    assert crop.scaled[0] * crop.scaled[1] <= 1.01 * 300**2
    assert filled.shape[:2] == hole[crop.window].shape


def test_nothing_can_be_continued_into_the_whole_picture():
    mask = np.ones((20, 30), bool)
    with pytest.raises(ValueError, match="nothing around it to fill it with"):
        fill(np.zeros((20, 30, 3), np.uint8), mask, mask * np.uint8(255))
