import dataclasses

import pytest

from groundingdino.detection import drafts
from groundingdino.detection.drafts import Pace, Work
from groundingdino.model.config import EMBEDDED, SwinConfig

CONFIG = dataclasses.replace(EMBEDDED, short_side=64, long_side=96, num_levels=3)
SIZE = (96, 64)  # 96 + 24 + 6 tokens
NEW = Work(encodings=1, groundings=1)


@pytest.fixture
def pace(monkeypatch) -> Pace:
    """A millisecond for an image token, half of it for the picture."""
    monkeypatch.setattr(drafts, "DRAFT_SIDES", (48, 32))
    pace = Pace()
    pace.encoding.append(0.5)
    pace.grounding.append(0.5)
    return pace


@pytest.mark.parametrize(("milliseconds", "side"), [(126, None), (125, 48), (71, 48), (70, 32), (1, 32)])
def test_a_slow_pass_is_worth_a_draft_of_the_largest_size_that_is_fast(pace, monkeypatch, milliseconds, side):
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", milliseconds)
    assert pace.draft_side(CONFIG, SIZE, NEW) == side


@pytest.mark.parametrize(("sides", "side"), [((56, 49), None), ((56, 49, 40), 40)])
def test_a_draft_that_saves_little_is_not_worth_it(pace, monkeypatch, sides, side):
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 1)
    monkeypatch.setattr(drafts, "DRAFT_SIDES", sides)
    assert pace.draft_side(CONFIG, SIZE, NEW) == side


def test_a_map_of_stride_4_has_four_times_the_tokens(pace, monkeypatch):
    config = dataclasses.replace(CONFIG, backbone=SwinConfig(first_stage=0))
    for milliseconds, side in ((4 * 126, None), (4 * 125, 48)):
        monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", milliseconds)
        assert pace.draft_side(config, SIZE, NEW) == side


def test_an_encoded_picture_has_half_of_the_work_left(pace, monkeypatch):
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 71)
    assert pace.draft_side(CONFIG, SIZE, Work(0, 1)) is None


def test_phrases_with_passes_of_their_own_take_as_long_as_all_of_them(pace, monkeypatch):
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 126)
    assert pace.draft_side(CONFIG, SIZE, Work(0, 2)) is None
    assert pace.draft_side(CONFIG, SIZE, Work(0, 3)) == 48


def test_the_whole_picture_is_the_draft_of_its_tiles(pace, monkeypatch):
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 126)
    tiled = Work(encodings=10, groundings=10)
    assert pace.draft_side(CONFIG, SIZE, tiled, NEW) == CONFIG.short_side
    assert pace.draft_side(CONFIG, SIZE, NEW, Work(0, 0)) is None
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 125)
    assert pace.draft_side(CONFIG, SIZE, tiled, NEW) == 48
    assert pace.draft_side(CONFIG, SIZE, tiled, Work(0, 1)) == CONFIG.short_side  # it was looked at before
    monkeypatch.setattr(drafts, "DRAFT_SIDES", ())
    assert pace.draft_side(CONFIG, SIZE, tiled, NEW) == CONFIG.short_side


def test_the_fastest_of_the_last_passes_counts(pace, monkeypatch):
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 125)
    pace.grounding.extend([50.0] * (drafts.PASSES - 1))  # the machine was busy
    assert pace.draft_side(CONFIG, SIZE, NEW) == 48
    pace.grounding.append(50.0)
    assert pace.draft_side(CONFIG, SIZE, NEW) == 32


def test_nobody_knows_how_slow_the_first_pass_is(monkeypatch):
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 0)
    assert Pace().draft_side(CONFIG, SIZE, NEW) is None
