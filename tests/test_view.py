import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import CARD, Oracle
from PIL import Image

from groundingdino.studio import Findings, Picture, Studio, Thresholds
from groundingdino.view import NOTHING, Canvas, Selection, chosen, object_ids, status, view

SIZE = (320, 240)
ANSWERS = {
    SIZE: {"cat": [(0.9, (10, 20, 110, 120)), (0.6, (200, 20, 300, 120))], "pizza": [(0.28, (100, 150, 180, 230))]}
}
KEYS = ("picture.png", "embedded: cat . pizza")
PICTURE = Picture(Image.new("RGB", SIZE, "gray"), Image.new("RGB", (640, 480), "gray"))
CANVAS = Canvas(640, 480, 1.0)


def find(prompt: str = "cat . pizza", box_threshold: float = 0.2) -> Findings:
    studio = Studio(load=lambda *_, **__: Oracle(ANSWERS), cards={"embedded": CARD}, has_files=lambda _: True)
    return studio.find(PICTURE.image, prompt, "embedded", Thresholds(box_threshold))


def select(**chosen_by_visitor: Any) -> Selection:
    return Selection.parse({"picture": KEYS[0], "query": KEYS[1], **chosen_by_visitor}, *KEYS)


FIRST, SECOND, THIRD = object_ids(find().detections)


def test_everything_is_chosen_at_first():
    objects, marked = chosen(find(), Selection.parse("", *KEYS))
    assert objects["class_name"].tolist() == ["cat", "cat", "pizza"]
    assert marked == []


def test_what_is_ticked_off_or_hidden_is_not_chosen():
    objects, marked = chosen(find(), select(unticked=[FIRST], hidden=["pizza"], marked=SECOND))
    assert objects.confidence.tolist() == pytest.approx([0.6])
    assert marked == [0]


def test_what_is_marked_and_then_ticked_off_is_not_drawn():
    objects, marked = chosen(find(), select(unticked=[FIRST], marked=FIRST))
    assert len(objects) == 2
    assert marked == []


def test_ticks_stay_with_their_objects_when_thresholds_move():
    objects, _ = chosen(find(box_threshold=0.5), select(unticked=[FIRST]))
    assert object_ids(objects) == [SECOND]


def test_another_prompt_forgets_ticks_and_marks_but_not_hidden_phrases():
    sent = {"picture": KEYS[0], "query": "embedded: cat", "hidden": ["cat"], "unticked": [THIRD], "marked": THIRD}
    assert Selection.parse(sent, *KEYS) == Selection(hidden=frozenset({"cat"}))


def test_another_picture_forgets_everything():
    sent = {"picture": "other.png", "query": KEYS[1], "hidden": ["cat"], "unticked": [THIRD], "marked": THIRD}
    assert Selection.parse(sent, *KEYS) == Selection()


def test_the_view_is_what_the_browser_draws():
    shown = view(PICTURE, CANVAS, KEYS, find(), select(unticked=[SECOND], marked=FIRST, hidden=["pizza"]))
    json.dumps(shown)
    assert set(shown) == set(NOTHING)
    assert (shown["picture"], shown["query"], shown["width"], shown["height"]) == (*KEYS, 320, 240)
    assert shown["description"] == "The picture with 1 object marked by boxes"
    assert [(phrase["name"], phrase["count"], phrase["shown"]) for phrase in shown["phrases"]] == [
        ("cat", 2, True),
        ("pizza", 1, False),
    ]
    cat = shown["phrases"][0]["color"]
    expected = {"phrase": "cat", "color": cat}
    assert shown["objects"] == [
        {"id": FIRST, "score": "0.90", "box": [10, 20, 110, 120], "ticked": True, "marked": True, **expected},
        {"id": SECOND, "score": "0.60", "box": [200, 20, 300, 120], "ticked": False, "marked": False, **expected},
    ]


def decode(url: str) -> np.ndarray:
    head, data = url.split(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)


def test_boxes_are_drawn_where_the_canvas_shows_them():
    drawn = decode(view(PICTURE, CANVAS, KEYS, find("cat"))["image"])
    assert drawn.shape == (480, 640, 3)
    changed = np.abs(drawn - 128).max(axis=-1) > 60
    assert changed[240, 120], "the lower edge of the first cat, at twice the picture's pixels"
    assert not changed[140, 120], "nothing inside the box"


def test_what_is_ticked_off_is_not_drawn():
    keys = (KEYS[0], "embedded: cat")
    selection = Selection(unticked=frozenset({FIRST, SECOND}))
    drawn = decode(view(PICTURE, CANVAS, keys, find("cat"), selection)["image"])
    assert np.abs(drawn - 128).max() < 4


def test_a_picture_without_findings_is_the_picture():
    shown = view(PICTURE, CANVAS, KEYS)
    assert np.abs(decode(shown["image"]) - 128).max() < 4
    assert shown["objects"] == shown["phrases"] == []


@pytest.mark.parametrize(
    ("prompt", "box_threshold", "tone", "message"),
    [
        ("cat . pizza", 0.2, "done", "3 objects"),
        ("cat . pizza", 0.7, "done", "1 object"),
        ("", 0.2, "idle", "Type what you are looking for."),
        ("pizza", 0.35, "hint", "Nothing above 0.35; the best candidate scores 0.28: lower the box threshold."),
        ("pizza", 0.6, "hint", "Nothing found: the best candidate scores 0.28."),
        ("zebra", 0.0, "hint", "Nothing found: the best candidate scores 0.00."),
        ("zebra", 0.35, "hint", "Nothing found: the best candidate scores 0.00."),
        ("there is a pizza on it", 0.35, "hint", "Nothing above 0.35; the best candidate scores 0.28: lower the box "),
    ],
)
def test_the_status_says_what_happened(prompt: str, box_threshold: float, tone: str, message: str):
    findings = find(prompt, box_threshold)
    line = status(findings, len(findings.detections))
    assert line["tone"] == tone
    assert line["message"].startswith(message)


def test_the_status_counts_what_is_hidden():
    assert status(find(), 1)["message"] == "3 objects, 2 hidden"


def test_the_status_says_how_long_each_part_took():
    assert status(find(), 3)["detail"] == "text 3 ms · picture 20 ms · grounding 40 ms · Oracle"


def test_the_status_says_that_thresholds_do_not_run_the_model():
    studio = Studio(load=lambda *_, **__: Oracle(ANSWERS), cards={"embedded": CARD}, has_files=lambda _: True)
    studio.find(PICTURE.image, "cat", "embedded", Thresholds(box=0.5))
    again = studio.find(PICTURE.image, "cat", "embedded", Thresholds(box=0.7))
    assert status(again, 1)["detail"] == "0 ms of model, scores kept · Oracle"


def test_notes_follow_the_message():
    findings = replace(find(), notes=("The model reads English only.",))
    assert status(findings, 3)["message"] == "3 objects. The model reads English only."


@pytest.mark.parametrize(
    ("sent", "canvas", "pixels"),
    [
        ([700, 500, 2], (700, 500, 2.0), (1400, 1000)),
        ([1000, 500, 3], (1000, 500, 1.6), (1600, 800)),  # no more pixels than are worth sending
        ([0, 0, 1], (800, 600, 1.0), (800, 600)),  # not laid out yet
        (None, (800, 600, 1.0), (800, 600)),
        (["wide", 1, 1], (800, 600, 1.0), (800, 600)),
        ([float("nan"), 1, 1], (800, 600, 1.0), (800, 600)),
        ([1e9, 1, 1], (1_000_000_000, 1, 1.6e-6), (1600, 1)),
    ],
)
def test_the_canvas_is_what_the_browser_measured_within_limits(sent, canvas, pixels):
    parsed = Canvas.parse(sent)
    assert parsed == pytest.approx(canvas)
    assert parsed.pixels == pixels


def test_page_files_match_the_view():
    script = (Path(__file__).parent.parent / "assets" / "page" / "result.js").read_text()
    for field in NOTHING:
        assert f"view.{field}" in script or f"{{ {field}" in script or f"{field} }}" in script, field
