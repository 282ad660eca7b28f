"""What the page shows of an edit."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundingdino.page.edit_form import BACKGROUND, REGIONS, REMOVE, REPLACE, MaskForm
from groundingdino.page.edit_view import NO_EDIT, NO_HISTORY, candidate_view, masked
from groundingdino.page.layout import PAGE_FILES, SCRIPTS
from groundingdino.page.studio import Picture
from groundingdino.page.view import NOTHING

SIZE = (80, 40)


def decoded(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))


@pytest.fixture
def picture() -> Picture:
    return Picture(Image.new("RGB", SIZE), Image.new("RGB", (160, 80)))


def test_the_mask_lies_over_the_picture_as_it_is_shown(picture: Picture):
    alpha = np.zeros((40, 80), np.uint8)
    alpha[10:30, 20:60] = 255
    alpha[10:30, 60:62] = 100  # the soft edge
    shown = masked(NOTHING, picture, alpha, MaskForm(REPLACE), 3)
    covered = decoded(shown["mask"]).getchannel("A")
    assert covered.size == (160, 80)
    assert [covered.getpixel(place) for place in ((60, 40), (122, 40), (150, 40))] == [255, 100, 0]
    assert shown["outline"].startswith("M")
    assert (shown["strokes"], shown["tick"], shown["asks"]) == (3, "Edit", False)


def test_without_a_mask_there_is_nothing_over_it(picture: Picture):
    shown = masked(NOTHING, picture, None, MaskForm(REPLACE), 0)
    assert (shown["mask"], shown["outline"]) == ("", "")


@pytest.mark.parametrize(
    ("mode", "tick", "asks"), [(REMOVE, "Edit", False), (BACKGROUND, "Keep", False), (REGIONS, "Edit", True)]
)
def test_ticks_are_worded_as_the_mode_takes_them(picture: Picture, mode: str, tick: str, asks: bool):
    shown = masked(NOTHING, picture, None, MaskForm(mode), 0)
    assert (shown["tick"], shown["asks"]) == (tick, asks)


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "JPEG"), ("RGBA", "WEBP")])
def test_a_candidate_is_shown_with_its_transparency(mode: str, kind: str):
    shown = candidate_view(Image.new(mode, SIZE), (40, 20), 7)
    image = decoded(shown["image"])
    assert (image.format, image.size, shown["seed"]) == (kind, (40, 20), 7)


def test_page_files_read_all_of_it():
    script = "".join((Path(PAGE_FILES) / name).read_text() for name in SCRIPTS)
    for field in [*NO_EDIT, *NO_HISTORY]:
        assert field in script, field
