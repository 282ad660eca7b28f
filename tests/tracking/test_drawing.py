import numpy as np
import supervision as sv

from groundingdino.results.drawing import PALETTE
from groundingdino.tracking.drawing import FrameDrawing
from tests.tracking.test_track_file import SIZE, frame

GREY = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)


def colour(id: int) -> tuple[int, int, int]:
    return sv.ColorPalette.from_hex(list(PALETTE)).by_idx(id).as_rgb()


def test_each_track_has_its_colour_in_all_frames():
    drawing = FrameDrawing(10)
    boxes = {3: [20, 40, 60, 90], 4: [90, 50, 130, 100]}
    for index, ids in enumerate(([3, 4], [4, 3], [4])):
        drawn = drawing.draw(GREY, frame(index, [boxes[id] for id in ids], ids))
        for id in ids:
            x0, y0, *_ = boxes[id]
            np.testing.assert_array_equal(drawn[y0 + 20, x0], colour(id))
    assert (GREY == 128).all()


def test_trails_show_the_way_and_may_be_left_out():
    for trails in (True, False):
        drawing = FrameDrawing(10, trails)
        for number in range(8):
            drawn = drawing.draw(GREY, frame(number, [[10 * number, 60, 10 * number + 20, 100]], [1]))
        np.testing.assert_array_equal(drawn[80, 40], colour(1) if trails else (128, 128, 128))


def test_masks_are_drawn_instead_of_boxes():
    drawn = FrameDrawing(10, trails=False).draw(GREY, frame(0, [[20, 40, 60, 90]], [1], masks=True))
    assert (drawn[60:80, 30:50] != 128).any(2).all()
    assert (drawn[95:, :] == 128).all()


def test_where_nothing_is_nothing_is_drawn():
    np.testing.assert_array_equal(FrameDrawing(10).draw(GREY, frame(0)), GREY)
