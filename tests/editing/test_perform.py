from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import supervision as sv
from PIL import ExifTags, Image, ImageCms

from groundingdino.editing.edits import Edit, MaskSettings, Sampling
from groundingdino.editing.perform import EditProgress, HeldBack, edit_picture, unchanged
from groundingdino.editing.preview import PREVIEW_SIDE
from groundingdino.editing.recipe import png_with_recipe
from groundingdino.editing.tasks import (
    Background,
    ColorBackground,
    PictureBackground,
    Region,
    Regions,
    Remove,
    Replace,
    TransparentBackground,
)
from groundingdino.inputs.image import load_editable
from groundingdino.runtime.interruption import Stopped
from tests.dauber import Dauber

SIZES = [(64, 48), (37, 600), (900, 31), (1200, 800), (2, 1), (3, 250)]
TASKS = [
    Replace("red"),
    Remove(),
    Remove("fill"),
    Background("red"),
    Regions((Region((0, 0, 1, 1), "red"), Region((0.4, 0, 9, 30), "lime"))),
    TransparentBackground(),
    ColorBackground("red"),
    PictureBackground(Image.new("RGB", (5, 5), "red")),
]


@dataclass
class Censor(Dauber):
    """Holds back what it painted from some seeds."""

    blocked: set[int] = field(default_factory=set)

    def paint(self, pixels, mask, alpha, texts, sampling, report, stop):
        painted = super().paint(pixels, mask, alpha, texts, sampling, report, stop)
        if sampling.seed in self.blocked:
            raise HeldBack(f"The safety checker held seed {sampling.seed} back.")
        return painted


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    shape = (size[1], size[0], len(mode))
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def object_in(size: tuple[int, int]) -> sv.Detections:
    """One object in the upper left quarter."""
    width, height = size
    mask = np.zeros((1, height, width), bool)
    mask[0, : max(1, height // 2), : max(1, width // 2)] = True
    return sv.Detections(np.array([[0, 0, max(1, width // 2), max(1, height // 2)]], float), mask)


def two_objects() -> sv.Detections:
    masks = np.zeros((2, 48, 64), bool)
    masks[0, 5:15, 5:15] = masks[1, 30:40, 45:55] = True
    return sv.Detections(np.array([[5, 5, 15, 15], [45, 30, 55, 40]], float), masks)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.mode)
def test_pixels_outside_the_mask_stay_to_the_bit_at_any_size(task, size, mode):
    picture = noise(size, mode)
    edit = Edit(task, MaskSettings(grow=0, feather=1), (), Sampling(seed=1))
    edited = edit_picture(picture, object_in(size), edit, Dauber())
    (image,) = edited.images
    assert image.size == size
    assert edited.mask.shape == size[::-1]
    kept = edited.mask == 0
    if mode == "RGBA" and task.mode in ("color", "picture"):  # which show through what is translucent
        kept &= np.asarray(picture)[..., 3] == 255
    np.testing.assert_array_equal(np.asarray(image.convert(mode))[kept], np.asarray(picture)[kept])


@pytest.mark.parametrize("task", [Remove("fill"), Remove()])
def test_what_is_removed_leaves_transparency_as_it_was(task):
    picture = noise((64, 48), "RGBA")
    edited = edit_picture(picture, two_objects(), Edit(task), Dauber())
    assert edited.images[0].mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(edited.images[0])[..., 3], np.asarray(picture)[..., 3])


@pytest.mark.parametrize("task", [Replace("red"), Background("red"), Regions((Region((5, 5, 15, 15), "red"),))])
@pytest.mark.parametrize("opacity", [0, 100, 255])
def test_what_is_painted_is_seen_where_nothing_was(task, opacity):
    picture = Image.new("RGBA", (64, 48), (0, 0, 0, opacity))
    edit = Edit(task, MaskSettings(grow=0, feather=3), (), Sampling(seed=0))
    edited = edit_picture(picture, two_objects(), edit, Dauber())
    pixels = np.asarray(edited.images[0])
    np.testing.assert_array_equal(pixels[..., 3], np.maximum(edited.mask, opacity))
    assert (pixels[edited.mask == 255] == (255, 0, 0, 255)).all()
    if opacity == 0:  # a colour that nobody saw does not darken the soft edge
        assert (pixels[edited.mask > 0][:, 0] == 255).all()


def test_a_picture_is_edited_as_people_see_it(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / "turned.png"
    noise((48, 64)).save(path, exif=exif)
    edited = edit_picture(load_editable(path), two_objects(), Edit(Replace("red")), Dauber())
    assert edited.images[0].size == (64, 48)
    assert edited.images[0].getexif().get(ExifTags.Base.Orientation, 1) == 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_profile_stays_with_the_numbers_it_explains(tmp_path, mode):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path, out = tmp_path / "wide.png", tmp_path / "out.png"
    noise((64, 48)).convert(mode).save(path, icc_profile=profile)
    for task in (Replace("red"), Remove("fill"), TransparentBackground()):
        edited = edit_picture(load_editable(path), two_objects(), Edit(task), Dauber())
        out.write_bytes(png_with_recipe(edited.images[0], edited.recipe))
        assert Image.open(out).info["icc_profile"] == profile
    Image.new("CMYK", (64, 48)).save(tmp_path / "four.tif", icc_profile=profile)
    assert "icc_profile" not in load_editable(tmp_path / "four.tif").info


def test_what_is_painted_fills_the_mask_and_fades_at_its_edge():
    picture = Image.new("RGB", (64, 48), "black")
    edit = Edit(Replace("red"), MaskSettings(grow=0, feather=3), (), Sampling(seed=0))
    edited = edit_picture(picture, two_objects(), edit, Dauber())
    row = np.asarray(edited.images[0])[10, 10:20, 0]
    assert row.tolist() == [255] * 5 + [191, 128, 64, 0, 0]


def test_candidates_count_their_seeds_up_and_each_can_be_had_again():
    edit = Edit(Replace("red"), sampling=Sampling(seed=2**32 - 1, candidates=3))
    edited = edit_picture(noise((64, 48)), two_objects(), edit, Dauber())
    assert edited.seeds == (2**32 - 1, 0, 1)
    assert len({image.tobytes() for image in edited.images}) == 3
    again = edit_picture(noise((64, 48)), two_objects(), replace(edit, sampling=Sampling(seed=1)), Dauber())
    assert again.images[0].tobytes() == edited.images[2].tobytes()
    assert edited.recipe["seeds"] == [2**32 - 1, 0, 1]
    assert edited.recipe_of(2)["seed"] == 1
    assert "seeds" not in edited.recipe_of(2)


def test_without_a_seed_one_is_drawn_and_told():
    seeds = {edit_picture(noise((64, 48)), two_objects(), Edit(Remove()), Dauber()).seeds for _ in range(3)}
    assert len(seeds) == 3


def test_no_model_paints_where_none_is_needed():
    dauber = Dauber()
    edited = edit_picture(noise((64, 48)), two_objects(), Edit(Remove("fill")), dauber)
    assert dauber.painted == []
    assert edited.seeds == ()
    assert edited.recipe["inpainter"] is None
    assert edited.recipe_of(0) == edited.recipe


def test_a_model_is_asked_for_where_one_is_needed():
    with pytest.raises(ValueError, match="choose an inpainter"):
        edit_picture(noise((64, 48)), two_objects(), Edit(Replace("red")))


def test_one_by_one_each_object_has_its_pass():
    together, apart = Dauber(), Dauber()
    edit_picture(noise((64, 48)), two_objects(), Edit(Replace("red")), together)
    edit_picture(noise((64, 48)), two_objects(), Edit(Replace("red"), MaskSettings(one_by_one=True)), apart)
    assert (len(together.painted), len(apart.painted)) == (1, 2)


def test_regions_take_one_pass_where_the_model_can_and_one_each_elsewhere():
    regions = Regions((Region((0, 0, 20, 20), "red"), Region((40, 20, 64, 48), "lime")))
    one, several = Dauber(paints_regions=True), Dauber()
    nothing = sv.Detections.empty()
    edit = Edit(regions, MaskSettings(feather=0), (), Sampling(seed=0))
    edit_picture(noise((64, 48)), nothing, edit, one)
    edited = edit_picture(noise((64, 48)), nothing, edit, several)
    assert [text for text, _ in one.painted] == ["red"]
    assert [text for text, _ in several.painted] == ["red", "lime"]
    assert edited.images[0].getpixel((5, 5)) == (255, 0, 0)
    assert edited.images[0].getpixel((50, 30)) == (0, 255, 0)


def test_progress_counts_all_steps_and_shows_the_picture():
    reports: list[EditProgress] = []
    edit = Edit(Replace("red"), MaskSettings(one_by_one=True), (), Sampling(steps=3, candidates=2, seed=0))
    edit_picture(noise((1280, 960)), object_in((1280, 960)), edit, Dauber(), reports.append)
    assert [(report.step, report.candidate) for report in reports] == [
        *((step, 1) for step in (0, 1, 2, 3)),
        *((step, 2) for step in (3, 4, 5, 6)),
    ]
    assert {(report.steps, report.candidates) for report in reports} == {(6, 2)}
    assert reports[-1].share == 1
    assert reports[0].preview is None
    preview = reports[1].preview
    assert preview is not None
    assert preview.size == (PREVIEW_SIDE, 480)
    assert preview.getpixel((100, 100)) == (255, 0, 0)


def test_an_edit_stops_when_nobody_waits_for_it():
    dauber = Dauber()
    with pytest.raises(Stopped):
        edit_picture(noise((64, 48)), two_objects(), Edit(Remove()), dauber, stop=lambda: dauber.steps == 2)
    assert dauber.steps == 2


def test_what_a_safety_checker_holds_back_is_told_and_the_others_are_shown():
    edit = Edit(Replace("red"), sampling=Sampling(seed=5, candidates=3))
    edited = edit_picture(noise((64, 48)), two_objects(), edit, Censor(blocked={5}))
    assert edited.seeds == (6, 7)
    assert edited.notes == ("A candidate is missing. The safety checker held seed 5 back.",)
    edited = edit_picture(noise((64, 48)), two_objects(), edit, Censor(blocked={7}))
    assert edited.seeds == (5, 6)
    with pytest.raises(HeldBack, match="held seed 7 back"):
        edit_picture(noise((64, 48)), two_objects(), edit, Censor(blocked={5, 6, 7}))


def test_an_unchanged_picture_has_no_recipe():
    picture = noise((64, 48))
    edited = unchanged(picture)
    assert edited.images == (picture,)
    assert not edited.mask.any()
    assert edited.recipe_of(0) == {}
