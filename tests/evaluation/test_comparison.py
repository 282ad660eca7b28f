import numpy as np
import pytest

from groundingdino.evaluation.comparison import AtThreshold, Mistakes, mistakes

CAT, DOG = (10.0, 10.0, 50.0, 40.0), (60.0, 20.0, 90.0, 70.0)
NEAR_CAT, FAR = (12.0, 10.0, 50.0, 40.0), (100.0, 100.0, 120.0, 120.0)


def boxes(*some: tuple[float, ...]) -> np.ndarray:
    return np.array(some, float).reshape(-1, 4)


@pytest.mark.parametrize(
    ("shown", "names", "judged", "expected"),
    [
        ([], [], None, Mistakes(missed=2, false=0, right=0)),
        ([CAT, DOG], ["cat", "dog"], None, Mistakes(missed=0, false=0, right=2)),
        ([CAT, NEAR_CAT], ["cat", "cat"], None, Mistakes(missed=1, false=1, right=1)),  # an object is found once
        ([CAT, DOG], ["dog", "cat"], None, Mistakes(missed=2, false=2, right=0)),
        ([FAR], ["bird"], None, Mistakes(missed=2, false=1, right=0)),
        ([FAR], ["bird"], {"cat", "dog"}, Mistakes(missed=2, false=0, right=0)),  # nobody knows of birds
    ],
)
def test_mistakes(shown, names, judged, expected):
    counted = mistakes(boxes(CAT, DOG), ["cat", "dog"], [False, False], boxes(*shown), names, judged)
    assert counted == expected


def test_of_a_crowd_nothing_need_be_found_and_nothing_is_false():
    crowd = mistakes(boxes(CAT), ["cat"], [True], boxes(NEAR_CAT, FAR), ["cat", "dog"])
    assert crowd == Mistakes(missed=0, false=1, right=0)


def test_worse_is_the_larger_share_of_mistakes_then_their_number():
    some = [Mistakes(0, 0, 3), Mistakes(1, 0, 3), Mistakes(2, 0, 0), Mistakes(2, 3, 0), Mistakes(0, 0, 0)]
    assert [one.badness[1] for one in sorted(some, key=lambda one: one.badness)] == [0, 0, 1, 2, 5]


def test_shares():
    at_threshold = AtThreshold()
    at_threshold.add(boxes(CAT, DOG), ["cat", "dog"], {"cat", "dog"}, boxes(CAT, DOG), ["cat", "cat"])
    at_threshold.add(boxes(CAT), ["cat"], {"cat"}, boxes(), [])
    at_threshold.add(boxes(), [], set(), boxes(CAT, DOG, FAR), ["cat", "dog", "dog"])
    assert at_threshold.shares() == pytest.approx({"named_right": 1 / 2, "found": 1 / 3, "false_boxes": 1})
    assert AtThreshold().shares() == {"named_right": 0, "found": 0, "false_boxes": 0}
