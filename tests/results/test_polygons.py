"""Polygons say the mask that they were made of, whoever reads them."""

import cv2
import numpy as np
import pytest
from hypothesis import given

from groundingdino.results.polygons import polygon, polygons
from tests.mask_shapes import CASES, SAME_EACH_TIME, drawn, masks


def read_by_pycocotools(parts: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    from pycocotools import mask as coco_masks

    runs = coco_masks.frPyObjects([part.ravel().tolist() for part in parts], *shape)
    return coco_masks.decode(coco_masks.merge(runs)).astype(bool)


def read_by_opencv(part: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """As Ultralytics does (`polygon2mask`)."""
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [part.astype(np.float32).astype(np.int32)], 1)
    return canvas.astype(bool)


def check_readers(mask: np.ndarray) -> None:
    parts = polygons(mask)
    count, _ = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    assert len(parts) == count - 1
    if not parts:
        assert not mask.any()
        assert polygon(mask) is None
        return
    assert np.array_equal(read_by_pycocotools(parts, mask.shape), mask)
    whole = polygon(mask)
    assert whole is not None
    assert np.array_equal(read_by_pycocotools([whole], mask.shape), mask), "bridges and cuts have no width"
    assert np.array_equal(np.any([read_by_opencv(part, mask.shape) for part in parts], axis=0), mask)
    for part in (*parts, whole):
        assert (part > 0).all()
        assert (part < mask.shape[::-1]).all()


@pytest.mark.parametrize("mask", CASES.values(), ids=CASES)
def test_masks_that_formats_stumble_over_are_read_as_they_were(mask):
    check_readers(mask)


@SAME_EACH_TIME
@given(masks())
def test_any_mask_is_read_as_it_was(mask):
    check_readers(mask)


def test_a_large_mask_of_noise_is_read_as_it_was():
    check_readers(np.random.default_rng(0).random((240, 320)) < 0.5)


def test_a_rectangle_is_four_corners_a_quarter_inside():
    mask = drawn("......", "..###.", "..###.", "......")
    (part,) = polygons(mask)
    assert sorted(part.tolist()) == [[2.25, 1.25], [2.25, 2.75], [4.75, 1.25], [4.75, 2.75]]
    assert np.array_equal(polygon(mask), part)


def test_a_hole_is_cut_open_along_a_row():
    ring = polygon(CASES["a ring"]).tolist()
    cut = ring.index([0.25, 1.25]), ring.index([0.75, 1.25])
    assert cut[1] - cut[0] == 1
    ring.reverse()
    assert ring.index([0.75, 1.25]) - ring.index([0.25, 1.25]) == 1, "and back on the same row"


def test_parts_hang_on_the_largest():
    mask = drawn("#...#", "...##")
    small, large = sorted(map(np.ndarray.tolist, polygons(mask)), key=len)
    whole = polygon(mask).tolist()
    assert all(corner in whole for corner in small + large)
    bridge = [corner for corner in whole if corner not in small + large]
    assert bridge == [bridge[0]] * 2, "a corner on the way there and back"
