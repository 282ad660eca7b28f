import numpy as np
import pytest
from PIL import Image

from groundingdino.editing.tasks import (
    Background,
    ColorBackground,
    PictureBackground,
    Region,
    Regions,
    Remove,
    Replace,
    TransparentBackground,
    box_around,
)

REGION = Region((0, 0, 10, 10), "cat")
PICTURE = Image.new("RGB", (4, 4))


@pytest.mark.parametrize(
    ("task", "mode", "needs_model"),
    [
        (Replace("dog"), "replace", True),
        (Remove(), "remove", True),
        (Remove("fill"), "remove", False),
        (Remove("opencv"), "remove", False),
        (Background("beach"), "background", True),
        (TransparentBackground(), "transparent", False),
        (ColorBackground("red"), "color", False),
        (PictureBackground(PICTURE), "picture", False),
        (Regions((REGION,)), "regions", True),
    ],
)
def test_each_task_has_a_mode_and_says_whether_a_model_paints(task, mode, needs_model):
    assert (task.mode, task.needs_model) == (mode, needs_model)


@pytest.mark.parametrize(("color", "rgb"), [("red", (255, 0, 0)), ("#0a0B0c", (10, 11, 12)), ("#ffff", (255,) * 3)])
def test_a_colour_is_read(color, rgb):
    assert ColorBackground(color).rgb == rgb


@pytest.mark.parametrize("color", ["#fff8", "rgba(0, 0, 0, 0)"])
def test_a_colour_that_lets_something_show_through_is_refused(color):
    with pytest.raises(ValueError, match="lets something show through"):
        ColorBackground(color)


def test_a_colour_out_of_range_is_refused():
    with pytest.raises(ValueError, match="from 0 to 255"):
        ColorBackground("rgb(300, 0, 0)")


def test_half_a_character_is_left_out():
    assert Replace("d\udcffog").text == "dog"


def test_texts_are_trimmed():
    assert Replace("  a dog\n").text == "a dog"
    assert Region((0, 0, 1, 1), " cat ").text == "cat"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Replace("  "), "There is no text: say what to put"),
        (lambda: Replace("x" * 2001), "longer than 2000"),
        (lambda: Background(""), "say what to paint behind"),
        (lambda: Remove("magic"), "by 'model' or 'fill', not by 'magic'"),
        (lambda: ColorBackground("blurple"), "'blurple' is no colour"),
        (lambda: ColorBackground(None), "'None' is no colour"),
        (lambda: Region((0, 0, 0, 5), "cat"), "x0 < x1 and y0 < y1, but it is"),
        (lambda: Region((0, 0, 5, float("nan")), "cat"), "x0 < x1"),
        (lambda: Region((0, 0, 5), "cat"), "x0 < x1"),
        (lambda: Region((0, 0, 5, 5), " "), "what the box is to show"),
        (lambda: Regions(()), "1 to 30 regions, got 0"),
        (lambda: Regions((REGION,) * 31), "1 to 30 regions, got 31"),
        (lambda: Replace(5), "Expected a text, got 5: say what to put"),
        (lambda: Region("1234", "cat"), "x0 < x1 and y0 < y1, but it is '1234'"),
        (lambda: Region((0, 0, True, 5), "cat"), "x0 < x1 and y0 < y1, but it is"),
        (lambda: Regions(5), "Expected a list of regions, got 5"),
        (lambda: Regions([(0, 0, 5, 5, "cat")]), "Expected a list of regions"),
        (lambda: PictureBackground("beach.png"), "Expected a picture as `load_image` gives it, got 'beach.png'"),
        (lambda: ColorBackground("x" * 100_000), "is no colour"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(make, message):
    with pytest.raises(ValueError, match=message) as refusal:
        make()
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


def test_lists_and_arrays_are_taken():
    assert Region(np.array([0, 1, 20, 30]), "cat").box == (0, 1, 20, 30)
    assert Regions([REGION]).regions == (REGION,)


@pytest.mark.parametrize(
    ("box", "around"),
    [((24, 24, 48, 36), (22, 22, 50, 38)), ((1, 0, 25, 9), (0, 0, 27, 11)), ((0, 50, 1200, 99), (0, 0, 1264, 100))],
)
def test_a_found_box_gets_room_for_edges_and_shadows_inside_the_picture(box, around):
    assert box_around(box, (1300, 100)) == around
