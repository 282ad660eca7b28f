import numpy as np
import pytest

from groundingdino.tracking.matching import alike_in_size, colours_of, distinct, entangled, iou, match

BOXES = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [100, 100, 140, 120]], float)


def pairs(tracks, found, same=None, alike=None):
    shape = (len(tracks), len(found))
    same = np.ones(shape, bool) if same is None else np.array(same, bool)
    alike = np.ones(shape) if alike is None else np.array(alike, float)
    return match(np.array(tracks, float).reshape(-1, 4), np.array(found, float).reshape(-1, 4), same, alike)


def test_iou_of_boxes():
    other = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 0, 0]], float)
    np.testing.assert_allclose(iou(BOXES[:1], other), [[1, 1 / 3, 0]])
    assert iou(np.empty((0, 4)), other).shape == (0, 3)


def test_each_track_gets_the_detection_where_it_is():
    assert pairs(BOXES, BOXES[[2, 0]] + 1) == ([(0, 1), (2, 0)], [1], [])


def test_all_together_fit_best_not_each_the_best():
    tracks = [[0, 0, 10, 10], [8, 0, 18, 10]]
    found = [[7, 0, 17, 10], [14, 0, 24, 10]]
    assert pairs(tracks, found)[0] == [(0, 0), (1, 1)]


def test_colours_tell_two_in_one_place_apart():
    alike = [[0.4, 0.9], [0.9, 0.4]]
    assert pairs(BOXES[[0, 0]], BOXES[[0, 0]], alike=alike)[0] == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("shift", "same", "alike", "matched"),
    [
        (0, True, 1, True),
        (12, True, 1, True),  # it moved by more than its own size
        (20, True, 1, False),
        (0, False, 1, True),  # the detector calls it otherwise
        (8, False, 1, False),
        (0, True, 0.2, False),  # another thing in its place
    ],
)
def test_what_may_be_the_same(shift, same, alike, matched):
    found, left, new = pairs(BOXES[:1], BOXES[:1] + np.array([shift, 0, shift, 0]), [[same]], [[alike]])
    assert (found, left, new) == (([(0, 0)], [], []) if matched else ([], [0], [0]))


def test_nothing_matches_nothing():
    assert pairs([], BOXES) == ([], [], [0, 1, 2])
    assert pairs(BOXES, []) == ([], [0, 1, 2], [])
    assert pairs([], []) == ([], [], [])


@pytest.mark.parametrize(
    ("box", "phrase", "kept"),
    [
        ([0, 0, 10, 10], "cat", [0]),  # a double
        ([0, 0, 10, 10], "dog", [0]),  # by another name
        ([2, 2, 6, 6], "cat", [0]),  # a part
        ([2, 2, 6, 6], "dog", [0, 1]),  # a thing within another
        ([-10, -10, 20, 20], "cat", [0]),  # around it
        ([20, 0, 30, 10], "cat", [0, 1]),
    ],
)
def test_parts_and_doubles_are_no_things_of_their_own(box, phrase, kept):
    boxes = np.array([[0, 0, 10, 10], box], float)
    assert distinct(boxes, np.array([0.9, 0.8]), np.array(["cat", phrase])).tolist() == kept
    assert distinct(boxes[::-1], np.array([0.8, 0.9]), np.array([phrase, "cat"])).tolist() == [1 - one for one in kept]


def test_no_boxes_are_no_things():
    assert distinct(np.empty((0, 4)), np.empty(0), np.empty(0, str)).tolist() == []


def test_colours_are_those_in_the_box():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30], pixels[:, 30:] = (250, 20, 20), (20, 20, 250)
    red, blue = (colours_of(pixels, np.array(box, float)) for box in ([0, 0, 30, 40], [30, 0, 60, 40]))
    again = colours_of(pixels, np.array([5.2, 5, 20, 30]))
    assert red @ again == pytest.approx(1)
    assert red @ blue == pytest.approx(0)
    assert np.linalg.norm(red) == pytest.approx(1)
    assert colours_of(pixels, np.array([70, 0, 90, 40.0])) is None
    assert colours_of(pixels, np.array([-20, -20, 10, 10.0])) is not None


def test_boxes_that_hide_each_other_are_entangled():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [9, 0, 19, 10], [40, 40, 42, 42], [0, 0, 60, 60]], float)
    hide = entangled(boxes)
    assert not hide.diagonal().any()
    assert (hide == hide.T).all()
    assert hide[0].tolist() == [False, True, False, False, True], "half of it, a tenth, none, all"
    assert hide[3].tolist() == [False, False, False, False, True]
    assert entangled(np.empty((0, 4))).shape == (0, 0)


def test_boxes_of_about_one_size_are_alike():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 20, 10], [0, 0, 30, 10], [3, 3, 3, 3]], float)
    alike = alike_in_size(boxes)
    assert alike.tolist() == [
        [True, True, False, False],
        [True, True, True, False],
        [False, True, True, False],
        [False, False, False, True],
    ]
