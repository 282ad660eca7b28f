import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.editing.edits import Edit, MaskSettings, Sampling
from groundingdino.editing.margins import Margins
from groundingdino.editing.mask import edit_mask
from groundingdino.editing.outpainting import framed, grown, new_part
from groundingdino.editing.perform import NO_GROWTH, edit_picture
from groundingdino.editing.recipe import png_with_recipe, read_recipe
from groundingdino.editing.stickers import Stickers
from groundingdino.editing.tasks import Outpaint
from tests.dauber import Dauber

NOTHING = sv.Detections.empty()
MARGINS = Margins.parse("4, 25%, 0, 10")  # of 64 x 48 pixels: 4, 12, 0 and 10
OLD = np.s_[12:60, 4:68]  # where the picture lies in the grown one


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    shape = (size[1], size[0], len(mode))
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("feather", [0, 3])
def test_a_picture_grows_and_keeps_its_pixels_to_the_bit(mode, feather):
    picture = noise((64, 48), mode)
    picture.info["icc_profile"] = b"profile"
    edit = Edit(Outpaint(MARGINS, "red"), MaskSettings(feather=feather), (), Sampling(seed=7))
    edited = edit_picture(picture, NOTHING, edit, Dauber())
    (image,) = edited.images
    assert (image.size, image.mode) == ((68, 70), mode)
    assert image.info["icc_profile"] == b"profile"
    assert edited.mask.shape == (70, 68)
    before, after = np.asarray(picture), np.asarray(image)[OLD]
    kept = edited.mask[OLD] == 0
    np.testing.assert_array_equal(after[kept], before[kept])
    np.testing.assert_array_equal(kept[feather : -feather or None, feather:], True)  # but for the soft edge all of it
    assert kept.all() == (feather == 0)
    new = np.ones((70, 68), bool)
    new[OLD] = False
    np.testing.assert_array_equal(edited.mask == 255, new)
    np.testing.assert_array_equal(np.asarray(image)[new], [(255, 0, 7, 255)[: len(mode)]] * new.sum())


def test_its_recipe_says_by_how_much_and_repeats_it():
    edit = Edit(Outpaint(MARGINS), sampling=Sampling(seed=7, candidates=2))
    edited = edit_picture(noise((64, 48)), NOTHING, edit, Dauber())
    recipe = read_recipe(png_with_recipe(edited.images[1], edited.recipe_of(1)))
    assert (recipe["mode"], recipe["margins"], recipe["seed"]) == ("outpaint", [4, "25%", 0, 10], 8)
    assert recipe["mask"] == {"feather": 1}
    assert "text" not in recipe
    again = Edit(Outpaint(recipe["margins"]), sampling=Sampling(seed=recipe["seed"]))
    assert edit_picture(noise((64, 48)), NOTHING, again, Dauber()).images[0].tobytes() == edited.images[1].tobytes()


@pytest.mark.parametrize("painter", [None, Stickers()])
def test_without_a_model_that_paints_it_is_refused_in_a_sentence(painter):
    with pytest.raises(ValueError, match=r"^Growing a picture needs a model that paints: choose .*\.$") as refusal:
        edit_picture(noise((64, 48)), NOTHING, Edit(Outpaint("25%")), painter)
    assert str(refusal.value) == NO_GROWTH


def test_a_model_sees_mirror_images_where_nothing_is_yet():
    picture = noise((64, 48))
    seen, before = np.asarray(grown(picture, MARGINS)), np.asarray(picture)
    np.testing.assert_array_equal(seen[OLD], before)
    np.testing.assert_array_equal(seen[11, 4:68], before[0])
    np.testing.assert_array_equal(seen[12:60, 0], before[:, 3])
    np.testing.assert_array_equal(seen[69, 4:68], before[38])


def test_before_and_after_are_compared_in_one_frame():
    picture = noise((64, 48))
    frame = framed(picture, MARGINS)
    assert frame.size == (68, 70)
    np.testing.assert_array_equal(np.asarray(frame)[OLD], np.asarray(picture))
    assert frame.getpixel((0, 0)) == (128, 128, 128)


def test_what_is_new_is_the_mask_whatever_was_found():
    new = new_part(MARGINS, (64, 48))[0]
    assert not new[OLD].any()
    assert new.sum() == 68 * 70 - 64 * 48
    objects = sv.Detections(np.array([[0, 0, 5, 5]], float))
    mask = edit_mask(objects, (64, 48), Edit(Outpaint(MARGINS), MaskSettings(grow=30, one_by_one=True)))
    assert mask.size == (68, 70)
    np.testing.assert_array_equal(mask.parts[0], new)


@pytest.mark.parametrize(("text", "kept"), [("", ""), ("  ", ""), (" sea ", "sea")])
def test_a_text_is_as_good_as_none(text, kept):
    assert Outpaint("25%", text).text == kept


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("x",), "Expected a margin"),
        (("0%",), "would not grow"),
        (("5%", 5), "Expected a text"),
        (("5%", "x" * 2001), "2000"),
    ],
)
def test_what_cannot_be_grown_by_is_said_when_it_is_asked(values, message):
    with pytest.raises(ValueError, match=message):
        Outpaint(*values)
