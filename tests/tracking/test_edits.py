"""Edits of frames: what is followed changes, and all else stays to the bit."""

import numpy as np
import pytest
from PIL import Image

from groundingdino.editing.modes import parse_task
from groundingdino.editing.tasks import Remove, Replace
from groundingdino.tracking.edits import WITH_ALPHA, check_task, edit_frame
from tests.tracking.test_track_file import SIZE, objects

BOX = [60, 40, 90, 70]
TASKS = [
    parse_task("blur"),
    parse_task("pixelate"),
    parse_task("recolor", "lime"),
    parse_task("blur-background"),
    parse_task("spotlight", "dark"),
    parse_task("color", "#102030"),
    parse_task("transparent"),
    parse_task("sticker", "white"),
    parse_task("picture", picture=Image.new("RGB", (40, 30), "navy")),
]
ON_OBJECTS = TASKS[:3]
names = [type(task).__name__ for task in TASKS]


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("task", TASKS, ids=names)
def test_outside_what_is_edited_no_pixel_changes(pixels, task, masks):
    found = objects([BOX], [1], masks=masks)
    before = pixels.copy()
    after = edit_frame(pixels, found, task)
    np.testing.assert_array_equal(pixels, before)
    assert after.shape == (*pixels.shape[:2], 4 if isinstance(task, WITH_ALPHA) else 3)
    changed = (after[..., :3] != pixels).any(2)
    if task in ON_OBJECTS:
        reach = 10  # it grows and fades
        far = np.ones_like(changed)
        far[BOX[1] - reach : BOX[3] + reach, BOX[0] - reach : BOX[2] + reach] = False
        assert not changed[far].any()
        assert (
            changed[BOX[1] + 2 : BOX[3] - 1, BOX[0] : BOX[2]].mean() > 0.85
        )  # a large pixel has the colour of one in it
    else:
        assert not changed[BOX[1] + 6 : BOX[3] - 5, BOX[0] + 5 : BOX[2] - 5].any()
        if isinstance(task, WITH_ALPHA):
            assert not after[:20, :20].any()
        else:
            assert changed[:20, :20].mean() > 0.95


@pytest.mark.parametrize("task", TASKS, ids=names)
def test_where_nothing_is_followed_all_is_around_it(pixels, task):
    after = edit_frame(pixels, objects([], []), task)
    if task in ON_OBJECTS:
        np.testing.assert_array_equal(after, pixels)
    elif isinstance(task, WITH_ALPHA):
        assert after.shape[2] == 4
        assert not after.any()
    else:
        assert (after != pixels).any(2).mean() > 0.95


@pytest.mark.parametrize("task", TASKS, ids=names)
def test_where_all_is_followed_nothing_is_around_it(pixels, task):
    after = edit_frame(pixels, objects([[0, 0, *SIZE]], [1]), task)
    if task in ON_OBJECTS:
        assert (after != pixels).any(2).mean() > 0.95
    else:
        np.testing.assert_array_equal(after[..., :3], pixels)
        assert after[..., 3:].min(initial=255) == 255


@pytest.mark.parametrize("task", TASKS, ids=names)
def test_a_box_without_pixels_is_nothing(pixels, task):
    after = edit_frame(pixels, objects([[30, 30, 30, 30]], [1]), task)
    np.testing.assert_array_equal(after, edit_frame(pixels, objects([], []), task))


def test_what_a_model_paints_is_refused():
    for task in TASKS:
        check_task(task)
    for task in (Replace("dog"), Remove("fill")):
        with pytest.raises(ValueError, match="A video is edited frame by frame without a model"):
            check_task(task)
