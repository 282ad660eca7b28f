"""What is put in its place later: each track where it was first seen, and what a backward pass found."""

from dataclasses import replace

import numpy as np
import pytest

from groundingdino.tracking.filling import completed, filled
from tests.tracking.moving import BOX, SIZE, frame, objects


def test_a_track_is_filled_back_to_where_it_was_first_seen():
    frames = [
        frame(0),
        frame(1),
        frame(2),
        replace(frame(3, [[20, 0, 30, 10]], [1]), begun={1: (1, (10.0, 0, 20, 10))}),
    ]
    found = list(filled(frames, SIZE, reach=2))
    assert [one.index for one in found] == [0, 1, 2, 3]
    assert [one.objects.xyxy.tolist() for one in found] == [[], [[10, 0, 20, 10]], [[15, 0, 25, 10]], [[20, 0, 30, 10]]]
    assert [one.objects.tracker_id.tolist() for one in found[1:]] == [[1]] * 3


def test_of_masks_what_is_filled_is_the_whole_box():
    last = replace(frame(1, [[20, 0, 30, 10]], [1], masks=True), begun={1: (0, (10.0, 2, 20, 12))})
    first, _ = filled([frame(0, [[50, 50, 60, 60]], [2], masks=True), last], SIZE, reach=5)
    assert first.objects.tracker_id.tolist() == [2, 1]
    masks = np.array(first.objects.mask)
    assert masks.sum((1, 2)).tolist() == [90, 100]
    assert masks[1, 2:12, 10:20].all()


def boxes_by_frame(frames) -> list[dict[int, list[float]]]:
    return [dict(zip(one.objects.tracker_id.tolist(), one.objects.xyxy.tolist(), strict=True)) for one in frames]


OTHER = [60.0, 60.0, 90.0, 80.0]


def test_what_a_backward_pass_found_is_in_its_place():
    back = {1: objects([OTHER], [2]), 2: objects([[61, 60, 91, 80]], [2])}
    frames = [*(frame(index, [BOX], [1]) for index in range(3)), replace(frame(3, [BOX, OTHER], [1, 2]), before=back)]
    found = list(completed(frames, SIZE, reach=3))
    assert [one.index for one in found] == [0, 1, 2, 3]
    assert boxes_by_frame(found) == [
        {1: BOX},
        {1: BOX, 2: OTHER},
        {1: BOX, 2: [61, 60, 91, 80]},
        {1: BOX, 2: OTHER},
    ]
    assert boxes_by_frame(completed(found, SIZE, reach=3)) == boxes_by_frame(found), "nothing is there twice"


@pytest.mark.parametrize("masks_before", [True, False], ids=["beside-a-mask", "alone"])
def test_masks_of_a_backward_pass_are_in_their_place(masks_before):
    first = frame(0, [BOX], [1], masks=True) if masks_before else frame(0)
    last = replace(frame(1, [OTHER], [2], masks=True), before={0: objects([OTHER], [2], ["fox"], masks=True)})
    found, _ = completed([first, last], SIZE, reach=1)
    assert found.objects.tracker_id.tolist() == [1, 2][not masks_before :]
    assert found.objects.data["class_name"].tolist() == ["cat", "fox"][not masks_before :]
    expected = [*first.objects.mask, last.before[0].mask[0]] if masks_before else [last.before[0].mask[0]]
    np.testing.assert_array_equal(np.array(found.objects.mask), np.array(expected))


def test_few_frames_are_held_back():
    read = []

    def frames():
        for index in range(10):
            read.append(index)
            yield frame(index)

    shown = completed(frames(), SIZE, reach=3)
    assert next(shown).index == 0
    assert read == [0, 1, 2, 3]
    assert [one.index for one in completed(frames(), SIZE, reach=0)] == [*range(10)]
