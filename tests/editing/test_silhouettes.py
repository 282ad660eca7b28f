import numpy as np
import pytest

from groundingdino.editing.silhouettes import SMALL, apart, cut_out, upright


def triangle(side: int) -> np.ndarray:
    """Upright, and not the same as its mirror image."""
    y, x = np.mgrid[:side, :side]
    return x <= y


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("box", [(40, 30, 168, 158), (0, 0, 128, 128), (72, 72, 200, 200), (40.4, 30, 168, 157.6)])
def test_what_is_in_a_box_is_cut_out_though_the_fill_changed_more(box):
    """The fill also took away half of the box, which looks as what is around it."""
    picture = np.full((200, 200, 3), (90, 160, 80), np.uint8)
    picture += np.random.default_rng(0).integers(0, 12, picture.shape, np.uint8)
    x0, y0, *_ = (round(edge) for edge in box)
    window = np.s_[y0 + 16 : y0 + 112, x0 + 16 : x0 + 112]
    picture[window][triangle(96)] = (230, 170, 40)
    changed = np.zeros((128, 128), bool)
    changed[16:112, 16:112] = triangle(96)
    truth = changed[::2, ::2].copy()
    changed[:64] = True
    found = cut_out(picture, box, changed)
    assert found.shape == (SMALL, SMALL)
    assert iou(found, truth) > 0.9 > iou(changed[::2, ::2], truth)


def test_the_same_is_cut_out_each_time():
    picture = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    changed = triangle(40)
    first, again = (cut_out(picture, (20, 20, 60, 60), changed) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("size", [(1, 1), (2, 60)])
def test_where_nothing_changed_nothing_is_cut_out(size):
    width, height = size
    picture = np.full((64, 64, 3), 128, np.uint8)
    assert not cut_out(picture, (0, 0, width, height), np.zeros((height, width), bool)).any()


def test_a_silhouette_is_as_large_as_it_may_be_and_stands_on_the_edge():
    wide = np.zeros((30, 50), bool)
    wide[4:10, 8:32] = True
    found = upright(wide)
    assert found[SMALL - 16 :].all()
    assert not found[: SMALL - 16].any()
    high = upright(wide.T)
    assert high[:, 24:40].all()
    assert high.sum() == 16 * SMALL
    assert not upright(np.zeros((5, 5), bool)).any()


def test_outlines_are_as_far_apart_as_they_are():
    left = np.zeros((SMALL, SMALL), bool)
    left[20:40, 20:40] = True
    assert apart(left, left) == 0
    shifted = np.roll(left, 3, axis=1)
    assert 0 < apart(left, shifted) < apart(left, np.roll(left, 9, axis=1))
    corner = upright(triangle(40))
    assert apart(corner, corner) < apart(corner, corner[:, ::-1])
    assert apart(left, np.zeros_like(left)) == SMALL
