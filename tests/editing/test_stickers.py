from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
from PIL import Image, ImageDraw

from groundingdino.artwork.drawings import MAIN_STYLE
from groundingdino.editing.edits import Edit, MaskSettings, Sampling
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.perform import EditProgress, edit_picture
from groundingdino.editing.stickers import MOST_STRETCH, Stickers, _fitted, _style_of
from groundingdino.editing.tasks import Background, Region, Regions, Remove, Replace
from groundingdino.runtime.interruption import Stopped

BOX = (100, 60, 180, 140)
ROOM = (240, 60, 300, 120)


@pytest.fixture(scope="module")
def stickers() -> Stickers:
    loaded = Inpainter.from_pretrained("embedded", "cpu")
    assert isinstance(loaded, Stickers)
    return loaded


@pytest.fixture
def picture() -> Image.Image:
    """A magenta disc on a green gradient, 320 x 240 pixels."""
    y, x = np.mgrid[:240, :320]
    image = Image.fromarray(np.stack([60 + x // 8, 150 + y // 8, 90 + 0 * x], axis=-1).astype(np.uint8))
    ImageDraw.Draw(image).ellipse(BOX, fill=(255, 0, 255))
    return image


@pytest.fixture
def disc() -> sv.Detections:
    return sv.Detections(np.array([BOX], np.float32))


def edit_of(stickers: Stickers, text: str, **sampling) -> Edit:
    task = Replace(text)
    return Edit(task, stickers.card.mask_for(task), sampling=Sampling(**{"seed": 0, **sampling}))


def magenta(image: Image.Image) -> int:
    pixels = np.asarray(image).astype(int)
    return int(((pixels[..., 0] > 200) & (pixels[..., 1] < 80) & (pixels[..., 2] > 200)).sum())


def test_a_name_in_chinese_is_drawn(stickers, picture, disc):
    edited = edit_picture(picture, disc, edit_of(stickers, "一只红色的狗"), stickers)
    english = edit_picture(picture, disc, edit_of(stickers, "red dog"), stickers)
    assert edited.images[0].tobytes() == english.images[0].tobytes()
    assert edited.recipe["text"] == "一只红色的狗"
    with pytest.raises(ValueError, match="魑魅"):
        edit_picture(picture, disc, edit_of(stickers, "魑魅"), stickers)


def test_a_drawing_takes_the_place_and_the_rest_stays_to_the_bit(stickers, picture, disc):
    edited = edit_picture(picture, disc, edit_of(stickers, "dog"), stickers)
    before, after = np.asarray(picture), np.asarray(edited.images[0])
    np.testing.assert_array_equal(after[edited.mask == 0], before[edited.mask == 0])
    assert magenta(edited.images[0]) == 0
    inside = after[BOX[1] : BOX[3], BOX[0] : BOX[2]].astype(int)
    assert (np.abs(inside - inside[0, 0]).max(-1) > 40).mean() > 0.4
    (drawn,) = edited.recipe["drawn"]
    assert drawn[:2] == ["dog", MAIN_STYLE]
    assert edited.recipe["inpainter"] == "embedded"


def test_a_seed_lays_the_same_again_and_of_four_candidates_one_has_another_style(stickers, picture, disc):
    first = edit_picture(picture, disc, edit_of(stickers, "dog", seed=4, candidates=4), stickers)
    again = edit_picture(picture, disc, edit_of(stickers, "dog", seed=7), stickers)
    assert first.seeds == (4, 5, 6, 7)
    assert first.images[3].tobytes() == again.images[0].tobytes()
    assert len({image.tobytes() for image in first.images}) == 4
    assert [_style_of(seed) == MAIN_STYLE for seed in range(4)] == [True, True, True, False]
    assert len({_style_of(seed) for seed in range(20)}) == 6


def test_a_colour_word_tints(stickers, picture, disc):
    red, blue = (
        np.asarray(edit_picture(picture, disc, edit_of(stickers, f"{colour} car"), stickers).images[0]).astype(int)
        for colour in ("red", "blue")
    )
    x0, y0, x1, y1 = BOX
    red, blue = red[y0:y1, x0:x1], blue[y0:y1, x0:x1]
    assert ((red[..., 0] - red[..., 2]) > 90).mean() > 0.15
    assert ((blue[..., 2] - blue[..., 0]) > 90).mean() > 0.15


def test_each_region_shows_its_own(stickers, picture):
    regions = Regions((Region(BOX, "cat"), Region(ROOM, "pizza")))
    edited = edit_picture(picture, sv.Detections.empty(), Edit(regions, sampling=Sampling(seed=0)), stickers)
    assert [name for name, *_ in edited.recipe["drawn"]] == ["cat", "pizza"]
    for x0, y0, x1, y1 in (BOX, ROOM):
        window = np.s_[y0:y1, x0:x1]
        changed = np.abs(np.asarray(edited.images[0]).astype(int) - np.asarray(picture))[window].max(-1) > 30
        assert changed.mean() > 0.4


def test_each_object_gets_a_drawing_of_its_own_and_none_fills_the_place_of_another(stickers, picture):
    ImageDraw.Draw(picture).ellipse(ROOM, fill=(255, 0, 255))
    both = sv.Detections(np.array([BOX, ROOM], np.float32))
    edited = edit_picture(picture, both, edit_of(stickers, "tree"), stickers)
    assert [name for name, *_ in edited.recipe["drawn"]] == ["tree", "tree"]
    assert magenta(edited.images[0]) == 0


def test_what_is_removed_is_filled(stickers, picture, disc):
    by_stickers = edit_picture(picture, disc, Edit(Remove(), sampling=Sampling(seed=0)), stickers)
    by_nobody = edit_picture(picture, disc, Edit(Remove()))
    assert by_stickers.images[0].tobytes() == by_nobody.images[0].tobytes()
    assert by_nobody.recipe["by"] == "fill"
    assert magenta(by_nobody.images[0]) == 0


def test_the_drawing_that_is_most_like_what_was_there_is_chosen_and_turned_like_it(stickers, picture, disc):
    """A dinosaur's silhouette, and its mirror image: seed 0 keeps the pose."""
    sprite = stickers._of(MAIN_STYLE).sprite(MAIN_STYLE, "1f996").resize((80, 80))
    chosen = []
    for mirrored in (False, True):
        there = np.asarray(picture.copy())
        there = np.where(np.abs(there.astype(int) - [255, 0, 255]).sum(-1, keepdims=True) < 9, (66, 160, 90), there)
        image = Image.fromarray(there.astype(np.uint8))
        shape = sprite.getchannel("A").point(lambda value: 255 * (value > 127))
        shape = shape.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else shape
        image.paste((255, 0, 255), BOX[:2], shape)
        edited = edit_picture(image, disc, edit_of(stickers, "t-rex"), stickers)
        chosen.append(np.asarray(edited.images[0])[BOX[1] : BOX[3], BOX[0] : BOX[2]].astype(int))
    same = np.abs(chosen[0] - chosen[1]).mean()
    flipped = np.abs(chosen[0] - chosen[1][:, ::-1]).mean()
    assert flipped < same


@pytest.mark.parametrize(("there", "drawn"), [("1f408", "1f415"), ("1f31d", "1f436")])
def test_what_stands_is_drawn_standing_and_a_round_thing_as_a_face(stickers, picture, disc, there, drawn):
    """A cat's silhouette and a moon's become a dog."""
    sprite = stickers._of(MAIN_STYLE).sprite(MAIN_STYLE, there).resize((80, 80))
    image = Image.new("RGB", picture.size, (66, 160, 90))
    image.paste((255, 0, 255), BOX[:2], sprite.getchannel("A").point(lambda value: 255 * (value > 127)))
    edited = edit_picture(image, disc, edit_of(stickers, "dog"), stickers)
    assert edited.recipe["drawn"] == [["dog", MAIN_STYLE, drawn]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a sleepy cat", "leaves out 'sleepy': for more than a name, choose a diffusion model"),
        ("blue pizza", "The colour of 'pizza' stays"),
    ],
)
def test_what_of_a_text_is_not_heeded_is_told(stickers, picture, disc, text, message):
    edited = edit_picture(picture, disc, edit_of(stickers, text), stickers)
    assert any(message in note for note in edited.notes)


@pytest.mark.parametrize(
    ("sampling", "named"),
    [
        ({"negative_prompt": "dog"}, "negative prompt"),
        ({"strength": 0.5, "steps": 30}, "steps, strength"),
        ({"guidance": 7.5}, "guidance"),
        ({"scheduler": "ddim"}, "scheduler"),
    ],
)
def test_settings_of_how_it_is_painted_are_refused(stickers, picture, disc, sampling, named):
    with pytest.raises(ValueError, match=rf"^Stickers \(offline\) makes no use of {named}: leave that out\.$"):
        edit_picture(picture, disc, edit_of(stickers, "cat", **sampling), stickers)


def test_a_mask_that_cuts_the_drawing_off_is_told(stickers, picture):
    mask = np.zeros((1, 240, 320), bool)
    mask[0, 60:140, 100:110] = mask[0, 60:70, 100:180] = True
    objects = sv.Detections(np.array([BOX], np.float32), mask)
    edited = edit_picture(
        picture, objects, Edit(Replace("cat"), MaskSettings(grow=0), sampling=Sampling(seed=0)), stickers
    )
    assert any("edit boxes instead of masks" in note for note in edited.notes)


def test_unknown_names_and_backgrounds_are_refused_in_a_sentence(stickers, picture, disc):
    with pytest.raises(ValueError, match=r"There is no drawing of 'elefant': the nearest there are 'elephant'"):
        edit_picture(picture, disc, edit_of(stickers, "elefant"), stickers)
    with pytest.raises(ValueError, match="Stickers cannot paint a background by words"):
        edit_picture(picture, disc, Edit(Background("beach")), stickers)


def test_progress_is_told_and_an_edit_stops(stickers, picture, disc):
    reports: list[EditProgress] = []
    edit_picture(picture, disc, edit_of(stickers, "dog"), stickers, reports.append)
    assert [(each.step, each.steps) for each in reports] == [(0, 2), (1, 2), (2, 2)]
    assert reports[0].preview is None
    assert magenta(reports[1].preview) == 0
    with pytest.raises(Stopped):
        edit_picture(picture, disc, edit_of(stickers, "dog"), stickers, stop=lambda: True)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (20, 20)])
def test_any_size_of_picture_and_box(stickers, size):
    image = Image.new("RGB", size, "teal")
    objects = sv.Detections(np.array([[0, 0, max(1, size[0] // 2), max(1, size[1] // 2)]], np.float32))
    edit = replace(edit_of(stickers, "dog"), mask=MaskSettings(grow=0, feather=0, boxes=True))
    if size == (1, 1):
        with pytest.raises(ValueError, match="nothing around it"):
            edit_picture(image, objects, edit, stickers)
    else:
        assert edit_picture(image, objects, edit, stickers).images[0].size == size


@pytest.mark.parametrize(
    ("drawing", "room", "expected"),
    [
        ((100, 100), (50, 50), (50, 50)),
        ((100, 100), (50, 45), (50, 45)),  # stretched
        ((100, 100), (90, 45), (45 * MOST_STRETCH, 45)),
        ((50, 100), (60, 60), (30 * MOST_STRETCH, 60)),
    ],
)
def test_a_drawing_fills_its_room_as_far_as_it_may_be_stretched(drawing, room, expected):
    assert _fitted(drawing, room) == pytest.approx(expected)
