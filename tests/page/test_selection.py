from typing import Any

import numpy as np
import pytest
import supervision as sv

from groundingdino.page.selection import MOST_CHOSEN, Selection, chosen
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.object_ids import lasting_ids, object_ids

KEYS = ("picture.png", "embedded: cat . pizza")
FOUND = sv.Detections(
    np.array([[10, 20, 110, 120], [200, 20, 300, 120], [100, 150, 180, 230]], float),
    confidence=np.array([0.9, 0.6, 0.3]),
    data={"class_name": np.array(["cat", "cat", "pizza"])},
)
FIRST, SECOND, THIRD = object_ids(FOUND)
CLICK = {"target": "pointed 1", "point": [30, 40.5, 1]}
BOX = {"target": "pointed 2", "box": [1, 2, 30, 40]}
LINE = {"target": "pointed 1", "stroke": [[1, 2], [3, 4]]}


def select(**chosen_by_visitor: Any) -> Selection:
    return Selection.parse({"picture": KEYS[0], "query": KEYS[1], **chosen_by_visitor}, KEYS[0])


def test_everything_is_chosen_at_first():
    objects, marked = chosen(FOUND, Selection.parse("", KEYS[0]))
    assert objects["class_name"].tolist() == ["cat", "cat", "pizza"]
    assert marked == []


def test_what_is_ticked_off_or_hidden_is_not_chosen():
    objects, marked = chosen(FOUND, select(unticked=[FIRST], hidden=["pizza"], marked=SECOND))
    assert objects.confidence.tolist() == [0.6]
    assert marked == [0]


def test_what_is_marked_and_then_ticked_off_is_not_drawn():
    objects, marked = chosen(FOUND, select(unticked=[FIRST], marked=FIRST))
    assert len(objects) == 2
    assert marked == []


def test_a_group_is_hidden_together():
    grouped = sv.Detections(FOUND.xyxy, confidence=FOUND.confidence, data={**FOUND.data})
    grouped.data["group"] = np.array(["cat", ".by hand", ".by hand"])
    objects, _ = chosen(grouped, select(hidden=[".by hand"]))
    assert objects.confidence.tolist() == [0.9]


def test_ticks_stay_with_their_objects_when_thresholds_move():
    objects, _ = chosen(FOUND[:2], select(unticked=[FIRST]))
    assert object_ids(objects) == [SECOND]


def test_an_object_that_is_found_again_keeps_what_was_said_of_it():
    said = select(unticked=[FIRST, "pointed 1"], marked=SECOND, texts={THIRD: "moon"}, gestures=[CLICK])
    assert said.known == [FIRST, SECOND, THIRD]
    moved = sv.Detections(FOUND.xyxy + np.float32([3, -2, 3, -2]), confidence=FOUND.confidence, data=FOUND.data)
    assert object_ids(moved) != [FIRST, SECOND, THIRD]
    assert lasting_ids(moved, said.known) == [FIRST, SECOND, THIRD]
    assert lasting_ids(moved, []) == object_ids(moved)
    away = sv.Detections(FOUND.xyxy + np.float32(1000), confidence=FOUND.confidence, data=FOUND.data)
    assert lasting_ids(away, said.known) == object_ids(away)


@pytest.mark.parametrize(("texts", "read"), [(None, ()), ("", ()), ([1], ()), ({"a": 1}, (("a", "1"),))])
def test_texts_are_read_as_the_browser_sends_them(texts: Any, read: tuple[tuple[str, str], ...]):
    assert select(texts=texts).texts == read


def test_another_picture_forgets_everything():
    sent = {"picture": "other.png", "query": KEYS[1], "hidden": ["cat"], "unticked": [THIRD], "gestures": [CLICK]}
    assert Selection.parse(sent, KEYS[0]) == Selection()


def test_gestures_of_one_object_are_one_prompt():
    pointing = select(gestures=[CLICK, BOX, LINE, {"target": FIRST, "point": [5, 5, 0]}]).pointing
    assert pointing.pointed == ["pointed 1", "pointed 2"]
    expected = MaskPrompt(points=((30, 40.5, 1),), strokes=((((1, 2), (3, 4)), 1),))
    assert pointing.prompt("pointed 1") == expected
    assert pointing.prompt("pointed 2") == MaskPrompt(box=(1, 2, 30, 40))
    assert pointing.prompt(FIRST, (10, 20, 110, 120)) == MaskPrompt((10, 20, 110, 120), ((5, 5, 0),))
    assert pointing.prompt(SECOND, (1, 2, 3, 4)) is None


def test_another_candidate_is_asked_of_the_same_box():
    pointing = select(candidates={FIRST: 2, SECOND: 0}).pointing
    assert pointing.prompt(FIRST, (1, 2, 3, 4)) == MaskPrompt((1, 2, 3, 4), candidate=2)
    assert pointing.prompt(SECOND, (1, 2, 3, 4)) is None


@pytest.mark.parametrize(
    "sent",
    [
        {"gestures": [{"point": [1, 2, 1]}]},
        {"gestures": [{"target": "pointed 1", "point": [1, "x", 1]}]},
        {"gestures": [{"target": "pointed 1", "point": [1]}]},
        {"gestures": ["click"]},
        {"gestures": 5},
        {"gestures": [{"target": "pointed 1"}]},
        {"gestures": [{"target": "pointed 1", "box": "1234"}]},
        {"gestures": [{"target": "pointed 1", "point": [1, 2, 1], "box": [1, 2, 3, 4]}]},
        {"strokes": [{"line": [[1, 2]]}]},
        {"strokes": ["12345"]},
        {"candidates": {"a": float("inf")}},
        {"candidates": ["a"]},
        {"changes": -1},
        {"changes": [{"id": "cat", "name": "dog"}] * (MOST_CHOSEN + 1)},
        {"hidden": 2},
        {"hidden": ["cat", 2]},
        {"unticked": [{}]},
        {"unticked": "cat"},
        {"marked": 7},
        {"marked": ["cat"]},
    ],
)
def test_what_no_page_sends_is_refused_in_a_sentence(sent: dict[str, Any]):
    with pytest.raises(ValueError, match="load the page again"):
        select(**sent)


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"gestures": [CLICK] * 5000}, "At most 200 points, boxes and strokes"),
        ({"strokes": [{"line": [[1, 2]], "width": 5, "adds": True}] * 5000}, "at most 1000 brush strokes, got 5000"),
        ({"strokes": [{"line": [[1, 2]], "width": "wide", "adds": True}]}, "but it is 'wide'"),
        ({"strokes": [{"line": [[1, 2]] * 20_000, "width": 5, "adds": True}]}, "at most 10000 points"),
    ],
)
def test_more_than_a_hand_draws_is_refused_in_a_sentence(sent: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        select(**sent)
