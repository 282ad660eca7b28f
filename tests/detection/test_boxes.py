import pytest
import torch

from groundingdino.detection.boxes import to_pixels


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
