import numpy as np
import pytest

from groundingdino.tracking.crossings import merged, parted, taken_apart

PLACES = np.array([[0, 0, 40, 40], [30, 0, 70, 40], [200, 0, 240, 40]], float)
SAME = np.ones((1, 3), bool)


@pytest.mark.parametrize(
    ("box", "same", "held"),
    [
        ([0, 0, 70, 40], [True, True, True], {0: (0, 1)}),
        ([2, -3, 66, 41], [False, True, False], {0: (0, 1)}),  # nearly, and of the phrase of one
        ([0, 0, 70, 40], [False, False, True], {}),  # something else in that place
        ([1, 0, 41, 40], [True, True, True], {}),  # one of them
        ([0, 0, 45, 40], [True, True, True], {}),  # more like one of them
        ([0, 0, 240, 40], [True, True, True], {}),  # around two that are far from each other
        ([0, -80, 70, 120], [True, True, True], {}),  # far larger than both
    ],
)
def test_a_box_around_two_tracks_holds_both(box, same, held):
    assert merged(np.array([box], float), PLACES, np.array([same])) == held


def test_a_small_thing_before_a_large_one_makes_no_box_of_two():
    places = np.array([[0, 0, 100, 100], [40, 40, 60, 60]], float)
    assert merged(places[:1], places, np.ones((1, 2), bool)) == {}


def test_no_boxes_and_no_tracks_hold_nothing():
    assert merged(np.empty((0, 4)), PLACES, np.empty((0, 3), bool)) == {}
    assert merged(PLACES[:1], np.empty((0, 4)), np.empty((1, 0), bool)) == {}
    assert merged(PLACES[:1], PLACES[:1], np.ones((1, 1), bool)) == {}


@pytest.mark.parametrize(
    ("box", "one", "other", "found"),
    [
        # Where they should be is a little wrong; the edges tell.
        ([0, 0, 70, 40], [4, 0, 44, 40], [22, 0, 62, 40], ([0, 0, 40, 40], [30, 0, 70, 40])),
        ([0, 0, 70, 40], [22, 0, 62, 40], [4, 0, 44, 40], ([30, 0, 70, 40], [0, 0, 40, 40])),
        # One above the other, of two sizes.
        ([0, 0, 40, 90], [0, 5, 40, 65], [5, 55, 35, 85], ([0, 0, 40, 60], [5, 60, 35, 90])),
        # One is as wide as the box: nothing tells where the other is but its way.
        ([0, 0, 100, 40], [3, 0, 103, 40], [50, 0, 60, 40], ([0, 0, 100, 40], [50, 0, 60, 40])),
        ([0, 0, 100, 40], [95, 0, 105, 40], [3, 0, 103, 40], ([90, 0, 100, 40], [0, 0, 100, 40])),
    ],
)
def test_the_edges_of_a_box_tell_where_both_are(box, one, other, found):
    parts = parted(np.array(box, float), np.array(one, float), np.array(other, float))
    np.testing.assert_array_equal(parts, np.array(found, float))


def test_a_track_is_in_the_surest_box_and_what_is_single_is_left():
    found = np.array([[0, 0, 68, 40], [200, 0, 240, 40], [0, 0, 70, 40]], float)
    single, apart = taken_apart(found, np.array([0.5, 0.9, 0.8]), PLACES, np.ones((3, 3), bool))
    assert single.tolist() == [1]
    assert sorted(apart) == [0, 1]
    np.testing.assert_array_equal([apart[0], apart[1]], [[0, 0, 40, 40], [30, 0, 70, 40]])
