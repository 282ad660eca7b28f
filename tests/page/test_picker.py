from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from groundingdino.detection.available_models import MODELS
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.picker import Picker, Row, SecondPicker
from groundingdino.tracking.available_trackers import TRACKERS
from tests.oracle import CARD, Oracle

CARDS = {"embedded": CARD, "large": replace(CARD, name="large", title="Large", size_bytes=2_000_000)}


@pytest.fixture
def picker() -> Picker:
    def load(name: str, **_: Any) -> Oracle:
        return Oracle({}, CARDS[name])

    return Picker(ModelCache(CARDS, load, lambda name: name == "embedded"))


def test_choosing_a_model_describes_it_and_offers_the_download(picker: Picker):
    description, button = picker.choose("large")
    assert description == CARD.description
    assert button["visible"]
    assert button["value"] == "Download 2 MB"
    assert not picker.choose("embedded")[1]["visible"]


def test_a_download_ends_with_a_model_that_is_ready(picker: Picker):
    assert picker.choices() == [("Photographs · Oracle · 12 MB", "embedded"), ("Photographs · Large · ↓ 2 MB", "large")]
    *_, (description, button, choice, ready) = picker.download(Row(), "large", 4)
    assert (description, ready) == (CARD.description, 6)
    assert not button["visible"]
    assert choice["choices"] == [("Photographs · Oracle · 12 MB", "embedded"), ("Photographs · Large · 2 MB", "large")]
    assert picker.models.get("large").card.title == "Large"


def test_who_comes_back_to_a_model_that_is_on_its_way_can_follow_its_download():
    arrived = Event()

    def load(*_: Any, **__: Any) -> Oracle:
        assert arrived.wait(5)
        raise ValueError("The line is dead.")

    picker = Picker(ModelCache(CARDS, load, lambda name: name == "embedded"))
    row = Row()
    first = picker.download(row, "large", 0)
    next(first)
    row.turn_to("embedded")
    assert list(first) == []
    assert picker.choose("large")[1]["value"] == "Follow its download"
    again = picker.download(Row(), "large", 0)
    next(again)
    arrived.set()
    *_, (message, button, _, _) = again
    assert message == "The line is dead."
    assert (button["value"], button["interactive"]) == ("Download 2 MB", True)


def test_a_failed_download_says_why_and_leaves_the_button(picker: Picker):
    picker.models.local_files_only = True
    ((message, button, _, ready),) = picker.download(Row(), "large", 4)
    expected = "Large is not on this machine, and downloads are switched off on this server: choose another model."
    assert message == expected
    assert not button["interactive"]
    assert ready == 6, "what is said at the result changes, too"


def test_a_second_model_may_be_none(picker: Picker):
    second = SecondPicker(picker.models)
    assert second.choices() == [("None", "none"), *picker.choices()]
    about, fetch = second.choose("none")
    assert (about, fetch["visible"]) == ("", False)
    assert second.choose("large") == picker.choose("large")


def test_what_a_detector_takes_and_makes_is_told():
    cards = {name: MODELS[name] for name in ("swin-t", "owlv2-b", "sam3")}
    about = Picker(ModelCache(cards, lambda *_, **__: None, lambda _: True)).about
    assert 'data-takes="examples"' not in about("swin-t")  # page.css shows the tools by it
    assert 'data-takes="examples"' in about("owlv2-b")
    own = "Its masks are shown in the tab Segment, until another segmenter than the embedded one is chosen."
    assert own not in about("owlv2-b")
    assert own in about("sam3")


def test_a_tracker_that_makes_a_backward_pass_is_told():
    about = Picker(ModelCache(TRACKERS, lambda *_, **__: None, lambda _: True)).about
    told = {name for name in TRACKERS if 'data-takes="backward"' in about(name)}  # page.css shows the tick by it
    assert told == {*TRACKERS} - {"embedded"}
    assert "gated; ask for access at https://huggingface.co/facebook/sam3" in about("sam3-tracker")
