import numpy as np
import pytest
from PIL import Image

from groundingdino.editing.edits import (
    Background,
    BrushStroke,
    ColorBackground,
    Edit,
    MaskSettings,
    PictureBackground,
    Region,
    Regions,
    Remove,
    Replace,
    Sampling,
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


@pytest.mark.parametrize("task", [TransparentBackground, "replace", None])
def test_what_is_no_task_is_refused_at_once(task):
    with pytest.raises(ValueError, match=r"Expected a task such as Replace\('dog'\)"):
        Edit(task)


def test_whole_numbers_of_any_kind_are_taken_and_no_others():
    sampling = Sampling(steps=np.int32(4), seed=np.int64(5))
    assert (type(sampling.steps), type(sampling.seed)) == (int, int)
    for name in ("steps", "seed", "candidates"):
        with pytest.raises(ValueError, match=f"Expected a whole number as {name}, got 1.5"):
            Sampling(**{name: 1.5})
    with pytest.raises(ValueError, match=r"seed from 0 to 4294967295, got -1"):
        Sampling(seed=-1)


def test_a_colour_out_of_range_is_refused():
    with pytest.raises(ValueError, match="from 0 to 255"):
        ColorBackground("rgb(300, 0, 0)")


def test_half_a_character_is_left_out():
    assert Replace("d\udcffog").text == "dog"


def test_texts_are_trimmed():
    assert Replace("  a dog\n").text == "a dog"
    assert Region((0, 0, 1, 1), " cat ").text == "cat"


def test_masks_grow_by_what_suits_the_object_unless_told():
    default, told = MaskSettings(), MaskSettings(grow=-3, feather=0)
    assert default.grow_of(120, Replace("dog")) == 10
    assert default.grow_of(5, Remove()) == 1
    assert default.grow_of(3000, Remove()) == 64  # at most
    assert default.grow_of(120, TransparentBackground()) == 0  # what is kept does not take its surroundings along
    assert default.grow_of(120, Regions((REGION,))) == 0
    assert default.feather_in((960, 640)) == 5
    assert (told.grow_of(120, Remove()), told.feather_in((960, 640))) == (-3, 0)
    share = MaskSettings(grow_share=0.25)
    assert [share.grow_of(longer, Remove()) for longer in (8, 120, 9000)] == [2, 30, 512]
    assert MaskSettings(grow_share=-0.25).grow_of(120, TransparentBackground()) == -30


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
        (lambda: BrushStroke((), 5), "one or more places"),
        (lambda: BrushStroke(((0, float("inf")),), 5), "finite"),
        (lambda: BrushStroke(((0, 0),), 0), "wider than 0 and at most 32767"),
        (lambda: BrushStroke(((0, 0),), 32768), "wider than 0 and at most 32767"),
        (lambda: MaskSettings(grow_share=1.5), "a share of -1 to 1 of an object, but it is 1.5"),
        (lambda: MaskSettings(grow=513), "-512 to 512 pixels, but 513"),
        (lambda: MaskSettings(grow=-513), "-512 to 512 pixels, but -513"),
        (lambda: MaskSettings(feather=-1), "0 to 512 pixels, but -1"),
        (lambda: Sampling(steps=0), "steps from 1 to 150, got 0"),
        (lambda: Sampling(steps=151), "steps from 1 to 150, got 151"),
        (lambda: Sampling(guidance=-1), "guidance from 0 to 30, got -1"),
        (lambda: Sampling(strength=0), "strength over 0 and up to 1, got 0"),
        (lambda: Sampling(strength=float("nan")), "strength over 0"),
        (lambda: Sampling(seed=-1), "seed from 0 to"),
        (lambda: Sampling(seed=2**32), "seed from 0 to"),
        (lambda: Sampling(candidates=5), "candidates from 1 to 4, got 5"),
        (lambda: Sampling(negative_prompt="x" * 2001), "negative prompt is longer"),
        (lambda: Sampling(scheduler="nonsense"), "There is no scheduler 'nonsense': choose one of ddim"),
        (lambda: Sampling(guidance="7"), "guidance from 0 to 30, got '7'"),
        (lambda: Sampling(guidance=float("nan")), "guidance from 0 to 30, got nan"),
        (lambda: Sampling(strength=True), "strength over 0 and up to 1, got True"),
        (lambda: Sampling(steps=True), "a whole number as steps, got True"),
        (lambda: Sampling(steps=10**30), "steps from 1 to 150"),
        (lambda: Sampling(scheduler=["ddim"]), "There is no scheduler"),
        (lambda: Sampling(negative_prompt=None), "a text as negative prompt, got None"),
        (lambda: MaskSettings(grow="5"), "-512 to 512 pixels, but '5'"),
        (lambda: MaskSettings(grow=True), "-512 to 512 pixels, but True"),
        (lambda: MaskSettings(feather=float("nan")), "0 to 512 pixels, but nan"),
        (lambda: MaskSettings(grow_share="1"), "a share of -1 to 1 of an object, but it is '1'"),
        (lambda: Replace(5), "Expected a text, got 5: say what to put"),
        (lambda: Region("1234", "cat"), "x0 < x1 and y0 < y1, but it is '1234'"),
        (lambda: Region((0, 0, True, 5), "cat"), "x0 < x1 and y0 < y1, but it is"),
        (lambda: Regions(5), "Expected a list of regions, got 5"),
        (lambda: Regions([(0, 0, 5, 5, "cat")]), "Expected a list of regions"),
        (lambda: PictureBackground("beach.png"), "Expected a picture as `load_image` gives it, got 'beach.png'"),
        (lambda: ColorBackground("x" * 100_000), "is no colour"),
        (lambda: BrushStroke("12", 5), "A stroke is a list of"),
        (lambda: BrushStroke([(1, 2, 3)], 5), "but it holds"),
        (lambda: BrushStroke([(1, 2)], "5"), "wider than 0 and at most 32767 pixels, but it is '5'"),
        (lambda: BrushStroke([(1, 2)] * 10_001, 5), "at most 10000 points"),
        (lambda: Edit(Remove(), brush=[((0, 0), 1)]), "Expected a list of brush strokes"),
        (lambda: Edit(Remove(), brush=(BrushStroke(((0, 0),), 1),) * 1001), "at most 1000 brush strokes, got 1001"),
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
    assert BrushStroke(np.array([[1, 2], [3, 4]]), np.float32(5)) == BrushStroke(((1, 2), (3, 4)), 5)
    assert Edit(Remove(), brush=[BrushStroke([(1, 2)], 5)]).brush == (BrushStroke(((1, 2),), 5),)


@pytest.mark.parametrize(
    ("box", "around"),
    [((24, 24, 48, 36), (22, 22, 50, 38)), ((1, 0, 25, 9), (0, 0, 27, 11)), ((0, 50, 1200, 99), (0, 0, 1264, 100))],
)
def test_a_found_box_gets_room_for_edges_and_shadows_inside_the_picture(box, around):
    assert box_around(box, (1300, 100)) == around
