"""What was done on a paused frame, as what a tracker is told."""

from typing import Any

import numpy as np
import pytest
import supervision as sv

from groundingdino.page.changes import Change, with_changes
from groundingdino.page.correcting import (
    NOT_THERE,
    correction_of,
    gone_here,
    says_something,
    with_correction,
    without_correction,
)
from groundingdino.page.selection import Selection
from groundingdino.page.studio import Findings, Timing
from groundingdino.segmentation.masks import compact, join
from groundingdino.segmentation.pointing import Gesture, Pointing
from groundingdino.tracking.corrections import Correction, Said
from groundingdino.tracking.tracker import TrackedFrame
from tests.oracle import CARD

SIZE = (320, 240)
CAT, OTHER_CAT = (10.0, 20.0, 110.0, 120.0), (200.0, 20.0, 300.0, 120.0)
ID, OTHER_ID = "cat [10, 20, 110, 120]", "cat [200, 20, 300, 120]"
POINTING = Pointing((Gesture("pointed 1", point=(5.0, 5.0, 1)),))


def found(changes: tuple[Change, ...] = (), masks: bool = False) -> Findings:
    shapes = np.zeros((2, *SIZE[::-1]), bool)
    shapes[0, 20:120, 10:110] = True
    shapes[1, 20:120, 200:300] = True
    objects = sv.Detections(
        np.array([CAT, OTHER_CAT], np.float32),
        mask=join(map(compact, shapes), SIZE) if masks else None,
        confidence=np.array([0.9, 0.6], np.float32),
        class_id=np.zeros(2, int),
        data={"class_name": np.array(["cat", "cat"]), "id": np.array([ID, OTHER_ID])},
    )
    objects = with_changes(objects, changes, ("cat",), SIZE)
    return Findings(objects, ("cat",), 0.9, CARD, 0.35, (), Timing(None, None, None))


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        (Selection(), False),
        (Selection(marked=ID), False),
        (Selection(unticked=frozenset({ID})), True),
        (Selection(hidden=frozenset({"cat"})), True),
        (Selection(changes=(Change(ID, name="dog"),)), True),
        (Selection(pointing=POINTING), True),
        (Selection(pointing=Pointing(everything=True)), True),
        (Selection(pointing=Pointing(candidates=((ID, 1),))), True),
    ],
)
def test_only_what_was_touched_says_something(selection: Selection, says: bool):
    assert says_something(selection) is says


def test_what_is_ticked_is_followed_and_what_is_not_is_known():
    said = correction_of(1.5, found(masks=True), Selection(unticked=frozenset({ID})), outlines=False)
    assert said == Correction(
        1.5, (Said("cat", CAT, False, score=0.9, class_id=0), Said("cat", OTHER_CAT, score=0.6, class_id=0))
    )
    hidden = correction_of(1.5, found(), Selection(hidden=frozenset({"cat"})), outlines=False)
    assert [one.followed for one in hidden.objects] == [False, False]


def test_what_was_moved_and_renamed_says_where_it_was():
    changes = Change(ID, box=(50, 60, 90, 100)), Change(OTHER_ID, name="fox")
    said = correction_of(0, found(changes), Selection(changes=changes), outlines=True)
    assert [(one.phrase, one.box, one.was) for one in said.objects] == [
        ("cat", (50.0, 60.0, 90.0, 100.0), CAT),
        ("fox", OTHER_CAT, None),
    ]


def test_outlines_go_with_a_tracker_that_follows_them():
    said = correction_of(0, found(masks=True), Selection(unticked=frozenset({ID})), outlines=True)
    shape = said.objects[1].shape(SIZE)
    assert shape is not None
    assert shape.bbox_xyxy.tolist() == [[200, 20, 299, 119]]
    assert said.objects[0].mask == ""


def frames() -> list[TrackedFrame]:
    def objects(ids: list[int]) -> sv.Detections:
        return sv.Detections(
            np.array([CAT, OTHER_CAT][: len(ids)], np.float32).reshape(-1, 4),
            confidence=np.ones(len(ids), np.float32),
            class_id=np.zeros(len(ids), int),
            tracker_id=np.array(ids, int),
            data={"class_name": np.array(["cat"] * len(ids), dtype=str)},
        )

    return [TrackedFrame(index, index / 10, objects(ids)) for index, ids in enumerate([[], [3], [3, 7]])]


def test_a_track_ends_where_it_is():
    assert gone_here(frames(), 7, 0.2) == Correction(0.2, (Said("cat", OTHER_CAT, gone=True),))
    for id, seconds in ((7, 0.1), (9, 0.2), (3, 5.0)):
        with pytest.raises(ValueError, match=NOT_THERE):
            gone_here(frames(), id, seconds)


def test_of_a_frame_the_last_word_counts_and_all_that_ends_there():
    one, other = Correction(1.0, (Said("cat", CAT),)), Correction(3.0, (Said("cat", CAT),))
    between = Correction(2.0, (Said("dog", CAT),))
    assert with_correction((one, other), between) == (one, between, other)
    again = Correction(1.0, (Said("fox", CAT),))
    assert with_correction((one, other), again) == (again, other)
    gone: Any = Said("cat", OTHER_CAT, gone=True)
    with_gone = Correction(1.0, (Said("cat", CAT), gone))
    assert with_correction((one, other), Correction(1.0, (gone,))) == (with_gone, other)
    assert with_correction((with_gone,), again) == (Correction(1.0, (Said("fox", CAT), gone)),)
    assert without_correction((one, between, other), 2.0) == (one, other)
