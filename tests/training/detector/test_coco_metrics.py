"""COCO's metrics on answers by hand."""

import numpy as np
import pytest

from groundingdino.training.detector.coco_metrics import Annotations

BOX = np.array([10.0, 10, 30, 30])


def mask(columns: slice) -> np.ndarray:
    drawn = np.zeros((40, 50), bool)
    drawn[10:30, columns] = True
    return drawn


@pytest.mark.parametrize(
    ("kind", "columns", "expected"),
    [
        ("bbox", slice(10, 22), {"AP": 1, "AP50": 1, "AP75": 1}),  # boxes agree, whatever the masks are
        ("segm", slice(10, 30), {"AP": 1, "AP50": 1, "AP75": 1}),
        ("segm", slice(10, 22), {"AP": 0.3, "AP50": 1, "AP75": 0}),  # IoU 0.6: right at 3 of 10 thresholds
        ("segm", slice(10, 18), {"AP": 0, "AP50": 0, "AP75": 0}),
    ],
)
def test_boxes_or_masks_are_compared(kind, columns, expected):
    annotations = Annotations(kind)
    annotations.add_picture((40, 50))
    annotations.add_object("cat", BOX, mask(slice(10, 30)))
    annotations.add_result("cat", BOX, 0.9, mask(columns))
    assert annotations.precision() == pytest.approx(expected, abs=0.01)


def test_pictures_and_categories_are_kept_apart():
    annotations = Annotations()
    for _ in range(2):
        annotations.add_picture((40, 50))
        annotations.add_object("cat", BOX)
    annotations.add_result("cat", BOX, 0.9)  # the second picture's
    annotations.add_result("dog", BOX, 0.9)
    assert annotations.precision()["AP"] == pytest.approx(0.5, abs=0.01)


def test_nothing_found_is_no_precision():
    annotations = Annotations()
    annotations.add_picture((40, 50))
    annotations.add_object("cat", BOX)
    assert annotations.precision() == {"AP": 0, "AP50": 0, "AP75": 0}
