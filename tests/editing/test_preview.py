import numpy as np
from PIL import Image

from groundingdino.editing.crops import Crop
from groundingdino.editing.preview import PREVIEW_SIDE, EditPreview, PaintStep

TEAL, RED = (0, 128, 128), (255, 0, 0)


def preview_of(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    width, height = size
    alpha = np.zeros((height, width), np.uint8)
    alpha[box[1] : box[3], box[0] : box[2]] = 255
    crop = Crop.around(alpha, 64, 0.5)
    canvas = np.full((8, 8, 3), RED, np.uint8)
    shown = EditPreview(np.full((height, width, 3), TEAL, np.uint8), alpha).show(PaintStep(1, 4, crop, canvas))
    assert shown is not None
    return shown


def test_what_is_being_painted_is_shown_in_the_picture_within_the_mask():
    shown = preview_of((200, 100), (50, 20, 90, 60))
    assert (shown.mode, shown.size) == ("RGB", (200, 100))
    assert shown.getpixel((70, 40)) == RED
    assert shown.getpixel((40, 40)) == TEAL
    assert shown.getpixel((199, 99)) == TEAL


def test_a_large_picture_is_shown_small():
    shown = preview_of((3000, 1500), (1000, 500, 2000, 1000))
    assert shown.size == (PREVIEW_SIDE, PREVIEW_SIDE // 2)
    assert shown.getpixel((PREVIEW_SIDE // 2, PREVIEW_SIDE // 4)) == RED
    assert shown.getpixel((0, 0)) == TEAL


def test_a_crop_beyond_the_picture_is_shown_where_it_is():
    pixels, alpha = np.full((60, 60, 3), TEAL, np.uint8), np.zeros((60, 60), np.uint8)
    alpha[:, :20] = 255
    crop = Crop.around(alpha, 64, 0.25)
    canvas = np.full((64, 64, 3), RED, np.uint8)
    canvas[:, : round(-crop.box[0] * crop.scale)] = 0  # beyond the picture
    shown = EditPreview(pixels, alpha).show(PaintStep(1, 4, crop, canvas))
    assert shown is not None
    assert shown.getpixel((5, 30)) == RED
    assert shown.getpixel((40, 30)) == TEAL


def test_before_the_first_step_there_is_nothing_to_show():
    alpha = np.full((10, 10), 255, np.uint8)
    preview = EditPreview(np.zeros((10, 10, 3), np.uint8), alpha)
    assert preview.show(PaintStep(0, 4, Crop.around(alpha, 64, 0.5), None)) is None
