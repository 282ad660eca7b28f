import re

import numpy as np

from groundingdino.page.outlines import outlines
from groundingdino.segmentation.masks import compact, empty_masks, join

SIZE = (40, 30)


def numbers(path: str) -> np.ndarray:
    return np.array(re.findall(r"[\d.]+", path), float).reshape(-1, 2)


def test_an_outline_runs_around_the_mask_in_pixels_of_the_picture():
    mask = np.zeros(SIZE[::-1], bool)
    mask[10:20, 5:35] = True
    (path,) = outlines(compact(mask), 2.0)
    assert path.startswith("M")
    assert path.endswith("Z")
    corners = numbers(path)
    assert corners.min(axis=0).tolist() == [11, 21]
    assert corners.max(axis=0).tolist() == [69, 39]


def test_a_hole_is_a_contour_of_its_own():
    mask = np.zeros(SIZE[::-1], bool)
    mask[2:28, 2:38] = True
    mask[10:20, 10:20] = False
    (path,) = outlines(compact(mask), 1.0)
    assert path.count("M") == path.count("Z") == 2


def test_an_empty_mask_has_no_outline_and_no_masks_none():
    empty = compact(np.zeros(SIZE[::-1], bool))
    assert outlines(join([empty, empty], SIZE), 1.0) == ["", ""]
    assert outlines(empty_masks(SIZE), 1.0) == []
