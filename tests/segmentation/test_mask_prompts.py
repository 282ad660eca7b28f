import math

import numpy as np
import pytest
import torch

from groundingdino.segmentation.mask_prompts import MAX_PARTS, STROKE_POINTS, MaskPrompt

SIZE = (200, 100)


def test_lists_make_the_same_key_as_tuples():
    listed = MaskPrompt(box=[1, 2, 30, 40], points=[[5, 6, 1]], strokes=[([[7, 8], [9, 10]], 0)])
    plain = MaskPrompt(box=(1, 2, 30, 40), points=((5, 6, 1),), strokes=((((7, 8), (9, 10)), 0),))
    arrays = MaskPrompt(
        box=torch.tensor([1.0, 2, 30, 40]),
        points=np.array([[5, 6, 1]]),
        strokes=[(np.array([[7.0, 8.0], [9.0, 10.0]], np.float32), np.int64(0))],
    )
    told_apart = MaskPrompt(box=(1, 2, 30, 40), points=iter([(5, 6, True)]), strokes=[(iter([[7, 8], (9, 10)]), False)])
    assert listed == plain == arrays == told_apart
    assert len({listed, plain}) == 1
    assert hash(MaskPrompt(box=np.array([1, 2, 30, 40], np.float32))) == hash(MaskPrompt(box=(1.0, 2.0, 30.0, 40.0)))


def test_a_stroke_is_sampled_evenly_along_its_length():
    bend = [(10, 10), (20, 10), (110, 10), (110, 60)]  # 150 pixels; hands slow down and leave more vertices
    clicks, labels = MaskPrompt(strokes=[(bend, 1)]).clicks(SIZE)
    assert clicks.tolist() == [[25, 10], [55, 10], [85, 10], [110, 15], [110, 45]]
    assert labels.tolist() == [1] * STROKE_POINTS


def test_a_hollow_stroke_is_not_its_centroid():
    ring = [(100 + 40 * math.cos(turn), 50 + 40 * math.sin(turn)) for turn in np.linspace(0, 2 * math.pi, 100)]
    clicks, _ = MaskPrompt(strokes=[(ring, 1)]).clicks(SIZE)
    np.testing.assert_allclose(np.hypot(*(clicks - [100, 50]).T), 40, atol=0.1)


@pytest.mark.parametrize(("length", "count"), [(0, 1), (4, 1), (7, 2), (15, 3), (150, 5)])
def test_a_short_stroke_is_few_clicks(length, count):
    clicks, _ = MaskPrompt(strokes=[([(10, 10), (10 + length, 10)], 1)]).clicks(SIZE)
    assert len(clicks) == count
    assert clicks[:, 0].mean() == pytest.approx(10 + length / 2)


def test_a_stroke_that_leaves_the_picture_counts_inside():
    clicks, _ = MaskPrompt(strokes=[([(50, 50), (150, 50), (500, 50)], 1)]).clicks(SIZE)
    assert clicks[:, 0].tolist() == [60, 80, 100, 120, 140]


def test_points_and_strokes_keep_their_labels():
    prompt = MaskPrompt(points=[(1, 2, 0), (3, 4, 1)], strokes=[([(5, 6)], 1), ([(7, 8)], 0)])
    clicks, labels = prompt.clicks(SIZE)
    assert clicks.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert labels.tolist() == [0, 1, 1, 0]


def test_what_a_point_corrects_is_the_prompt_before_it():
    full = MaskPrompt(box=(0, 0, 9, 9), strokes=[([(5, 5)], 1)], points=[(1, 1, 1), (2, 2, 0)], candidate=2)
    earlier = [full.before, full.before.before, full.before.before.before]
    assert earlier == [
        MaskPrompt(box=full.box, strokes=full.strokes, points=full.points[:1]),
        MaskPrompt(box=full.box, strokes=full.strokes),
        MaskPrompt(box=full.box),
    ]
    assert earlier[-1].before is None


@pytest.mark.parametrize(
    "first",
    [
        MaskPrompt(points=[(1, 1, 1)]),
        MaskPrompt(points=[(1, 1, 0), (2, 2, 1)]),  # nothing is meant before the second
        MaskPrompt(strokes=[([(1, 1)], 1), ([(5, 5)], 0)]),
    ],
)
def test_what_comes_first_corrects_nothing(first):
    assert first.before is None


def test_a_box_is_cut_at_the_edge_of_the_picture():
    assert MaskPrompt(box=(-5, 10, 500, 60)).box_in(SIZE).tolist() == [0, 10, 200, 60]
    assert MaskPrompt(points=[(1, 1, 1)]).box_in(SIZE) is None


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({}, "needs a box, or a point or stroke with label 1"),
        ({"points": [(1, 1, 0)]}, "needs a box, or a point or stroke with label 1"),
        ({"points": [(1, 1, 2)]}, "is 1 .include. or 0 .exclude., but it is 2"),
        ({"strokes": [([(1, 1)], -1)]}, "but it is -1"),
        ({"strokes": [([], 1)]}, "A stroke has no points"),
        ({"points": [(math.nan, 1, 1)]}, "no finite number"),
        ({"strokes": [([(1, math.inf)], 1)]}, "no finite number"),
        ({"box": (1, 2, 3)}, "A box is four finite numbers"),
        ({"box": (1, 2, math.inf, 4)}, "A box is four finite numbers"),
        ({"box": (5, 5, 5, 9)}, r"The box \(5, 5, 5, 9\) has no area"),
        ({"box": (5, 9, 9, 5)}, "has no area"),
        ({"points": [(1, 1, 1)], "candidate": 3}, "0, 1 or 2, but it is 3"),
        ({"points": [(1, 1, 1)] * (MAX_PARTS + 1)}, "at most 100 points and strokes, but it has 101"),
        ({"strokes": [([(1, 1)], 1)] * 5000}, "at most 100 points and strokes, but it has 5000"),
        ({"strokes": [([(1, 1)] * 10_001, 1)]}, "A stroke has at most 10000 points, but it has 10001"),
        ({"points": [(1, 2)]}, r"A point is x, y and 1 .include. or 0 .exclude., but it is \(1, 2\)"),
        ({"points": [(1, 2, 1, 4)]}, "A point is x, y and 1"),
        ({"points": [("1", "2", 1)]}, "A point is x, y and 1"),
        ({"points": ["121"]}, "A point is x, y and 1"),
        ({"points": [(True, 2, 1)]}, "A point is x, y and 1"),
        ({"points": [(None, 2, 1)]}, "A point is x, y and 1"),
        ({"points": [5]}, "A point is x, y and 1"),
        ({"points": 5}, "Points and strokes come in a list"),
        ({"points": "121"}, "Points and strokes come in a list"),
        ({"points": [(1, 2, "1")]}, "is 1 .include. or 0 .exclude., but it is '1'"),
        ({"points": [(1, 2, None)]}, "but it is None"),
        ({"points": [(1, 2, math.nan)]}, "but it is nan"),
        ({"points": [(10**400, 2, 1)]}, "no finite number"),
        ({"strokes": [([(1, 2, 3)], 1)]}, r"A stroke is a list of \(x, y\), but it holds \(1, 2, 3\)"),
        ({"strokes": [(1, 2, 3)]}, "A stroke comes as a line and 1"),
        ({"strokes": [[(1, 2), (3, 4)]]}, r"A stroke is a list of \(x, y\), but it holds 1"),
        ({"strokes": [("12", 1)]}, "A stroke is a list of"),
        ({"box": "1234"}, "A box is four finite numbers x0, y0, x1, y1, but it is '1234'"),
        ({"box": ["1234"]}, "A box is four finite numbers"),
        ({"box": (0, 0, 9, True)}, "A box is four finite numbers"),
        ({"box": 5}, "A box is four finite numbers"),
        ({"box": (1, 2, 30, 40), "candidate": "1"}, "0, 1 or 2, but it is '1'"),
        ({"box": (1, 2, 30, 40), "candidate": 1.0}, "0, 1 or 2, but it is 1.0"),
        ({"box": (1, 2, 30, 40), "candidate": True}, "0, 1 or 2, but it is True"),
    ],
)
def test_what_makes_no_sense_is_refused(parts, sentence):
    with pytest.raises(ValueError, match=sentence) as refusal:
        MaskPrompt(**parts)
    assert str(refusal.value).endswith(".")
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"points": [(200, 5, 1)]}, r"point \(200, 5\) lies outside the picture of 200 x 100"),
        ({"points": [(5, -0.5, 1)]}, "outside the picture"),
        ({"strokes": [([(500, 5), (600, 5)], 1)]}, "stroke lies outside"),
        ({"box": (300, 5, 400, 9)}, r"box \(300, 5, 400, 9\) lies outside"),
    ],
)
def test_what_lies_outside_the_picture_is_refused(parts, sentence):
    with pytest.raises(ValueError, match=sentence):
        MaskPrompt(**parts).check_inside(SIZE)
