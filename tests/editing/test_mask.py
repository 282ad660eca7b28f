import tracemalloc

import cv2
import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.editing.edits import BrushStroke, Edit, MaskSettings
from groundingdino.editing.mask import edit_mask, grow, own_mask, soften
from groundingdino.editing.tasks import Background, Region, Regions, Remove, Replace, TransparentBackground
from groundingdino.runtime.interruption import Stopped, stopping

WIDTH, HEIGHT = SIZE = (60, 40)
EXACT = MaskSettings(grow=0, feather=0)


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


LEFT, RIGHT = rectangle(5, 5, 15, 15), rectangle(40, 20, 50, 30)


def found(*masks: np.ndarray) -> sv.Detections:
    boxes = np.array([[0, 0, 20, 20], [35, 15, 55, 35]], float)[: len(masks)].reshape(-1, 4)
    return sv.Detections(boxes, np.array(masks).reshape(-1, HEIGHT, WIDTH).astype(bool))


def painted(objects: sv.Detections, edit: Edit) -> np.ndarray:
    return edit_mask(objects, SIZE, edit).alpha()


def test_a_mask_grows_evenly_and_shrinks():
    grown, shrunk = grow(LEFT, 3), grow(LEFT, -3)
    assert grown[10, 2]
    assert not grown[10, 1]
    assert not grown[2, 2]  # corners become round
    np.testing.assert_array_equal(shrunk, rectangle(8, 8, 12, 12))
    np.testing.assert_array_equal(grow(LEFT, 0), LEFT)


def test_the_pictures_edge_does_not_shrink_what_it_cuts_off():
    np.testing.assert_array_equal(grow(rectangle(0, 0, 10, HEIGHT), -2), rectangle(0, 0, 8, HEIGHT))
    assert grow(np.ones((HEIGHT, WIDTH), bool), -5).all()
    assert not grow(np.zeros((HEIGHT, WIDTH), bool), 5).any()


def test_feather_fades_evenly_outside_the_mask_and_never_inside():
    alpha = soften(LEFT, 3)
    assert (alpha[LEFT] == 255).all()
    assert alpha[10, 15:20].tolist() == [191, 128, 64, 0, 0]
    assert (soften(LEFT, 0) == LEFT * np.uint8(255)).all()
    assert not soften(np.zeros((HEIGHT, WIDTH), bool), 5).any()


@pytest.mark.parametrize(("hole", "closes"), [(10, True), (14, True), (20, False)])
def test_a_hole_is_closed_of_which_growing_on_would_leave_nothing(hole, closes):
    ring = np.zeros((60, 60), bool)
    ring[10:50, 10:50] = True
    ring[30 - hole // 2 : 30 + hole // 2, 30 - hole // 2 : 30 + hole // 2] = False
    grown = grow(ring, 4)
    assert grown[30, 30] == closes
    assert not grown[:5].any()
    open_ring = ring.copy()
    open_ring[:30, 28:32] = False  # a channel leads out of it
    assert not grow(open_ring, 1)[29, 29]


def test_what_a_picture_cuts_off_is_no_hole():
    frame = np.ones((20, 20), bool)
    frame[:12, 6:14] = False
    assert not grow(frame, 3)[0, 9]


def test_each_object_grows_by_a_twelfth_of_its_longer_side():
    mask = edit_mask(
        found(rectangle(5, 5, 17, 11), rectangle(20, 3, 56, 10)), SIZE, Edit(Remove(), MaskSettings(feather=0))
    )
    alpha = mask.alpha()
    assert alpha[8, 2:6].tolist() == [0, 0, 255, 255]
    assert alpha[6, 15:19].tolist() == [255, 255, 255, 255]
    assert alpha[1, 30] == 255
    assert alpha[13, 30] == 0


def test_masks_may_be_kept_as_run_lengths_in_loose_boxes():
    dense, kept = found(LEFT, RIGHT), found(LEFT, RIGHT)
    kept.mask = sv.CompactMask.from_dense(dense.mask, np.array([[0, 0, 59, 39]] * 2), (HEIGHT, WIDTH))
    stroke = BrushStroke(((12, 10), (25, 10)), 4)
    for settings in (EXACT, MaskSettings(one_by_one=True), MaskSettings(grow=-2), MaskSettings(grow_share=0.5)):
        edit = Edit(Remove(), settings, (stroke,))
        one, other = edit_mask(dense, SIZE, edit), edit_mask(kept, SIZE, edit)
        np.testing.assert_array_equal(np.asarray(one.parts), np.asarray(other.parts))


def test_many_objects_of_a_photograph_take_little_memory():
    width, height = size = (4000, 3000)
    corners = np.random.default_rng(0).uniform(0, [width - 200, height - 200], (150, 2))
    objects = sv.Detections(np.hstack([corners, corners + 200]))
    stroke = BrushStroke(((100, 100), (3000, 2000)), 1200)
    tracemalloc.start()
    edit_mask(objects, size, Edit(Remove(), MaskSettings(one_by_one=True), (stroke,)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10 * width * height  # bytes; as arrays the masks alone are 150 times the picture's size


def test_objects_are_painted_together_or_one_by_one():
    together = edit_mask(found(LEFT, RIGHT), SIZE, Edit(Remove(), EXACT))
    apart = edit_mask(found(LEFT, RIGHT), SIZE, Edit(Remove(), MaskSettings(0, 0, one_by_one=True)))
    assert (len(together.parts), len(apart.parts)) == (1, 2)
    np.testing.assert_array_equal(together.alpha() > 0, LEFT | RIGHT)
    np.testing.assert_array_equal(apart.alpha() > 0, LEFT | RIGHT)
    np.testing.assert_array_equal(apart.alpha(1) > 0, RIGHT)


def test_boxes_are_painted_instead_of_masks_or_for_want_of_them():
    boxes = MaskSettings(0, 0, boxes=True)
    np.testing.assert_array_equal(painted(found(LEFT), Edit(Replace("dog"), boxes)) > 0, rectangle(0, 0, 20, 20))
    bare = sv.Detections(np.array([[-5, -5, 9.5, 10]]))
    np.testing.assert_array_equal(painted(bare, Edit(Replace("dog"), EXACT)) > 0, rectangle(0, 0, 10, 10))


@pytest.mark.parametrize("task", [Background("beach"), TransparentBackground()])
def test_a_background_is_all_but_the_objects(task):
    mask = edit_mask(found(LEFT, RIGHT), SIZE, Edit(task, MaskSettings(feather=0, one_by_one=True)))
    assert len(mask.parts) == 1
    np.testing.assert_array_equal(mask.alpha() == 0, LEFT | RIGHT)
    softer = edit_mask(found(LEFT), SIZE, Edit(task, MaskSettings(feather=2)))
    assert (softer.alpha()[LEFT] > 0).any()  # the soft edge reaches into the object
    assert softer.alpha()[10, 10] == 0


def test_the_brush_adds_to_what_it_touches_and_erases():
    stroke = BrushStroke(((12, 10), (25, 10)), 4)
    apart = MaskSettings(0, 0, one_by_one=True)
    mask = edit_mask(found(LEFT, RIGHT), SIZE, Edit(Remove(), apart, (stroke,)))
    assert len(mask.parts) == 2
    assert mask.parts[0][10, 24]

    alone = BrushStroke(((30, 5),), 6)
    mask = edit_mask(found(LEFT, RIGHT), SIZE, Edit(Remove(), apart, (alone,)))
    assert len(mask.parts) == 3
    assert mask.parts[2][5, 30]
    assert 20 < mask.parts[2].sum() < 50  # a dot as wide as the brush

    another = BrushStroke(((30, 35),), 6)
    mask = edit_mask(found(LEFT, RIGHT), SIZE, Edit(Remove(), apart, (alone, another)))
    assert [len(mask.parts), bool(mask.parts[2][35, 30]), bool(mask.parts[3][35, 30])] == [4, False, True]

    eraser = BrushStroke(((0, 10), (59, 10)), 30, adds=False)
    mask = edit_mask(found(LEFT, RIGHT), SIZE, Edit(Remove(), apart, (eraser,)))
    assert len(mask.parts) == 1
    np.testing.assert_array_equal(mask.alpha() > 0, RIGHT & (np.arange(HEIGHT) > 25)[:, None])


def test_strokes_count_in_their_order():
    add, erase = BrushStroke(((30, 20),), 10), BrushStroke(((30, 20),), 10, adds=False)
    nothing = found()
    assert painted(nothing, Edit(Remove(), EXACT, (erase, add)))[20, 30] == 255
    with pytest.raises(ValueError, match="the brush erased all of it"):
        painted(nothing, Edit(Remove(), EXACT, (add, erase)))


@pytest.mark.parametrize("most", [1, 64 << 20])
def test_strokes_change_parts_as_if_drawn_on_the_whole_picture(most, monkeypatch):
    """Whatever they meet, in whatever order, and however few parts are kept as arrays meanwhile."""
    monkeypatch.setattr("groundingdino.editing.mask._CANVAS_BYTES", most)
    rng = np.random.default_rng(0)
    for _ in range(60):
        objects = found(*(rng.random((2, HEIGHT, WIDTH)) < 0.02))
        expected = list(objects.mask)
        brush = []
        for _ in range(rng.integers(1, 12)):
            line, width, adds = (
                rng.uniform(-30, 90, (rng.integers(1, 6), 2)),
                rng.choice([1, 3, 10, 90]),
                rng.random() < 0.6,
            )
            brush.append(BrushStroke(line, width, bool(adds)))
            drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
            places = np.rint(line).astype(np.int32)
            cv2.polylines(drawn, [places[:, None]], False, 1, int(width))
            if len(line) == 1:
                cv2.circle(drawn, places[0].tolist(), int(width) // 2, 1, cv2.FILLED)
            drawn = drawn.astype(bool)
            touched = [index for index, mask in enumerate(expected) if (mask & drawn).any()]
            if not adds:
                expected = [mask & ~drawn for mask in expected]
            elif touched:
                expected[touched[0]] = expected[touched[0]] | drawn
            else:
                expected.append(drawn)
        expected = [mask for mask in expected if mask.any()]
        if expected:
            mask = edit_mask(objects, SIZE, Edit(Remove(), MaskSettings(0, 0, one_by_one=True), brush))
            np.testing.assert_array_equal(np.asarray(mask.parts), expected)


def test_a_thousand_strokes_can_be_given_up():
    brush = (BrushStroke(((1, 1), (50, 30)), 9),) * 1000
    asked = []
    with pytest.raises(Stopped), stopping(lambda: asked.append(1) or len(asked) > 3):
        edit_mask(found(LEFT), SIZE, Edit(Remove(), EXACT, brush))
    assert len(asked) == 4


def test_masks_of_another_picture_are_refused():
    with pytest.raises(ValueError, match="masks have 60 x 40 pixels and the picture 40 x 60"):
        edit_mask(found(LEFT), (40, 60), Edit(Remove(), EXACT))


def test_a_stroke_may_leave_the_picture():
    far = BrushStroke(((30, 20), (1e9, 20)), 3)
    alpha = painted(found(), Edit(Remove(), EXACT, (far,)))
    assert alpha[20, 30] == alpha[20, 59] == 255
    assert alpha[20, 20] == 0


def test_growing_comes_before_the_brush():
    erase = BrushStroke(((17, 10),), 2, adds=False)
    alpha = painted(found(LEFT), Edit(Remove(), MaskSettings(4, 0), (erase,)))
    assert alpha[10, 17] == 0
    assert alpha[6, 17] == 255


def test_regions_are_boxes_whatever_was_found():
    task = Regions((Region((0, 0, 10, 10), "cat"), Region((50, 30, 99, 99), "dog")))
    mask = edit_mask(found(LEFT), SIZE, Edit(task, MaskSettings(feather=0), (BrushStroke(((30, 20),), 9),)))
    assert len(mask.parts) == 2
    np.testing.assert_array_equal(mask.alpha() > 0, rectangle(0, 0, 10, 10) | rectangle(50, 30, 60, 40))


@pytest.mark.parametrize(
    ("objects", "edit", "message"),
    [
        (found(), Edit(Remove()), "Nothing is selected"),
        (found(np.zeros_like(LEFT)), Edit(Remove()), "Nothing is left of the mask: what was found has no area"),
        (found(LEFT), Edit(Remove(), MaskSettings(grow=-9)), "after shrinking it so far"),
        (found(~np.zeros_like(LEFT)), Edit(Background("x")), "There is no background"),
        (found(), Edit(Regions((Region((70, 0, 90, 9), "x"),))), "lies outside the picture of 60 x 40"),
        (sv.Detections(np.array([[100.0, 100, 200, 200]])), Edit(Remove()), "has no area"),
    ],
)
def test_where_there_is_nothing_to_paint_a_sentence_says_why(objects, edit, message):
    with pytest.raises(ValueError, match=message):
        edit_mask(objects, SIZE, edit)


def test_an_own_mask_is_edited_where_it_is_white():
    picture = Image.new("L", (20, 10))
    picture.paste(255, (4, 2, 8, 6))
    objects = own_mask(picture, (40, 20))
    assert objects.xyxy.tolist() == [[8, 4, 15, 11]]
    assert objects.mask[0].sum() == 64


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.new("L", (20, 10)), "black all over: white is what is edited"),
        (Image.new("L", (10, 20), 255), "has 10 x 20 pixels and the picture 40 x 20"),
    ],
)
def test_a_mask_that_cannot_be_meant_is_refused(picture, message):
    with pytest.raises(ValueError, match=message):
        own_mask(picture, (40, 20))
