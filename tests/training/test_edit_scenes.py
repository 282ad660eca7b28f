"""Edits to learn from: what is asked for lies in the mask, the mask in the middle, and nothing else is told."""

import numpy as np
import pytest

from groundingdino.artwork.drawings import MAIN_STYLE, Artwork
from groundingdino.training.edit_scenes import REGION_SHARE, SIDE, EditMaker


@pytest.fixture(scope="module")
def artwork():
    return Artwork((MAIN_STYLE,), resolution=64)


@pytest.fixture(scope="module")
def edits(artwork):
    return EditMaker(artwork, seed=3, bank=4)


def test_edits_depend_on_seed_and_index_alone(artwork, edits):
    edit, again = edits.edit(5), EditMaker(artwork, seed=3, bank=4).edit(5)
    assert np.array_equal(edit.image, again.image)
    assert np.array_equal(edit.mask, again.mask)
    assert edit.prompt == again.prompt
    assert edit.image.shape == (SIDE, SIDE, 3)
    assert not np.array_equal(edit.image, EditMaker(artwork, seed=4, bank=4).edit(5).image)


def test_masks_lie_in_the_middle(artwork):
    edits = EditMaker(artwork, seed=0, bank=2, fill_rate=0)
    for index in range(30):
        rows, columns = (np.flatnonzero(edits.edit(index).mask.any(axis)) for axis in (1, 0))
        for places in (rows, columns):
            assert abs((places[0] + places[-1] + 1) / 2 - SIDE / 2) < 6
        longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        assert 0.6 * REGION_SHARE < longest / SIDE < 1.1 * REGION_SHARE


def test_what_is_asked_for_is_drawn_in_the_mask_alone(artwork):
    """Without and with a prompt, the same index has the same background and neighbours."""
    named = EditMaker(artwork, seed=3, bank=4, fill_rate=0)
    filled = EditMaker(artwork, seed=3, bank=4, fill_rate=1)
    for index in range(20):
        with_object, without = named.edit(index), filled.edit(index)
        assert with_object.prompt
        assert without.prompt == ""
        changed = (with_object.image != without.image).any(-1)
        assert changed[with_object.mask].any()
        assert not changed[~with_object.mask].any()


def test_each_class_has_its_turn(artwork):
    edits = EditMaker(artwork, seed=1, bank=1, fill_rate=0)
    drawing = edits.prototype(0)
    edits.prototype = lambda _label: drawing  # the others need not be rendered for this
    edits.say = lambda label, _rng: (str(label), drawing)
    prompts = [edits.edit(index).prompt for index in range(len(edits.names))]
    assert sorted(map(int, prompts)) == list(range(len(edits.names)))


def test_prompts_speak_of_their_class(edits):
    rng = np.random.default_rng(0)
    texts = {edits.say(0, rng)[0] for _ in range(200)}
    assert {"dog", "puppy", "a dog"} <= texts
    assert any(text.endswith(" dog") and text.split()[-2] in ("red", "blue", "green", "white") for text in texts)
    assert all({"dog", "dogs", "puppy", "puppies"} & set(text.split()) for text in texts)
