import numpy as np
import pytest
import torch

from groundingdino.detection.boxes import firsts_of_sources, to_pixels


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ([0.5, 0.5, 1.0, 1.0], [0, 0, 200, 100]),
        ([0.25, 0.5, 0.1, 0.2], [40, 40, 60, 60]),
        ([0.0, 1.0, 0.5, 0.5], [0, 75, 50, 100]),
        ([0.5, 0.5, 3.0, 0.0], [0, 50, 200, 50]),
    ],
)
def test_to_pixels_stays_inside_the_picture(box, pixels):
    result = to_pixels(torch.tensor([box]), (200, 100))
    torch.testing.assert_close(result, torch.tensor([pixels], dtype=torch.float32))


def test_no_boxes_stay_no_boxes():
    assert to_pixels(torch.empty(0, 4), (3, 4)).shape == (0, 4)


ONE, ALIKE, APART = (0, 0, 10, 10), (0, 0, 10, 8), (20, 0, 30, 10)  # the second has IoU 0.8 with the first


@pytest.mark.parametrize(
    ("boxes", "classes", "sources", "kept"),
    [
        ([ONE, ALIKE, APART], [0, 0, 0], [0, 1, 1], [0, 2]),
        ([ALIKE, ONE, APART], [0, 0, 0], [1, 0, 2], [0, 2]),  # the better one stays, wherever it is from
        ([ONE, ALIKE], [0, 0], [1, 1], [0, 1]),  # of one source both
        ([ONE, ALIKE], [0, 1], [0, 1], [0, 1]),  # of two classes, too
        ([ONE, ALIKE, ONE], [0, 0, 0], [0, 1, 1], [0]),
        ([], [], [], []),
    ],
)
def test_what_two_sources_have_in_common_is_one(boxes, classes, sources, kept):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    arrays = np.array(classes, int), np.array(sources, int)
    assert firsts_of_sources(boxes, *arrays, most=0.5, limit=9).tolist() == kept
    assert (
        firsts_of_sources(boxes[:2], *(one[:2] for one in arrays), most=0.8, limit=9).tolist() == [0, 1][: len(boxes)]
    )
    assert firsts_of_sources(boxes, *arrays, most=0.5, limit=1).tolist() == kept[:1]
