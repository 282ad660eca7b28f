"""What the tab's controls say, read as an edit."""

from typing import Any

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.detection.objects import select
from groundingdino.editing.edits import BrushStroke, Edit, MaskSettings, Sampling
from groundingdino.editing.margins import Margins
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
from groundingdino.page.edit_form import (
    BACKGROUND,
    BLUR,
    BLURRED,
    COLOR,
    DARK,
    EFFECT,
    EXTEND,
    GREY,
    GROW,
    MASKS,
    MODEL,
    OUTLINED,
    PAINTED,
    PICTURE,
    PIXELATE,
    QUICK,
    RECOLOR,
    REGIONS,
    REMOVE,
    REPLACE,
    TRANSPARENT,
    WHOLE_BOXES,
    Form,
    MaskForm,
    as_drawn,
    hex_color,
    suited_grow,
    suited_shape,
)
from groundingdino.segmentation.pointing import Gesture, Pointing
from tests.dauber import INPAINTER

SIZE = (200, 100)
STROKE = BrushStroke(((1, 2),), 5)
FORM = Form("a dog", PAINTED, "#ff0000", None, MODEL, False, "embedded", 5, 2.5, 1, "", "", 1, "", BLUR)


@pytest.fixture
def objects() -> sv.Detections:
    names = np.array(["cat", "object 1"])
    return sv.Detections(
        np.array([[10, 20, 60, 70], [100, 20, 150, 70]], np.float32),
        confidence=np.array([0.9, 0.8], np.float32),
        class_id=np.array([0, -1]),
        data={"class_name": names, "id": np.array(["cat [10, 20, 60, 70]", "pointed 1"])},
    )


def edit_of(objects: sv.Detections, mode: str = REPLACE, texts: dict[str, str] | None = None, **changed: Any) -> Edit:
    mask = MaskForm(mode, margins="0,0,25%,3")
    return FORM._replace(**changed).edit(mask, SIZE, objects, (STROKE,), texts or {}, Image.open)


@pytest.mark.parametrize(
    ("mode", "changed", "task"),
    [
        (REPLACE, {}, Replace("a dog")),
        (REMOVE, {}, Remove("model")),
        (REMOVE, {"remover": QUICK}, Remove("fill")),
        (BACKGROUND, {}, Background("a dog")),
        (BACKGROUND, {"backdrop": TRANSPARENT}, TransparentBackground()),
        (BACKGROUND, {"backdrop": COLOR}, ColorBackground("#ff0000")),
        (BACKGROUND, {"backdrop": BLURRED}, BlurBackground()),
        (BACKGROUND, {"backdrop": GREY}, Spotlight("grey")),
        (BACKGROUND, {"backdrop": DARK}, Spotlight("dark")),
        (BACKGROUND, {"backdrop": OUTLINED}, StickerCutOut()),
        (EFFECT, {}, Obscure("blur")),
        (EFFECT, {"effect": PIXELATE}, Obscure("pixelate")),
        (EFFECT, {"effect": RECOLOR}, Recolor("#ff0000")),
        (EXTEND, {}, Outpaint(Margins.parse("0,0,25%,3"), "a dog")),
        (REGIONS, {}, Regions((Region((10, 20, 60, 70), "a dog"), Region((100, 20, 150, 70), "a dog")))),
    ],
)
def test_a_mode_becomes_a_task(objects: sv.Detections, mode: str, changed: dict[str, Any], task: object):
    assert edit_of(objects, mode, **changed).task == task


def test_the_background_may_be_a_picture_that_the_studio_knows(objects: sv.Detections):
    known = {"sand.png": Image.new("RGB", (4, 4), "khaki")}
    form = FORM._replace(backdrop=PICTURE, picture="sand.png")
    task = form.edit(MaskForm(BACKGROUND), SIZE, objects, (), {}, known.__getitem__).task
    assert isinstance(task, PictureBackground)
    assert task.picture is known["sand.png"]


def test_each_region_has_its_own_text_or_that_of_all(objects: sv.Detections):
    task = edit_of(objects, REGIONS, {"pointed 1": " a fox "}).task
    assert [region.text for region in task.regions] == ["a dog", "a fox"]


@pytest.mark.parametrize(
    ("mode", "changed", "message"),
    [
        (REPLACE, {"text": " "}, "There is no text"),
        (BACKGROUND, {"text": ""}, "There is no text"),
        (BACKGROUND, {"backdrop": PICTURE}, "Choose a picture for the background first"),
        (BACKGROUND, {"backdrop": COLOR, "color": "pinkish"}, "'pinkish' is no colour"),
        (REGIONS, {"text": ""}, "what 'cat' becomes"),
        (EXTEND, {"text": "x" * 2001}, "longer than 2000"),
        (REPLACE, {"strength": 0}, "strength"),
        (REPLACE, {"seed": "-1"}, "seed of digits"),
        (REPLACE, {"seed": "5000000000"}, "Expected seed from 0"),
    ],
)
def test_what_is_missing_is_told(objects: sv.Detections, mode: str, changed: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        edit_of(objects, mode, **changed)


def test_regions_need_an_object(objects: sv.Detections):
    with pytest.raises(ValueError, match="There is no region"):
        edit_of(select(objects, np.arange(0)), REGIONS)


def test_the_sliders_become_the_sampling(objects: sv.Detections):
    changed: dict[str, Any] = {"steps": 12.0, "guidance": 4, "strength": 0.5, "seed": " 7 ", "candidates": 3.0}
    edit = edit_of(objects, negative_prompt=" blurry ", scheduler="euler", one_by_one=True, **changed)
    assert edit.sampling == Sampling(12, 4.0, 0.5, 7, "blurry", 3, "euler")
    assert edit.mask.one_by_one


def test_the_brush_corrects_objects_and_no_regions(objects: sv.Detections):
    assert edit_of(objects).brush == (STROKE,)
    assert edit_of(objects, REGIONS).brush == edit_of(objects, EXTEND).brush == ()
    assert MaskForm(REPLACE).preview(SIZE, (STROKE,)).brush == (STROKE,)
    assert MaskForm(REGIONS).preview(SIZE, (STROKE,)).brush == ()


@pytest.mark.parametrize(
    ("mode", "task"), [(REPLACE, Remove), (BACKGROUND, TransparentBackground), (REGIONS, Remove), (EXTEND, Outpaint)]
)
def test_the_preview_needs_no_text(mode: str, task: type):
    assert isinstance(MaskForm(mode).preview(SIZE, ()).task, task)


def test_percent_become_shares_of_objects_and_pixels_within_limits():
    settings = MaskForm(REPLACE, WHOLE_BOXES, grow=-5, feather=10).settings((200, 100), one_by_one=True)
    assert (settings.grow_share, settings.feather, settings.boxes, settings.one_by_one) == (-0.05, 20, True, True)
    assert MaskForm(feather=10).settings((9000, 100)).feather == 512
    regions = MaskForm(REGIONS, MASKS, grow=10).settings(SIZE)
    assert (regions.grow_share, regions.boxes) == (0, True)


@pytest.mark.parametrize("mode", [REPLACE, REMOVE, BACKGROUND])
def test_a_mask_grows_in_the_page_as_it_does_for_programs(mode: str):
    form, task = MaskForm(mode, grow=GROW[mode]), MaskForm(mode).preview(SIZE, ()).task
    for longer in (12, 60, 300):
        assert form.settings(SIZE).grow_of(longer, task) == MaskSettings().grow_of(longer, task)


def test_percent_have_no_limit_in_the_page_but_that_of_all_masks():
    form, task = MaskForm(REPLACE), Remove()
    assert [form.settings(SIZE).grow_of(longer, task) for longer in (3000, 9000)] == [249, 512]
    assert MaskSettings().grow_of(3000, task) == 64


def test_what_suits_a_model_and_a_mode():
    boxes = INPAINTER.__class__("b", "B", 1, "", boxes=True)
    assert [suited_shape(boxes, mode) for mode in (REPLACE, REMOVE, BACKGROUND)] == [WHOLE_BOXES, MASKS, MASKS]
    assert suited_shape(INPAINTER, REPLACE) == MASKS


@pytest.mark.parametrize(
    ("before", "grow", "mode", "suited"),
    [
        (REPLACE, GROW[REPLACE], BACKGROUND, 0),
        (BACKGROUND, 0, REPLACE, GROW[REPLACE]),
        (REPLACE, 3, BACKGROUND, 3),
        (REPLACE, 0, REMOVE, 0),
    ],
)
def test_what_was_chosen_by_hand_grows_as_it_did(before: str, grow: float, mode: str, suited: float):
    assert suited_grow(mode, before, grow) == suited


def test_a_box_drawn_by_hand_stays_as_it_was_drawn(objects: sv.Detections):
    pointing = Pointing((Gesture("pointed 1", box=(90, 10, 160, 80)), Gesture("pointed 1", point=(100, 50, 1))))
    assert as_drawn(objects, pointing).xyxy.tolist() == [[10, 20, 60, 70], [90, 10, 160, 80]]
    assert as_drawn(objects, pointing, SIZE).xyxy.tolist() == [[5, 15, 65, 75], [90, 10, 160, 80]]
    assert as_drawn(select(objects, np.arange(0)), pointing).xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("sent", "read"),
    [("rgba(255, 127.6, 0, 1)", "#ff8000"), ("rgb(0,0,0)", "#000000"), ("#abcdef", "#abcdef"), ("red", "red")],
)
def test_colours_are_read_as_the_picker_sends_them(sent: str, read: str):
    assert hex_color(sent) == read
