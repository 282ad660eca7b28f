import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from groundingdino.page.layout import SCRIPTS
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.selection import Selection
from groundingdino.page.studio import Findings, Picture, Studio, Thresholds
from groundingdino.page.view import NOTHING, Canvas, view
from groundingdino.results.drawing import MaskStyle
from groundingdino.segmentation.object_ids import object_ids
from groundingdino.segmentation.pointing import Gesture, Pointing
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors

SIZE = (320, 240)
ANSWERS = {
    SIZE: {"cat": [(0.9, (10, 20, 110, 120)), (0.6, (200, 20, 300, 120))], "pizza": [(0.28, (100, 150, 180, 230))]}
}
OTHERS = {SIZE: [(180, 140, 220, 180), (240, 140, 280, 180)]}
KEYS = ("picture.png", "embedded: cat . pizza")
PICTURE = Picture(Image.new("RGB", SIZE, "gray"), Image.new("RGB", (640, 480), "gray"))
CANVAS = Canvas(640, 480, 1.0)


def studio() -> Studio:
    return Studio(
        ModelCache({"embedded": CARD}, lambda *_, **__: Oracle(ANSWERS), lambda _: True),
        ModelCache({"embedded": SEGMENTER}, lambda *_, **__: Scissors(OTHERS), lambda _: True),
    )


def find(prompt: str = "cat . pizza", box_threshold: float = 0.2) -> Findings:
    return studio().find(PICTURE.image, prompt, "embedded", Thresholds(box_threshold))


def cut(prompt: str = "cat . pizza", *gestures: Gesture, everything: bool = False, candidate: int = 0) -> Findings:
    pointing = Pointing(gestures, ((FIRST, candidate),), everything)
    return studio().cut_out(PICTURE.image, find(prompt), "embedded", pointing, 0)


def select(**chosen_by_visitor: Any) -> Selection:
    return Selection.parse({"picture": KEYS[0], "query": KEYS[1], **chosen_by_visitor}, KEYS[0])


FIRST, SECOND, THIRD = object_ids(find().detections)


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
    assert not shown["masks"]
    expected = {"phrase": "cat", "color": cat, "quality": "", "path": "", "area": 0, "changed": False}
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


def test_masks_are_drawn_and_outlined_where_the_canvas_shows_them():
    shown = view(PICTURE, CANVAS, KEYS, cut("cat"), mask_style=MaskStyle(0.5, outline=False, labels=False))
    changed = np.abs(decode(shown["image"]) - 128).max(axis=-1) > 30
    assert changed[140, 120], "the middle of the first cat, at twice the picture's pixels"
    assert not changed[46, 26], "the corner of its box"
    assert shown["masks"]
    assert shown["description"] == "The picture with 2 objects marked by masks"
    first = shown["objects"][0]
    assert (first["score"], first["quality"]) == ("0.90", "0.90")
    places = np.array(re.findall(r"[\d.]+", first["path"]), float).reshape(-1, 2)
    np.testing.assert_allclose(places.min(axis=0), (10, 20), atol=1.5)
    np.testing.assert_allclose(places.max(axis=0), (110, 120), atol=1.5)


@pytest.mark.parametrize(
    ("style", "inside", "edge"),
    [
        (MaskStyle(0.5, outline=False, labels=False), True, True),
        (MaskStyle(0, outline=True, labels=False), False, True),
        (MaskStyle(0, outline=False, labels=False), False, False),
    ],
)
def test_fill_and_outline_are_drawn_on_their_own(style: MaskStyle, inside: bool, edge: bool):
    drawn = decode(view(PICTURE, CANVAS, KEYS, cut("cat"), mask_style=style)["image"])
    changed = np.abs(drawn - 128).max(axis=-1) > 30
    assert changed[140, 120] == inside
    assert changed[130:150, 18:26].any() == edge, "the left edge of the first cat"


def test_what_has_no_phrase_is_one_entry_of_the_legend_and_has_no_score():
    click = Gesture("pointed 1", point=(30.0, 200.0, 1))
    shown = view(PICTURE, CANVAS, KEYS, cut("cat", click, everything=True))
    legend = [(entry["key"], entry["name"], entry["count"]) for entry in shown["phrases"]]
    assert legend == [("cat", "cat", 2), (".by hand", "by hand", 1), (".everything", "everything", 2)]
    assert [(row["phrase"], row["score"]) for row in shown["objects"][2:]] == [
        ("object 1", ""),
        ("object 2", ""),
        ("object 3", ""),
    ]
    hidden = view(PICTURE, CANVAS, KEYS, cut("cat", click), Selection(hidden=frozenset({".by hand"})))
    assert [row["phrase"] for row in hidden["objects"]] == ["cat", "cat"]
    assert not hidden["phrases"][1]["shown"]


def test_a_picture_without_findings_is_the_picture():
    shown = view(PICTURE, CANVAS, KEYS)
    assert np.abs(decode(shown["image"]) - 128).max() < 4
    assert shown["objects"] == shown["phrases"] == []


@pytest.mark.parametrize(
    ("sent", "canvas", "pixels"),
    [
        ([700, 500, 2], (700, 500, 2.0, 1), (1400, 1000)),
        ([700, 500, 2, 2], (700, 500, 4.0, 2), (2800, 2000)),  # a closer look
        ([700, 500, 2, 4], (700, 500, 3200 / 700, 4), (3200, 2286)),
        ([700, 500, 2, 0.1], (800, 600, 1.0, 1), (800, 600)),
        ([1000, 500, 3], (1000, 500, 1.6, 1), (1600, 800)),  # no more pixels than are worth sending
        ([0, 0, 1], (800, 600, 1.0, 1), (800, 600)),  # not laid out yet
        (None, (800, 600, 1.0, 1), (800, 600)),
        (["wide", 1, 1], (800, 600, 1.0, 1), (800, 600)),
        ([float("nan"), 1, 1], (800, 600, 1.0, 1), (800, 600)),
        ([1e9, 1, 1], (1_000_000_000, 1, 1.6e-6, 1), (1600, 1)),
    ],
)
def test_the_canvas_is_what_the_browser_measured_within_limits(sent, canvas, pixels):
    parsed = Canvas.parse(sent)
    assert parsed == pytest.approx(canvas)
    assert parsed.pixels == pixels


def test_page_files_match_the_view():
    page = Path(__file__).parents[2] / "assets" / "page"
    script = "".join((page / name).read_text() for name in SCRIPTS)
    for field in NOTHING:
        assert f"view.{field}" in script or f"{{ {field}" in script or f"{field} }}" in script, field
