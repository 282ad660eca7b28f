"""What the page of a review answers; `test_browser_review` drives it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from groundingdino.annotations.opening import open_annotations
from groundingdino.annotations.review import Review
from groundingdino.page.review_page import ReviewPage, Seen, without_known
from tests.annotations.test_round_trips import BOXES, SIZE, write


def look(image: Image.Image, prompt: str) -> list[Seen]:
    """Knows cats: the one that is marked, by a pixel off, and another."""
    if prompt == "storm":
        raise ValueError("There is no model.")
    if prompt == "bug":
        raise RuntimeError
    assert image.size == SIZE
    cats = [Seen("cat", (1, 0, 40, 30), 0.9), Seen("cat", (60, 50, 100, 90), 0.44444)]
    return cats if "cat" in prompt else []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write("coco", tmp_path, masks=True)


@pytest.fixture
def page(path: Path) -> Iterator[ReviewPage]:
    with Review(open_annotations(path)) as review:
        yield ReviewPage(review, look)


def event(**sent: Any) -> gr.EventData:
    return gr.EventData(None, sent)


def decide(page: ReviewPage, **sent: Any) -> dict[str, Any]:
    return page.decide(event(**sent))["view"]


def test_the_first_picture_with_its_objects(page):
    view = page.open()
    assert [view[key] for key in ("index", "total", "file", "width", "height", "version", "checked", "undo")] == [
        *(0, 2, "more/a b.png", *SIZE, 0, False, False)
    ]
    assert view["image"].startswith("data:image/jpeg")
    assert [(one["id"], one["name"], one["score"], one["state"]) for one in view["objects"]] == [
        ("0", "red apple", "0.90", ""),
        ("1", "cat", "0.50", ""),
    ]
    assert view["objects"][1]["box"] == (0, 0, 40, 30)
    assert [len(one["paths"]) for one in view["objects"]] == [2, 1]  # the parts of a mask
    assert [one["name"] for one in view["names"]] == ["cat", "red apple", "bird"]
    assert len({one["color"] for one in view["names"]}) == 3


def test_a_decision_is_answered_with_what_is_there_now(page, path):
    view = decide(page, index=0, version=0, stamp=5.5, actions=[{"do": "accept", "id": "1"}])
    assert (view["stamp"], view["version"], view["image"], view["tone"]) == (5.5, 1, None, "")
    assert [one["state"] for one in view["objects"]] == ["", "accepted"]
    assert (view["counts"]["accepted"], view["counts"]["left"]) == (1, 1)
    assert open_annotations(path).objects(0)[1].state == "accepted"
    other = decide(page, index=0, version=1, stamp=6, actions=[{"go": 1}])
    assert (other["index"], other["file"], other["image"][:10], other["objects"]) == (1, "z.png", "data:image", [])
    back = decide(page, index=1, version=0, stamp=7, actions=[{"do": "undo"}])
    assert (back["index"], back["image"][:10]) == (0, "data:image")
    assert [one["state"] for one in back["objects"]] == ["", ""]
    assert decide(page, index=1, stamp=8, actions=[{"do": "undo"}])["index"] == 1  # there is nothing to take back


@pytest.mark.parametrize(
    ("sent", "note"),
    [
        ({"index": 0, "version": 9, "actions": [{"do": "accept", "id": "0"}]}, "Another page changed this picture"),
        ({"index": 0, "version": 0, "actions": [{"do": "accept", "id": "9"}]}, "could not be read"),
        ({"index": 0, "version": 0, "actions": []}, "could not be read"),
        ({"index": 7, "version": 0, "actions": [{"do": "check"}]}, "There is no picture 8"),
        ({"index": "0/../../x", "version": 0, "actions": [{"do": "check"}]}, "There is no picture 0"),
        ({}, "There is no picture"),
    ],
)
def test_what_cannot_be_done_is_told_and_answered(sent, note, page):
    view = decide(page, stamp=1, **sent)
    assert note in view["note"]
    assert (view["tone"], view["stamp"], view["index"]) == ("error", 1, 0)
    assert page.review.counts()["left"] == 2


def test_a_bug_is_answered_too(page, monkeypatch):
    monkeypatch.setattr(page.review, "act", lambda *_: 1 / 0)
    assert "Something went wrong" in decide(page, index=0, version=0, stamp=3, actions=[{"do": "check"}])["note"]


def test_a_picture_that_cannot_be_read_holds_nobody_up(page, path):
    (path.parent / "photographs" / "more" / "a b.png").write_bytes(b"no picture")
    view = page.view(0)
    assert view["tone"] == "error"
    assert view["note"].endswith("Go on with the next one.")
    assert view["image"].startswith("data:image/gif")
    assert page.view(1)["tone"] == ""


def test_a_prompt_finds_what_is_not_marked(page):
    found = page.look(event(index=0, prompt="cat"))["found"]
    assert found["objects"] == [{"name": "cat", "box": (60, 50, 100, 90), "score": 0.4444}]
    assert (found["index"], found["prompt"]) == (0, "cat")
    assert found["note"] == "2 objects found, 1 of them marked before."
    for prompt, note in (
        ("dog", "Nothing found for “dog”."),
        ("storm", "There is no model."),
        ("bug", "Something went"),
    ):
        found = page.look(event(index=0, prompt=prompt))["found"]
        assert found["objects"] == []
        assert found["note"].startswith(note)


def test_what_was_rejected_is_not_offered_again(page):
    page.review.act(0, 0, [{"do": "reject", "id": "1"}])
    known = list(page.review.sheet(0).objects.values())
    assert without_known([Seen("cat", tuple(BOXES[1]), 0.9), Seen("dog", tuple(BOXES[1]), 0.9)], known) == [
        Seen("dog", tuple(BOXES[1]), 0.9)
    ]
