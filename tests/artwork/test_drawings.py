import numpy as np
import pytest

from groundingdino.artwork.drawings import HELD_OUT_STYLE, MAIN_STYLE, STYLES, TRAINING_STYLES, Artwork
from groundingdino.artwork.names import load_names


def test_the_main_and_the_held_out_style_draw_everything():
    artwork = Artwork((MAIN_STYLE, HELD_OUT_STYLE))
    drawings = [drawing.codepoints for name in load_names() for drawing in name.drawings]
    assert all(artwork.has(style, codepoints) for style in artwork.styles for codepoints in drawings)


def test_old_drawings_of_something_else_are_left_out():
    artwork = Artwork(("noto", "noto-v1", "emojione"))
    assert [artwork.has(style, "1f997") for style in artwork.styles] == [True, False, False]


def test_the_held_out_style_is_not_trained_on():
    assert HELD_OUT_STYLE not in TRAINING_STYLES
    assert len(TRAINING_STYLES) == len(STYLES) - 1


@pytest.mark.parametrize("style", [style.name for style in STYLES])
def test_a_drawing_fills_its_picture(style):
    """Its box is the box of the thing: no margin on any side."""
    sprite = Artwork((style,), resolution=80).sprite(style, "1f431")
    alpha = np.asarray(sprite)[..., 3]
    assert max(sprite.size) == 80
    assert sprite.mode == "RGBA"
    assert all(edge.max() >= 24 for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))
    assert (alpha > 200).mean() > 0.4


def test_everything_can_be_rendered_ahead():
    artwork = Artwork(("noto-v1",), resolution=24)
    artwork._sources["noto-v1"] = {key: artwork._sources["noto-v1"][key] for key in ("1f431", "1f436")}
    artwork.render()
    assert set(artwork._sprites) == {("noto-v1", "1f431"), ("noto-v1", "1f436")}
    assert artwork.sprite("noto-v1", "1f431") is artwork.sprite("noto-v1", "1f431")


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match="the styles are noto, "):
        Artwork(("crayon",))
