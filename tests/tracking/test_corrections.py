"""What somebody says of single frames: as data, and what trackers make of it."""

import json
from typing import Any

import numpy as np
import pytest
import supervision as sv

from groundingdino.tracking.corrections import (
    Correction,
    Said,
    heeded,
    paired,
    parse_corrections,
    track_named,
    unheeded_in_words,
)
from groundingdino.tracking.track_file import Earlier, TrackFile, follow
from groundingdino.tracking.tracker import EmbeddedTracker, TrackedFrame, TrackerSettings
from groundingdino.tracking.video import Frame
from tests.tracking.moving import SIZE, Thing, detections, paint

BOX = (10.0, 20.0, 40.0, 50.0)
OTHER_BOX = (100.0, 70.0, 130.0, 100.0)


def shape() -> str:
    mask = np.zeros((SIZE[1], SIZE[0]), bool)
    mask[20:50, 10:40] = True
    return sv.mask_to_rle(mask, compressed=True)  # type: ignore[return-value]


def test_what_was_said_comes_back_from_json():
    said = (
        Correction(
            1.5, (Said("cat", BOX, score=0.5, class_id=0, mask=shape()), Said("dog", BOX, False, was=OTHER_BOX))
        ),
        Correction(2.0, (Said("cat", BOX, gone=True),)),
    )
    written = json.loads(json.dumps([one.written() for one in said]))
    assert parse_corrections(written) == said
    assert parse_corrections(written[::-1]) == said, "in the order of their frames"
    mask = said[0].objects[0].shape(SIZE)
    assert mask is not None
    assert mask.bbox_xyxy.tolist() == [[10, 20, 39, 49]]
    assert said[0].objects[1].shape(SIZE) is None
    with pytest.raises(ValueError, match="The mask of 'cat' is none of a frame of 20 x 10"):
        said[0].objects[0].shape((20, 10))
    for other in ("~", "a", "oooooooooooo0"):
        with pytest.raises(ValueError, match="The mask of 'cat' is none of a frame of 160 x 120"):
            Said("cat", BOX, mask=other).shape(SIZE)


def test_a_phrase_and_a_box_are_enough():
    (read,) = parse_corrections([{"seconds": 1, "objects": [{"phrase": " red  car ", "box": [1, 2, 3, 4]}]}])
    assert read == Correction(1.0, (Said("red car", (1.0, 2.0, 3.0, 4.0)),))


@pytest.mark.parametrize(
    "value",
    [
        {"seconds": 1},
        "soon",
        [{"objects": []}],
        [{"seconds": float("nan")}],
        [{"seconds": 1, "objects": [{"phrase": "cat"}]}],
        [{"seconds": 1, "objects": [{"phrase": " ", "box": BOX}]}],
        [{"seconds": 1, "objects": [{"phrase": "cat", "box": [1, 2, 3]}]}],
        [{"seconds": 1, "objects": [{"phrase": "cat", "box": [3, 2, 1, 4]}]}],
        [{"seconds": 1, "objects": [{"phrase": "cat", "box": BOX, "gone": "no"}]}],
        [{"seconds": 1, "objects": [{"phrase": "cat", "box": BOX, "score": float("nan")}]}],
        [{"seconds": 1, "objects": [{"phrase": "cat", "box": BOX, "class": 10**30}]}],
        [{"seconds": 1}] * 201,
    ],
)
def test_what_means_nothing_is_refused(value: Any):
    with pytest.raises(ValueError, match="Expected corrections as"):
        parse_corrections(value)


def test_of_frames_that_are_not_followed_nothing_is_heeded_and_that_is_told():
    said = tuple(map(Correction, (0.5, 1.0, 1.5, 2.0)))
    assert [one.seconds for one in heeded(said, 1.0, 2.0)] == [1.0, 1.5]
    assert heeded(said, 0.0, None) == said
    told = "Corrections at 0.50, 2.00 s change nothing: only 1.00 to 2.00 s are followed."
    assert unheeded_in_words(said, 1.0, 2.0) == told
    assert unheeded_in_words(said, 0.0, 3.0) == ""
    assert unheeded_in_words(said, 5.0, 6.0).startswith("Corrections at 0.50, 1.00, 1.50 (+1) s change nothing")


def test_objects_are_tracks_by_place_and_by_name():
    followed = [(1, "cat"), (2, "dog"), (None, "cat")]
    boxes = np.array([BOX, OTHER_BOX, (60, 60, 90, 90)], float)
    assert paired([Said("cat", OTHER_BOX), Said("cat", (12, 22, 42, 52))], followed, boxes) == {0: 1, 1: 0}
    moved = Said("cat", (60, 0, 90, 30), was=BOX)
    assert paired([moved, Said("fox", (61, 61, 91, 91))], followed, boxes) == {0: 0, 1: 2}
    assert paired([Said("cat", (60, 0, 90, 30))], followed, boxes) == {}
    assert paired([Said("cat 1", OTHER_BOX)], followed, boxes) == {0: 0}
    assert paired([Said("cat 2", (0, 0, 5, 5))], followed, boxes) == {}, "that is a dog"
    assert paired([], followed, boxes) == {}
    assert paired([moved], [], np.empty((0, 4))) == {}
    assert track_named("route 66") == ("route", 66)
    assert track_named("cat") is None


class Film:
    """A cat on the left and a dog that moves; the detector finds what it is told to."""

    def __init__(self, **found: bool):
        self.finds, self.looks, self.number = {"cat": True, "dog": True, **found}, 0, -1
        self.tracker = EmbeddedTracker(self._look, TrackerSettings(every=2, patience=2))

    def things(self) -> list[Thing]:
        x = 20 + 3 * self.number
        return [("cat", (10, 10, 40, 40), 0.9), ("dog", (x, 70, x + 30, 100), 0.9)]

    def frame(self) -> Frame:
        self.number += 1
        return Frame(self.number, self.number / 10, paint(self.things()))

    def _look(self, _: np.ndarray) -> sv.Detections:
        self.looks += 1
        return detections([thing for thing in self.things() if self.finds[thing[0]]])

    def show(self, *said: Said) -> dict[int, str]:
        frame = self.frame()
        correction = Correction(frame.seconds, said) if said else None
        self.last = self.tracker.follow(frame, None, correction).objects
        assert self.last.tracker_id is not None
        return dict(zip(self.last.tracker_id.tolist(), self.last.data["class_name"].tolist(), strict=True))

    def box(self, id: int) -> np.ndarray:
        return self.last.xyxy[self.last.tracker_id == id][0]

    def dog(self) -> tuple[float, float, float, float]:
        x = 20.0 + 3 * (self.number + 1)
        return (x, 70.0, x + 30, 100.0)


CAT = (10.0, 10.0, 40.0, 40.0)


def test_what_is_ticked_is_a_track_at_once_and_what_is_not_is_none():
    film = Film()
    assert film.show(Said("cat", CAT), Said("dog", film.dog(), followed=False)) == {1: "cat"}
    for _ in range(15):
        assert film.show() == {1: "cat"}, "it is found at each look, and known"


def test_what_no_detector_finds_is_followed_by_its_pixels():
    film = Film(dog=False)
    assert film.show(Said("object 1", film.dog())) == {1: "object 1"}
    for _ in range(20):
        last = film.show()
    assert last == {1: "object 1", 2: "cat"}
    np.testing.assert_allclose(film.box(1), film.things()[1][1], atol=8)


def test_the_detector_takes_over_what_it_finds_and_the_name_stays():
    film = Film(cat=False)
    film.show(Said("my dog", film.dog()))
    for _ in range(12):
        assert film.show() == {1: "my dog"}
    assert film.tracker._things[0].by_flow is False


def test_what_is_gone_ends_and_has_another_id_if_it_is_found_again():
    film = Film()
    for _ in range(4):
        film.show()
    assert film.show(Said("cat", CAT, gone=True)) == {2: "dog"}
    shown = [film.show() for _ in range(6)]
    assert shown[0] == {2: "dog"}
    assert shown[-1] == {2: "dog", 3: "cat"}


def test_a_box_in_another_place_and_a_name_are_of_the_track_that_is_meant():
    film = Film(cat=False)
    film.show(Said("cat", CAT), Said("dog", film.dog()))
    assert film.show(Said("fox", (60, 20, 90, 50), was=CAT)) == {1: "fox", 2: "dog"}
    np.testing.assert_array_equal(film.box(1), (60, 20, 90, 50))
    assert film.show(Said("fox 1", (100, 20, 130, 50))) == {1: "fox", 2: "dog"}
    np.testing.assert_array_equal(film.box(1), (100, 20, 130, 50))
    assert film.show(Said("fox 1", CAT, gone=True), Said("cat", (102, 20, 132, 50))) == {2: "dog", 3: "cat"}


def test_what_went_comes_back_by_its_name():
    film = Film()
    for _ in range(4):
        last = film.show()
    assert last == {1: "cat", 2: "dog"}
    film.finds["cat"] = False
    for _ in range(12):
        last = film.show()
    assert last == {2: "dog"}
    assert film.show(Said("cat 1", (60, 10, 90, 40))) == {1: "cat", 2: "dog"}


NOTHING = Earlier()


def run(path, corrections=(), earlier=NOTHING, stop: int = 12, asks: bool = True, finish=None):
    """Ids and phrases of each frame, and how often the detector was asked."""
    film = Film()
    more = {} if finish is None else {"finish": finish}
    with TrackFile(path, {"said": [one.written() for one in corrections]}, SIZE) as file:
        frames = (film.frame() for _ in range(stop))
        list(follow(frames, film.tracker, file, corrections=corrections, earlier=earlier, **more))
        read = list(file.read())
    assert asks or not film.looks
    return (
        [dict(zip(one.objects.tracker_id.tolist(), one.objects.data["class_name"], strict=True)) for one in read],
        read,
        film.looks,
    )


def test_only_what_comes_after_a_correction_is_another_and_the_detector_is_asked_nothing_twice(tmp_path):
    before, frames, looks = run(tmp_path / "before.jsonl")
    assert looks == 6
    said = (Correction(0.6, (Said("fox", (60, 10, 90, 40)), Said("cat", CAT, followed=False))),)
    after, corrected, looks = run(tmp_path / "after.jsonl", said, Earlier(frames, 0.6))
    assert looks == 0
    assert after[:6] == before[:6]
    assert [sorted(one.values()) for one in after[6:8]] == [["dog", "fox"]] * 2
    assert not any("cat" in one.values() for one in after[6:])
    for old, new in zip(frames[:6], corrected[:6], strict=True):
        np.testing.assert_array_equal(old.objects.xyxy, new.objects.xyxy)
    again, _, looks = run(tmp_path / "after.jsonl", said)
    assert (again, looks) == (after, 0)
    alone, _, looks = run(tmp_path / "alone.jsonl", said)
    assert (alone, looks) == (after, 6), "an earlier run changes nothing but the time it takes"


def test_all_that_is_said_of_one_frame_is_heeded(tmp_path):
    said = Correction(0.5, (Said("cat", CAT),)), Correction(0.5, (Said("box", (100, 5, 130, 35)),))
    film = Film(cat=False, dog=False)
    with TrackFile(tmp_path / "t.jsonl", {"prompt": "cat"}, SIZE) as file:
        *_, (_, last) = follow((film.frame() for _ in range(7)), film.tracker, file, corrections=said)
    assert last.objects.data["class_name"].tolist() == ["cat", "box"]


def test_a_run_that_was_stopped_after_a_correction_goes_on_as_one_that_was_not(tmp_path):
    said = (Correction(0.4, (Said("dog", (100, 10, 130, 40)), Said("cat", CAT, followed=False))),)
    whole, *_ = run(tmp_path / "whole.jsonl", said)
    film = Film()
    with TrackFile(tmp_path / "parts.jsonl", {"said": [one.written() for one in said]}, SIZE) as file:
        frames = follow((film.frame() for _ in range(12)), film.tracker, file, corrections=said)
        for _ in range(7):
            next(frames)
    assert run(tmp_path / "parts.jsonl", said)[0] == whole


def test_what_is_where_it_was_is_not_cut_out_again(tmp_path):
    cut: list[int] = []

    def finish(pixels: np.ndarray, tracked: TrackedFrame) -> TrackedFrame:
        cut.append(tracked.index)
        masks = np.zeros((len(tracked.objects), *pixels.shape[:2]), bool)
        masks[:, 10:20, 10:20] = True
        objects = sv.Detections(
            tracked.objects.xyxy,
            mask=masks,
            confidence=tracked.objects.confidence,
            class_id=tracked.objects.class_id,
            tracker_id=tracked.objects.tracker_id,
            data=tracked.objects.data,
        ).to_compact_masks()
        return TrackedFrame(tracked.index, tracked.seconds, objects, tracked.look, tracked.begun)

    _, frames, _ = run(tmp_path / "before.jsonl", finish=finish)
    assert cut == list(range(12))
    cut.clear()
    after, corrected, _ = run(
        tmp_path / "after.jsonl",
        (Correction(0.6, (Said("dog 2", CAT, gone=True),)),),
        Earlier(frames, 0.6),
        finish=finish,
    )
    assert 2 not in after[6]
    assert cut[-1] >= 9
    assert 6 not in cut
    assert corrected[6].objects.mask is not None
