"""Boxes that move along with the pixels in them."""

import numpy as np
import pytest

from groundingdino.tracking.flow import Flow

SIDE = 40


def noise(height: int, width: int, seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 4, width // 4, 3), np.uint8)
    return coarse.repeat(4, 0).repeat(4, 1)


def picture(x: int, y: int, side: int = SIDE) -> np.ndarray:
    """A patch of noise on another one."""
    pixels = noise(240, 320, 1) // 4
    patch = noise(SIDE, SIDE, 2)[np.arange(side) * SIDE // side][:, np.arange(side) * SIDE // side]
    pixels[y : y + side, x : x + side] = patch
    return pixels


def test_a_box_goes_where_its_pixels_go():
    flow, box = Flow(), np.array([20.0, 30.0, 60.0, 70.0])
    flow.see(picture(20, 30))
    for step in range(1, 11):
        flow.see(picture(20 + 4 * step, 30 + 2 * step))
        moved = flow.move(box)
        assert moved is not None
        box = moved
    np.testing.assert_allclose(box, [60, 50, 100, 90], atol=2)


def test_a_flat_thing_is_followed_by_its_edges():
    def flat(x: int) -> np.ndarray:
        pixels = np.full((120, 160, 3), 128, np.uint8)
        pixels[30:60, x : x + 30] = (220, 40, 40)
        return pixels

    flow, box = Flow(), np.array([10.0, 30.0, 40.0, 60.0])
    flow.see(flat(10))
    for step in range(1, 11):
        flow.see(flat(10 + 3 * step))
        moved = flow.move(box)
        assert moved is not None
        box = moved
    np.testing.assert_allclose(box, [40, 30, 70, 60], atol=4)


def test_what_has_nothing_to_hold_on_to_stays_while_nothing_changes():
    flow, box = Flow(), np.array([20.0, 30.0, 60.0, 70.0])
    for _ in range(2):
        flow.see(np.full((120, 160, 3), 90, np.uint8))
    np.testing.assert_array_equal(flow.move(box), box)


def test_it_grows_with_its_pixels():
    flow = Flow()
    flow.see(picture(100, 100, 40))
    flow.see(picture(98, 98, 44))
    moved = flow.move(np.array([100.0, 100.0, 140.0, 140.0]))
    assert moved is not None
    assert moved[2] - moved[0] == pytest.approx(44, abs=2)


def test_large_frames_are_followed_in_a_smaller_copy():
    flow = Flow()
    for x in (80, 92):
        flow.see(np.kron(picture(x, 60), np.ones((8, 8, 1), np.uint8)))
    moved = flow.move(8.0 * np.array([80, 60, 120, 100]))
    assert moved is not None
    np.testing.assert_allclose(moved / 8, [92, 60, 132, 100], atol=1)


@pytest.mark.parametrize(
    ("then", "box"),
    [
        (np.zeros((240, 320, 3), np.uint8), (20, 30, 60, 70)),  # gone
        (noise(240, 320, 7), (20, 30, 60, 70)),  # a cut
        (picture(20, 30), (-90, 30, -50, 70)),  # outside
        (picture(20, 30)[:100], (20, 30, 60, 70)),  # of another size
    ],
)
def test_what_is_not_seen_again_is_none(then: np.ndarray, box: tuple[int, ...]):
    flow = Flow()
    assert flow.move(np.array(box, float)) is None
    flow.see(picture(20, 30))
    assert flow.move(np.array(box, float)) is None, "there is no frame before"
    flow.see(then)
    assert flow.move(np.array(box, float)) is None
