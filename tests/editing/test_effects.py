import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.editing.edits import Edit, MaskSettings
from groundingdino.editing.effects import PIECES
from groundingdino.editing.perform import edit_picture
from groundingdino.editing.tasks import BlurBackground, ColorBackground, Obscure, Recolor, Spotlight, StickerCutOut

SIZE = (160, 120)
BOX = (40, 30, 100, 90)
INSIDE = np.s_[34:86, 44:96]
OUTSIDE = np.s_[100:, :]
HARD = MaskSettings(grow=0, feather=0)


@pytest.fixture
def picture() -> Image.Image:
    """Coloured noise."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8))


@pytest.fixture
def box() -> sv.Detections:
    mask = np.zeros((1, *SIZE[::-1]), bool)
    mask[0, BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    return sv.Detections(np.array([BOX], np.float32), mask)


def done(picture: Image.Image, box: sv.Detections, task, settings: MaskSettings = HARD) -> np.ndarray:
    """The result; outside the mask it is the picture to the bit."""
    edited = edit_picture(picture, box, Edit(task, settings))
    after, before = np.asarray(edited.images[0]), np.asarray(picture)
    np.testing.assert_array_equal(after[..., :3][edited.mask == 0], before[..., :3][edited.mask == 0])
    assert edited.recipe["mode"] == task.mode
    assert edited.seeds == ()
    return after


def test_what_is_blurred_has_no_detail_left(picture, box):
    after = done(picture, box, Obscure("blur"))
    assert after[INSIDE].std() < 0.1 * np.asarray(picture)[INSIDE].std()


def test_what_is_pixelated_is_a_few_large_pixels(picture, box):
    after = done(picture, box, Obscure("pixelate"))
    inside = after[BOX[1] : BOX[3], BOX[0] : BOX[2]]
    assert len(np.unique(inside.reshape(-1, 3), axis=0)) <= (PIECES + 1) ** 2


def test_what_is_recoloured_keeps_its_shading(box):
    shades = np.linspace(40, 220, SIZE[0]).astype(np.uint8)
    picture = Image.fromarray(np.stack(np.broadcast_arrays(shades, 0, 0), -1).astype(np.uint8)[None].repeat(120, 0))
    after = done(picture, box, Recolor("blue"))[60, BOX[0] : BOX[2]].astype(int)
    assert (after[:, 2] > after[:, 0]).all()
    light = after.sum(-1)
    assert (np.diff(light) >= 0).all()
    assert light[-1] > 1.3 * light[0]


def test_all_else_is_blurred_and_what_stays_does_not_shine_into_it(picture, box):
    pixels = np.zeros((*SIZE[::-1], 3), np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    after = done(Image.fromarray(pixels), box, BlurBackground())
    np.testing.assert_array_equal(after, pixels)
    blurred = done(picture, box, BlurBackground())
    assert blurred[OUTSIDE].std() < 0.5 * np.asarray(picture)[OUTSIDE].std()
    np.testing.assert_array_equal(blurred[INSIDE], np.asarray(picture)[INSIDE])


def test_all_else_becomes_grey_or_dark(picture, box):
    grey, dark = (done(picture, box, Spotlight(by)) for by in ("grey", "dark"))
    assert (np.ptp(grey[OUTSIDE], axis=-1) == 0).all()
    assert dark[OUTSIDE].mean() < 0.4 * np.asarray(picture)[OUTSIDE].mean()
    for after in (grey, dark):
        np.testing.assert_array_equal(after[INSIDE], np.asarray(picture)[INSIDE])


def test_a_sticker_has_an_edge_and_nothing_around_it(picture, box):
    after = done(picture, box, StickerCutOut("#ff0000"))
    assert after.shape[2] == 4
    np.testing.assert_array_equal(after[INSIDE][..., :3], np.asarray(picture)[INSIDE])
    assert (after[60, BOX[0] - 2] == (255, 0, 0, 255)).all()
    assert (after[:20, :20] == 0).all()
    assert StickerCutOut().rgb == (255, 255, 255)


@pytest.mark.parametrize("task", [Obscure("blur"), Recolor("red"), BlurBackground(), Spotlight("dark")])
def test_transparency_stays(picture, box, task):
    picture.putalpha(100)
    after = done(picture, box, task, MaskSettings(grow=2, feather=3))
    assert (after[..., 3] == 100).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 90), (90, 2)])
@pytest.mark.parametrize("task", [Obscure("blur"), Obscure("pixelate"), Recolor("red")])
def test_any_size(task, size):
    whole = sv.Detections(np.array([[0, 0, *size]], np.float32))
    edited = edit_picture(Image.new("RGB", size, "teal"), whole, Edit(task))
    assert edited.images[0].size == size


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Obscure("smear"), "by 'blur' or 'pixelate', not by 'smear'"),
        (lambda: Spotlight("pink"), "'grey' or 'dark', not 'pink'"),
        (lambda: Recolor("blurple"), "'blurple' is no colour"),
        (lambda: StickerCutOut("#fff8"), "lets something show through"),
        (lambda: ColorBackground(""), "'' is no colour"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
