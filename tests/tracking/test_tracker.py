"""The embedded tracker with looks that are known: births, deaths, ids, cuts, and memory that stays."""

import tracemalloc

import numpy as np
import pytest
import supervision as sv

from groundingdino.tracking.tracker import EmbeddedTracker, TrackerSettings, looks_every
from groundingdino.tracking.video import Frame
from tests.tracking.moving import SIZE, Thing, detections, paint


class Film:
    """Frames whose things are told to the tracker when it looks."""

    def __init__(self, every: int = 1, **settings):
        self.looks: list[int] = []
        self.things: list[Thing] = []
        self.number = -1
        self.tracker = EmbeddedTracker(self._look, TrackerSettings(every=every, **settings))

    def _look(self, _: np.ndarray) -> sv.Detections:
        self.looks.append(self.number)
        return detections(self.things)

    def show(self, things: list[Thing], grey: int = 128, painted: list[Thing] | None = None):
        """The next frame; id -> (phrase, box) of what is followed."""
        self.number += 1
        self.things = things
        pixels = paint(things if painted is None else painted, grey)
        objects = self.tracker.follow(Frame(self.number, self.number / 10, pixels)).objects
        names = objects.data["class_name"]
        assert objects.tracker_id is not None
        return {
            int(id): (str(name), box) for id, name, box in zip(objects.tracker_id, names, objects.xyxy, strict=True)
        }


def cat(x: int, score: float = 0.9, y: int = 30) -> Thing:
    return ("cat", (x, y, x + 30, y + 30), score)


def dog(x: int, score: float = 0.9, y: int = 70) -> Thing:
    return ("dog", (x, y, x + 30, y + 30), score)


def test_a_track_begins_at_the_second_of_three_sightings():
    film = Film()
    assert film.show([cat(10)]) == {}
    assert film.show([]) == {}
    (id,) = film.show([cat(10)])
    assert id == 1
    film = Film()
    film.show([cat(10)])
    film.show([])
    assert film.show([]) == film.show([cat(10)]) == {}


def test_it_tells_where_it_was_first_seen():
    film = Film()
    film.show([cat(10)])
    film.number, film.things = 1, [cat(12)]
    tracked = film.tracker.follow(Frame(1, 0.1, paint(film.things)))
    assert tracked.begun == {1: (0, (10.0, 30.0, 40.0, 60.0))}
    assert len(tracked.look) == 1


def test_what_is_weak_continues_a_track_and_begins_none():
    film = Film(start=0.5)
    for _ in range(4):
        assert film.show([cat(10, score=0.4)]) == {}
    film.show([cat(10)])
    film.show([cat(10)])
    for _ in range(8):
        assert list(film.show([cat(10, score=0.3)])) == [1]


def test_it_looks_at_one_frame_of_k_and_moves_what_it_knows_between():
    film = Film(every=4)
    for number in range(21):
        found = film.show([cat(4 * number)])
    assert film.looks == [0, 4, 8, 12, 16, 20]
    found = film.show([cat(84)])
    assert film.looks[-1] == 20
    np.testing.assert_allclose(found[1][1], cat(84)[1], atol=2)


def test_what_is_missed_is_shown_a_little_and_then_gone():
    film = Film(patience=4)
    film.show([cat(60)])
    film.show([cat(60)])
    shown = [bool(film.show([], painted=[cat(60)])) for _ in range(6)]
    assert shown == [True, True, False, False, False, False]


def test_what_comes_back_has_its_id_and_another_thing_has_none_of_old():
    film = Film(patience=2)
    for _ in range(3):
        assert list(film.show([cat(10), dog(10)])) in ([], [1, 2])
    for _ in range(6):
        film.show([])
    film.show([cat(110), ("fox", (60, 5, 90, 35), 0.9)])
    back = film.show([cat(110), ("fox", (60, 5, 90, 35), 0.9)])
    assert {id: name for id, (name, _) in back.items()} == {1: "cat", 3: "fox"}


def test_what_is_gone_too_long_is_forgotten():
    film = Film(patience=1, remembered=0.5)
    film.show([cat(10)])
    film.show([cat(10)])
    for _ in range(12):
        film.show([])
    film.show([cat(10)])
    assert list(film.show([cat(10)])) == [2]


def test_two_that_cross_keep_their_ids():
    film = Film()
    for number in range(31):
        left, right = ("cat", (4 * number, 40, 4 * number + 30, 70), 0.9), (
            "cat", (120 - 4 * number, 44, 150 - 4 * number, 74), 0.8)  # fmt: skip
        found = film.show([left, right] if abs(number - 15) > 2 else [left], painted=[right, left])
        if number == 2:
            first = {id: box[0] for id, (_, box) in found.items()}
    assert sorted(found) == sorted(first) == [1, 2]
    for id, (_, box) in found.items():
        assert (box[0] > 60) == (first[id] < 60)


def test_of_twins_behind_each_other_one_box_is_nobodys_and_both_go_on_their_ways():
    """Where the detector sees one box for two it lies anywhere between them."""
    film, away = Film(), 0.0
    for number in range(25):
        x, back = 4 * number, 110 - 4 * number
        pair = [("cat", (x, 40, x + 30, 70), 0.9), ("cat", (back, 40, back + 30, 70), 0.8)]
        middle = ("cat", (48, 40, 78, 70), 0.9)
        found = film.show([middle] if abs(x - back) < 20 else pair, painted=pair)
        if number == 2:
            first = {id: box[0] for id, (_, box) in found.items()}
        if number >= 2:
            assert sorted(found) == [1, 2]
            one, other = (found[id][1][0] for id in sorted(first, key=first.__getitem__))
            away = max(away, abs(one - x), abs(other - back))
    assert away < 6


@pytest.mark.parametrize("phrases", [("cat", "cat"), ("cat", "dog")])
def test_one_box_around_two_tells_where_each_of_them_is(phrases):
    """They meet and turn back, which their speed does not tell."""
    film, away = Film(), 0.0
    for number in range(22):
        x = 4 * min(number, 22 - number)
        back = 108 - x
        pair = [(phrases[0], (x, 40, x + 40, 70), 0.9), (phrases[1], (back, 42, back + 40, 72), 0.8)]
        around = [(phrases[0], (x, 40, back + 40, 72), 0.9)]
        found = film.show(around if back - x < 40 else pair, painted=pair)
        if number == 2:
            first = {id: box[0] for id, (_, box) in found.items()}
        if number >= 2:
            assert sorted(found) == [1, 2], "it is no third thing, and none is missed"
            one, other = (found[id][1] for id in sorted(first, key=first.__getitem__))
            away = max(away, np.abs(one - pair[0][1]).max(), np.abs(other - pair[1][1]).max())
    assert away < 6


def test_a_box_around_two_tracks_is_the_place_of_neither_however_sure_it_is():
    film = Film()
    pair = [cat(20), cat(45)]
    for number in range(8):
        around = [("cat", (20, 30, 75, 60), 0.95)] if number > 2 else []
        found = film.show([*pair, *around], painted=pair)
    assert sorted(found) == [1, 2]
    np.testing.assert_allclose([box for _, box in found.values()], [one[1] for one in pair], atol=1)


def test_what_is_overlooked_once_or_twice_goes_on_as_fast():
    film = Film()
    for number in range(12):
        pair = [cat(8 * number), dog(120 - 8 * number)]
        found = film.show(pair if number < 10 else pair[1:], painted=pair)
    np.testing.assert_allclose(found[1][1], pair[0][1], atol=1)


def test_a_phrase_that_flickers_is_that_which_was_sure():
    film = Film()
    for phrase in ("cat", "cat", "dog", "cat"):
        found = film.show([(phrase, (10, 30, 40, 60), 0.9)], painted=[cat(10)])
    assert {id: name for id, (name, _) in found.items()} == {1: "cat"}


def test_a_cut_ends_tracks_and_is_looked_at_at_once():
    film = Film(every=5)
    for _ in range(8):
        film.show([cat(10)], grey=30)
    assert film.looks == [0, 5]
    assert film.show([dog(100)], grey=230) == {}
    assert film.looks == [0, 5, 8]
    for _ in range(5):
        found = film.show([dog(100)], grey=230)
    assert {id: name for id, (name, _) in found.items()} == {2: "dog"}


def test_what_leaves_the_picture_is_not_shown_outside():
    film = Film()
    for number in range(12):
        x = 100 + 10 * number
        found = film.show([cat(x)] if x < 140 else [])
        for _, box in found.values():
            assert box.min() >= 0
            assert (box <= (*SIZE, *SIZE)).all()
    assert found == {}


def test_looks_of_an_earlier_run_bring_it_where_it_was():
    film = Film(every=3)
    frames = [Frame(number, number / 10, paint([cat(3 * number)])) for number in range(20)]
    seen = []
    for number, frame in enumerate(frames):
        film.things = [cat(3 * number)]
        seen.append(film.tracker.follow(frame))
    again = EmbeddedTracker(lambda _: pytest.fail("it looked"), TrackerSettings(every=3))
    for frame, one in zip(frames, seen, strict=True):
        np.testing.assert_array_equal(again.follow(frame, one.look).objects.xyxy, one.objects.xyxy)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"patience": 0}, {"start": 1.5}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match="Expected"):
        TrackerSettings(**wrong)


@pytest.mark.parametrize(("rate", "every"), [(24, 4), (30, 5), (240, 40), (5, 1), (0.5, 1)])
def test_it_looks_six_times_a_second(rate, every):
    assert looks_every(rate) == every


def test_memory_stays_flat():
    """Things come and go all the time; what is known after 200 frames takes no more after 400."""
    film = Film(patience=1, remembered=0.3)

    def some(number: int) -> list[Thing]:
        return [cat(number % 8 * 15), dog((number * 7) % 120)] if number % 20 < 14 else []

    tracemalloc.start()
    try:
        for number in range(200):
            film.show(some(number))
        half = tracemalloc.get_traced_memory()[0]
        for number in range(200, 400):
            film.show(some(number))
        assert tracemalloc.get_traced_memory()[0] < half + 60_000
    finally:
        tracemalloc.stop()
    assert film.tracker._last_id > 3
