import numpy as np
import pytest
import supervision as sv

from groundingdino.detection.agreement import agreement
from groundingdino.detection.objects import no_objects


def objects(*found: tuple[str, tuple[float, float, float, float]]) -> sv.Detections:
    if not found:
        return no_objects()
    return sv.Detections(
        np.array([box for _, box in found], np.float32), data={"class_name": np.array([name for name, _ in found])}
    )


CAT, NEAR, FAR = (0, 0, 10, 10), (0, 0, 10, 8), (50, 50, 60, 60)  # IoU 0.8 of the first two


@pytest.mark.parametrize(
    ("first", "second", "numbers"),
    [
        ([], [], (0, 0, 0)),
        ([("cat", CAT)], [], (0, 1, 0)),
        ([], [("cat", CAT), ("cat", FAR)], (0, 0, 2)),
        ([("cat", CAT)], [("cat", CAT)], (1, 0, 0)),
        ([("cat", CAT)], [("dog", CAT)], (0, 1, 1)),  # of another phrase
        ([("cat", CAT)], [("cat", FAR)], (0, 1, 1)),
        ([("cat", CAT)], [("cat", CAT), ("cat", NEAR)], (1, 0, 1)),  # one to one
        ([("cat", CAT), ("dog", FAR)], [("dog", FAR), ("cat", NEAR)], (2, 0, 0)),
    ],
)
def test_what_both_found_is_counted_once(first, second, numbers):
    assert agreement(objects(*first), objects(*second)) == numbers
    assert agreement(objects(*second), objects(*first)) == (numbers[0], numbers[2], numbers[1])
    assert agreement(objects(*first), objects(*second)).total == sum(numbers)


def test_there_are_as_many_pairs_as_can_be():
    """The best pair first would leave the others alone: the wide box fits both, the narrow one only one of them."""
    first = objects(("cat", (0, 0, 10, 10)), ("cat", (0, 0, 10, 7)))
    second = objects(("cat", (0, 0, 10, 9)), ("cat", (0, 0, 10, 14)))
    assert agreement(first, second, 0.7) == (2, 0, 0)


@pytest.mark.parametrize(("least", "both"), [(0.5, 1), (0.8, 1), (0.81, 0), (1, 0)])
def test_the_iou_is_the_least_that_counts(least, both):
    assert agreement(objects(("cat", CAT)), objects(("cat", NEAR)), least).both == both


@pytest.mark.parametrize("least", [0, -0.1, 1.1, float("nan")])
def test_an_iou_that_means_nothing_is_refused(least):
    with pytest.raises(ValueError, match="Boxes agree from an IoU above 0"):
        agreement(objects(), objects(), least)
