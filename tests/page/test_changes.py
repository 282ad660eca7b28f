from typing import Any

import numpy as np
import pytest
import supervision as sv

from groundingdino.page.changes import LONGEST_NAME, Change, with_changes

SIZE = (320, 240)
PHRASES = ("cat", "dog")


def found() -> sv.Detections:
    boxes = np.array([[10, 20, 110, 120], [200, 20, 300, 120]], np.float32)
    data: dict[str, Any] = {"class_name": np.array(["cat", "cat"]), "id": np.array(["first", "second"])}
    return sv.Detections(boxes, confidence=np.array([0.9, 0.6], np.float32), class_id=np.array([0, 0]), data=data)


def change(*changes: dict[str, Any]) -> sv.Detections:
    return with_changes(found(), [Change.parse(one) for one in changes], PHRASES, SIZE)


def test_the_last_box_of_an_object_counts_and_the_others_stay():
    changed = change({"id": "first", "box": [1, 2, 30, 40]}, {"id": "first", "box": [5, 6, 70, 80]})
    assert changed.xyxy.tolist() == [[5, 6, 70, 80], [200, 20, 300, 120]]
    assert changed.data["id"].tolist() == ["first", "second"], "what was said of it is still about it"
    assert changed.confidence.tolist() == found().confidence.tolist()


def test_boxes_end_at_the_edges_and_none_is_outside():
    changed = change({"id": "first", "box": [-9, 100, 900, 900]}, {"id": "second", "box": [400, 0, 500, 9]})
    assert changed.xyxy.tolist() == [[0, 100, 320, 240], [200, 20, 300, 120]]


@pytest.mark.parametrize(
    ("name", "expected", "classes"),
    [
        ("dog", "dog", [1, 0]),
        ("a very long name of a thing", "a very long name of a thing", [0, 0]),
        ("  two\nlines ", "two lines", [0, 0]),
        (".by hand", "by hand", [0, 0]),  # the names of our own groups
        ("x" * 999, "x" * LONGEST_NAME, [0, 0]),
        ("  ", "cat", [0, 0]),
        (None, "cat", [0, 0]),
    ],
)
def test_a_name_is_one_line_and_that_of_a_phrase_means_its_class(name, expected: str, classes: list[int]):
    changed = change({"id": "first", "name": name})
    assert changed.data["class_name"].tolist() == [expected, "cat"]
    assert changed.class_id.tolist() == classes


def test_changes_of_what_is_not_found_wait_for_it():
    assert change({"id": "gone", "name": "dog"}).data["class_name"].tolist() == ["cat", "cat"]


@pytest.mark.parametrize(
    "sent",
    [
        "?",
        {"box": [1, 2, 3, 4]},
        {"id": "first", "box": [1, 2, 3]},
        {"id": "first", "box": [3, 2, 1, 4]},
        {"id": "first", "box": [0, 0, float("nan"), 4]},
        {"id": "first", "box": "wide"},
    ],
)
def test_what_cannot_be_read_is_told(sent: Any):
    with pytest.raises(ValueError, match=r"^A box that was changed could not be read: load the page again\.$"):
        Change.parse(sent)
