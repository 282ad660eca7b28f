import math

import numpy as np
import pytest
import supervision as sv
from segment_anything.utils.amg import remove_small_regions

from groundingdino.segmentation.masks import (
    boxes_of,
    compact,
    empty_masks,
    is_new,
    join,
    merge_objects,
    size_bytes,
    smooth_masks,
    union,
    without_overlaps,
)

SIZE = (60, 40)


def blank() -> np.ndarray:
    return np.zeros(SIZE[::-1], bool)


def holed() -> np.ndarray:
    """A rectangle with a hole of 4 pixels, and a speck of 2 beside it."""
    mask = blank()
    mask[10:30, 5:35] = True
    mask[15:17, 8:10] = False
    mask[3, 50:52] = True
    return mask


def record(*masks: np.ndarray) -> sv.Detections:
    joined = join(map(compact, masks), SIZE)
    return sv.Detections(boxes_of(joined), joined)


@pytest.mark.parametrize("mask", [blank(), holed(), ~blank(), np.random.default_rng(0).random((40, 60)) > 0.5])
def test_a_compact_mask_is_the_mask(mask):
    kept = compact(mask)
    assert kept.shape == (1, 40, 60)
    assert np.array_equal(kept[0], mask)


def test_masks_join_in_order():
    joined = join([compact(holed()), compact(blank()), compact(~holed())], SIZE)
    assert np.array_equal(np.asarray(joined), [holed(), blank(), ~holed()])
    assert join([], SIZE).shape == empty_masks(SIZE).shape == (0, 40, 60)


def test_boxes_are_edges_of_pixels():
    assert boxes_of(record(holed(), blank()).mask).tolist() == [[5, 3, 52, 30], [0, 0, 0, 0]]


def test_the_bound_of_the_bytes_holds_and_is_near():
    masks = join(map(compact, [holed(), np.indices(SIZE[::-1]).sum(0) % 2 == 0]), SIZE)
    actual = sum(runs.nbytes for runs in masks._rles)
    assert actual <= size_bytes(masks) < 1.5 * actual


def test_an_object_is_new_where_no_box_of_a_mask_is_nearly_its_own():
    moved = np.roll(holed(), 2, axis=1)
    left = blank()
    left[:, :10] = True
    others = record(moved, left)
    assert is_new(others, [record(left[::-1].copy()), record(holed())]).tolist() == [False, False]
    assert is_new(others, [record(), record(holed())]).tolist() == [False, True]
    assert is_new(others, [record()]).tolist() == [True, True]
    assert is_new(record(), [record(left)]).tolist() == []


def test_of_masks_that_overlap_the_better_stays():
    """However much larger it is than what it covers: where none is surely an object, a part is no second one."""
    whole, part, beside, half = (blank() for _ in range(4))
    whole[10:30, 10:30] = part[12:16, 12:20] = beside[10:30, 30:40] = True
    half[14:18, 26:34] = True  # its left half lies in the whole
    masks = join(map(compact, (part, half, whole, beside)), SIZE)
    scores, unsure = np.array([0.8, 0.6, 0.9, 0.7]), np.zeros(4, bool)
    assert without_overlaps(masks, scores, 0.4, unsure) == [2, 3]
    assert without_overlaps(masks, scores, 0.7, unsure) == [2, 3, 1]
    assert without_overlaps(masks, scores, 1.0, unsure) == [2, 0, 3, 1]
    assert without_overlaps(masks, np.array([0.9, 0.6, 0.8, 0.7]), 0.7, unsure) == [0, 3, 1]
    assert without_overlaps(empty_masks(SIZE), np.zeros(0), 0.7, unsure[:0]) == []


def test_objects_may_lie_on_larger_ones():
    below, lying, close = (blank() for _ in range(3))
    below[10:30, 10:30] = lying[12:16, 12:20] = close[10:30, 10:24] = True
    masks = join(map(compact, (below, lying, close)), SIZE)
    scores = np.array([0.9, 0.8, 0.7])
    assert without_overlaps(masks, scores, 0.7, np.array([True, True, True])) == [0, 1]
    for unsure in (0, 1):
        assert without_overlaps(masks, scores, 0.7, np.arange(3) != unsure) == [0]


def test_the_union_is_of_all_objects():
    left, right = blank(), blank()
    left[:, :10] = right[:, 50:] = True
    for masks in (record(left, right).mask, np.stack([left, right])):
        assert np.array_equal(union(masks, SIZE), left | right)
    assert not union(None, SIZE).any()


@pytest.mark.parametrize(
    ("min_area", "pixels"),
    [
        (2, 600 - 4 + 2),
        (3, 600 - 4),
        (5, 600),
        # Shares of the object: of specks, and a third of it of holes.
        (2 / 598, 600 - 4 + 2),
        (2.1 / 598, 600 - 4),
        (12 / 598, 600 - 4),
        (12.1 / 598, 600),
    ],
)
def test_holes_and_specks_below_the_area_go(min_area, pixels):
    smoothed = smooth_masks(record(holed()), min_area)
    assert smoothed.mask.area.tolist() == [pixels]
    assert smoothed.xyxy.tolist() == [[5, 3, 52, 30]]


def test_a_speck_is_small_beside_its_object_whatever_the_size_of_the_picture():
    """The first example's cat had two islands beside it, of a 74th and an 86th of its pixels."""
    cat, wide = blank(), np.zeros((400, 600), bool)
    cat[0:20, 0:37] = cat[30, 0:10] = True
    wide[:40, :60] = cat
    small, large = blank(), np.kron(cat, np.ones((5, 5), bool))
    small[0:4, 0:4] = small[10, 10] = True  # a sixteenth, which may be a part
    for mask, kept in ((cat, 740), (wide, 740), (large, 740 * 25), (small, 17)):
        joined = join([compact(mask)], mask.shape[::-1])
        smoothed = smooth_masks(sv.Detections(boxes_of(joined), joined))
        assert smoothed.mask.area.tolist() == [kept]


def test_no_area_changes_nothing():
    assert np.array_equal(smooth_masks(record(holed()), 0).mask[0], holed())
    assert smooth_masks(record(), 5).mask.shape == (0, 40, 60)


def test_masks_as_an_array_are_taken_too():
    dense = sv.Detections(np.array([[5.0, 3, 52, 30]]), np.stack([holed()]))
    assert smooth_masks(dense, 5).mask.area.tolist() == [600]


@pytest.mark.parametrize("min_area", [1, 3, 10, 40, 150, 500])
def test_smoothing_part_of_the_picture_is_smoothing_all_of_it(min_area):
    rng = np.random.default_rng(0)
    for _ in range(30):
        top, left = rng.integers(0, (30, 50))
        mask = blank()
        mask[top : top + rng.integers(1, 40), left : left + rng.integers(1, 60)] = True
        mask &= rng.random(mask.shape) < rng.choice([0.5, 0.9, 1.0])
        if not mask.any():
            continue
        expected, _ = remove_small_regions(mask, min_area, "holes")
        expected, _ = remove_small_regions(expected, min_area, "islands")
        assert np.array_equal(smooth_masks(record(mask), min_area).mask[0], expected)


@pytest.mark.parametrize("min_area", [-1, math.nan, math.inf, "5", None, True])
def test_an_area_that_is_none_is_refused(min_area):
    with pytest.raises(ValueError, match="must be 0 or more"):
        smooth_masks(record(holed()), min_area)


def test_boxes_alone_are_refused():
    with pytest.raises(ValueError, match="segment them first"):
        smooth_masks(sv.Detections(np.array([[0.0, 0, 5, 5]])), 5)


def named(names: list[str], class_ids: list[int]) -> sv.Detections:
    found = record(*[holed()] * len(names))
    found.class_id = np.array(class_ids, int)
    found.data["class_name"] = np.array(names, str)
    return found


def test_nameless_objects_are_numbered_through():
    merged = merge_objects(
        named(["cat", "object 9"], [3, 0]),
        named([], []),
        named(["object 1", "object 2"], [-1, -1]),
        named(["object 1"], [-1]),
    )
    assert merged["class_name"].tolist() == ["cat", "object 9", "object 1", "object 2", "object 3"]
    assert merged.class_id.tolist() == [3, 0, -1, -1, -1]
    assert merged.mask.shape == (5, 40, 60)


def test_nothing_merges_to_nothing():
    assert merge_objects(named([], []), named([], [])).mask.shape == (0, 40, 60)
