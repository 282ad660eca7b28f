from itertools import combinations

import pytest
from PIL import Image

from groundingdino.editing.margins import Margins
from groundingdino.editing.modes import MODES, parse_regions, parse_task
from groundingdino.editing.tasks import (
    Background,
    BlurBackground,
    ColorBackground,
    Obscure,
    Outpaint,
    PictureBackground,
    Recolor,
    Region,
    Regions,
    Remove,
    Replace,
    Spotlight,
    StickerCutOut,
    TransparentBackground,
)

PICTURE = Image.new("RGB", (4, 4))
REGION = [1, 2, 3, 4, "cat"]


@pytest.mark.parametrize(
    ("mode", "task"),
    [
        ("replace", Replace("red")),
        ("remove", Remove("model")),
        ("fill", Remove("fill")),
        ("background", Background("red")),
        ("transparent", TransparentBackground()),
        ("color", ColorBackground("red")),
        ("blur", Obscure("blur")),
        ("pixelate", Obscure("pixelate")),
        ("recolor", Recolor("red")),
        ("blur-background", BlurBackground()),
        ("sticker", StickerCutOut("red")),
        ("regions", Regions((Region((1, 2, 3, 4), "cat"),))),
        ("outpaint", Outpaint(Margins.parse("25%"), "red")),
    ],
)
def test_a_mode_is_read(mode, task):
    assert parse_task(mode, "red", PICTURE, [REGION]) == task


@pytest.mark.parametrize(
    ("mode", "text", "task"),
    [
        ("spotlight", "", Spotlight("grey")),
        ("spotlight", "dark", Spotlight("dark")),
        ("sticker", "", StickerCutOut("white")),
    ],
)
def test_what_a_text_leaves_open_has_a_default(mode, text, task):
    assert parse_task(mode, text) == task


def test_a_picture_grows_by_what_is_told():
    assert parse_task("outpaint", margins=[0, "5%", 0, 3]) == Outpaint("0,5%,0,3")


def test_a_picture_is_laid_behind():
    task = parse_task("picture", picture=PICTURE)
    assert isinstance(task, PictureBackground)
    assert task.picture is PICTURE


def test_every_mode_is_known_and_means_a_task_of_its_own():
    tasks = [parse_task(mode, "grey", PICTURE, [REGION]) for mode in MODES]
    assert all(task != other for task, other in combinations(tasks, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("paint",), "There is no mode 'paint': choose one of replace, remove"),
        (("picture",), "no picture for the background"),
        (("replace", ""), "There is no text"),
        (("regions",), "1 to 30 regions, got 0"),
        (("regions", "", None, [[1, 2, 3, 4, None]]), "There is no text: say what the box is to show"),
    ],
)
def test_what_a_mode_lacks_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        parse_task(*arguments)


@pytest.mark.parametrize("values", [[[1, 2, 3, 4]], [[1, 2, 3, "x", "cat"]], 5, [[1, 2, 3, 4, "cat", 5]], [None]])
def test_malformed_regions_are_refused(values):
    with pytest.raises(ValueError, match="Expected regions as"):
        parse_regions(values)
