"""Decisions are on the disk at once, in each format, are counted there, and can be taken back."""

import json
import os
import signal
from pathlib import Path

import pytest

from groundingdino.annotations import document
from groundingdino.annotations.document import STATES
from groundingdino.annotations.opening import open_annotations
from groundingdino.annotations.review import Overtaken, Review
from groundingdino.results.datasets import FORMATS
from groundingdino.results.lines import replace_file
from tests.annotations.test_round_trips import SIZE, names_and_boxes, write

WITHIN = {"voc": 1.0, "yolo": 1e-5}
NEW = {"do": "add", "id": "n", "name": "kite", "box": [5, 6, 25, 46]}


def review(path: Path) -> Review:
    return Review(open_annotations(path))


def states(path: Path, index: int = 0) -> list[tuple[str, str]]:
    """Names and states, as somebody who opens the file finds them."""
    return [(one.name, one.state) for one in open_annotations(path).objects(index)]


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_decided_is_what_the_file_says(format, tmp_path):
    path = write(format, tmp_path)
    with review(path) as one:
        assert one.counts() == {"pictures": 2, "checked": 0, **dict.fromkeys(STATES, 0), "left": 2}
        one.act(0, 0, [{"do": "accept", "id": "0"}])
        assert states(path) == [("red apple", "accepted"), ("cat", "")]
        one.act(0, 1, [{"do": "reject", "id": "1"}])
        assert states(path) == [("red apple", "accepted"), ("cat", "rejected")]
        assert len(open_annotations(path).coco()["annotations"]) == 1  # as training reads it
        one.act(0, 2, [NEW, {"do": "move", "id": "0", "box": [10, 20, 60, 70]}])
        one.act(0, 3, [{"do": "rename", "id": "0", "name": "bird"}])
        one.act(1, 0, [{"do": "check"}])
        assert one.counts() == {
            "pictures": 2,
            "checked": 2,
            "accepted": 0,
            "corrected": 1,
            "added": 1,
            "rejected": 1,
            "left": 0,
        }
        before = one.counts()
    assert states(path) == [("bird", "corrected"), ("kite", "added"), ("cat", "rejected")]
    document = open_annotations(path)
    assert document.names[-1] == "kite"
    _, boxes = names_and_boxes(document.objects(0))
    for box, expected in zip(boxes, ([10, 20, 60, 70], [5, 6, 25, 46], [0, 0, 40, 30]), strict=True):
        assert box == pytest.approx(expected, abs=WITHIN.get(format, 1e-6))
    with review(path) as again:  # and goes on where it was
        assert again.counts() == before


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_taken_back_is_as_it_was(format, tmp_path):
    path = write(format, tmp_path)
    before = open_annotations(write(format, tmp_path / "fresh"))
    with review(path) as one:
        one.act(0, 0, [{"do": "reject", "id": "0"}, {"do": "move", "id": "1", "box": [1, 2, 30, 40]}, NEW])
        for left in (2, 1, 0):
            assert one.undo() == 0
            assert len(one._steps) == left
        assert one.undo() is None
        assert one.sheet(0).version == 4
    after = open_annotations(path)
    assert names_and_boxes(after.objects(0)) == names_and_boxes(before.objects(0))
    assert [one.state for one in after.objects(0)] == ["", ""]
    assert [one.score for one in after.objects(0)] == [one.score for one in before.objects(0)]


def test_what_nobody_touched_stays_as_it_was(tmp_path):
    path = write("coco", tmp_path, masks=True)
    stored = json.loads(path.read_text())
    stored |= {"licenses": [{"id": 1, "name": "mine"}], "extra": {"a": 1}}
    stored["annotations"][1]["attributes"] = {"occluded": True}
    stored["annotations"].append({"id": 9, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "iscrowd": 1})
    path.write_text(json.dumps(stored))
    with review(path) as one:
        assert len(one.sheet(0).objects) == 2  # a crowd is no single object
        one.act(0, 0, [{"do": "accept", "id": "1"}])
        now = json.loads(path.read_text())
        assert now["annotations"][0] == stored["annotations"][2]
        assert now["annotations"][1] == stored["annotations"][0]
        assert now["annotations"][2] == stored["annotations"][1] | {
            "attributes": {"occluded": True, "review": "accepted"}
        }
        one.act(0, 1, [{"do": "move", "id": "0", "box": [1, 2, 31, 42]}])
    moved = json.loads(path.read_text())["annotations"][1]
    assert (moved["bbox"], moved["area"], moved["segmentation"]) == ([1, 2, 30, 40], 1200, [])
    assert {key: value for key, value in now.items() if key != "annotations"} == {
        key: value for key, value in stored.items() if key != "annotations"
    }


def test_accepting_and_rejecting_again(tmp_path):
    with review(write("coco", tmp_path)) as one:
        one.act(0, 0, [{"do": "reject", "id": "0"}, {"do": "reject", "id": "0"}])
        assert [object.state for object in one.sheet(0).objects.values()] == ["", ""]
        one.act(0, 1, [{"do": "rename", "id": "0", "name": "red apple"}, {"do": "accept", "id": "1"}])
        assert [object.state for object in one.sheet(0).objects.values()] == ["", "accepted"]
        assert not one.sheet(0).checked
        one.act(0, 2, [{"do": "check"}])
        assert one.sheet(0).checked
        assert one.first() == 1
        one.act(0, 3, [{**NEW, "score": 0.5}])  # found by a model: somebody has to look at it
        assert (one.sheet(0).checked, one.sheet(0).objects["n"].state) == (False, "")
        one.act(0, 4, [{**NEW, "id": "m"}, {"do": "reject", "id": "m"}])
        assert list(one.sheet(0).objects) == ["0", "1", "n"]


@pytest.mark.parametrize(
    "action",
    [
        {"do": "accept", "id": "7"},
        {"do": "paint", "id": "0"},
        {"id": "0"},
        {"do": "move", "id": "0", "box": [1, 2, 3]},
        {"do": "move", "id": "0", "box": [1, 2, float("nan"), 4]},
        {"do": "move", "id": "0", "box": [300, 2, 400, 9]},
        {"do": "move", "id": "0", "box": [9, 9, 1, 1]},
        {"do": "rename", "id": "0", "name": " \n"},
        {**NEW, "id": "0"},
        {**NEW, "name": ""},
        "accept",
    ],
)
def test_what_cannot_be_read_decides_nothing(action, tmp_path):
    path = write("coco", tmp_path)
    before = path.read_bytes()
    with review(path) as one:
        with pytest.raises(ValueError, match="load the page again"):
            one.act(0, 0, [{"do": "accept", "id": "0"}, action])
        assert (path.read_bytes(), one.sheet(0).version, one.can_undo) == (before, 0, False)
        with pytest.raises(ValueError, match="There is no picture 3: there are 2"):
            one.sheet(2)
        with pytest.raises(ValueError, match="could not be read"):
            one.act(0, 0, [])


def test_boxes_end_at_the_picture(tmp_path):
    with review(write("coco", tmp_path)) as one:
        one.act(0, 0, [{"do": "move", "id": "0", "box": [-5, -5.555, 30.123, 900]}])
        assert one.sheet(0).objects["0"].box == (0, 0, 30.12, SIZE[1])


def test_a_second_review_is_told(tmp_path):
    path = write("coco", tmp_path)
    with review(path), pytest.raises(ValueError, match="is being reviewed already: use that page, or end it first"):
        review(path)
    review(path).close()


def test_a_page_that_was_overtaken_is_told(tmp_path):
    with review(write("coco", tmp_path)) as one:
        one.act(0, 0, [{"do": "accept", "id": "0"}])
        with pytest.raises(Overtaken, match="Another page changed this picture"):
            one.act(0, 0, [{"do": "reject", "id": "0"}])


def test_another_program_s_change_is_not_written_over(tmp_path):
    path = write("coco", tmp_path)
    with review(path) as one:
        path.write_text("other")
        with pytest.raises(ValueError, match=r"Another program changed .*: end this review and begin it again"):
            one.act(0, 0, [{"do": "accept", "id": "0"}])
        assert path.read_text() == "other"


@pytest.mark.parametrize("format", ["coco", "yolo"])
def test_a_full_disk_decides_nothing(format, tmp_path, monkeypatch):
    path = write(format, tmp_path)

    def refuse(path, _):
        raise OSError(28, "No space left on device", str(path))

    with review(path) as one:
        with monkeypatch.context() as patch:
            patch.setattr("groundingdino.annotations.document.replace_file", refuse)
            with pytest.raises(ValueError, match="cannot be written: No space left on device"):
                one.act(0, 0, [{"do": "reject", "id": "0"}])
        assert one.counts()["left"] == 2
        one.act(0, 0, [{"do": "accept", "id": "1"}])
    assert states(path) == [("red apple", ""), ("cat", "accepted")]


def test_masks_of_voc_are_not_corrected(tmp_path):
    with review(write("voc", tmp_path, masks=True)) as one:
        with pytest.raises(ValueError, match="label with --format coco"):
            one.act(0, 0, [{"do": "accept", "id": "0"}])
        assert one.counts()["left"] == 2


def decide_and_die(path: Path, dies_at: int) -> None:
    """Two decisions in a process that is killed before it writes the file of that number."""
    written: list[Path] = []

    def dying(path, content):
        if len(written) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        replace_file(path, content)
        written.append(path)

    document.replace_file = dying
    one = review(path)
    one.act(0, 0, [{"do": "accept", "id": "0"}])
    one.act(0, 1, [{"do": "reject", "id": "1"}])


@pytest.mark.parametrize(("format", "dies_at", "expected"), [("yolo", 3, "rejected"), ("coco", 1, "")])
def test_a_kill_loses_nothing_that_was_decided(format, dies_at, expected, tmp_path):
    """Of YOLO's two files the first says what the second is to become."""
    path = write(format, tmp_path)
    child = os.fork()
    if not child:
        try:
            decide_and_die(path, dies_at)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert states(path) == [("red apple", "accepted"), ("cat", expected)]
    with review(path) as one:  # the lock of the one that was killed holds nobody up
        assert one.counts()["accepted"] == 1
