"""The tracker that follows masks: what begins, what is the same, what ends, and where it goes on."""

import numpy as np
import pytest
import supervision as sv

from groundingdino.tracking import mask_tracker
from groundingdino.tracking.corrections import Correction, Said
from groundingdino.tracking.mask_tracker import MaskTracker
from groundingdino.tracking.track_file import Earlier, TrackFile, follow
from groundingdino.tracking.tracker import TrackerSettings, looks_each_second
from groundingdino.tracking.video import Frame
from groundingdino.tracking.video_models import load_video_model
from tests.scissors import Scissors
from tests.tiny_segmenters import save_video
from tests.tracking.film import ColourMemory, Film, cat, dog
from tests.tracking.moving import SIZE, detections, paint


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    monkeypatch.setattr(mask_tracker, "VideoMemory", ColourMemory)


def test_what_a_look_finds_is_followed_from_that_frame_on_by_its_mask():
    film = Film()
    assert film.show([cat(10)]) == {1: "cat"}
    assert film.last.objects.mask[0].sum() == pytest.approx(np.pi * 15**2, rel=0.1), "as the segmenter cut it"
    assert len(film.last.look) == 1
    for step in range(1, 8):
        assert film.show([cat(10 + 9 * step)]) == {1: "cat"}
        np.testing.assert_array_equal(film.last.objects.xyxy, [[10 + 9 * step, 30, 40 + 9 * step, 60]])
        assert film.last.objects.mask[0].sum() == 900, "as the model follows it"
    assert film.looks == [0, 4]


def test_what_is_new_has_an_id_of_its_own_at_the_next_look():
    film = Film()
    film.show([cat(10)])
    assert [film.show([cat(10), dog(60)]) for _ in range(4)] == [{1: "cat"}] * 3 + [{1: "cat", 2: "dog"}]


def test_what_is_weak_begins_nothing_and_keeps_what_is_followed():
    film = Film(every=1)
    assert film.show([cat(10, 0.9), dog(60, 0.4)]) == {1: "cat"}
    for _ in range(6):
        assert film.show([cat(10, 0.3)]) == {1: "cat"}
    assert film.last.objects.confidence == pytest.approx([0.3])


def test_one_thing_by_two_names_is_one_and_has_the_surer():
    film = Film(every=1)
    film.show([cat(10)])
    for _ in range(3):
        found = film.show([("dog", (11, 30, 41, 60), 0.8)], painted=[cat(10)])
    assert found == {1: "dog"}


def test_a_part_of_what_is_followed_is_no_second_thing():
    film = Film(every=1)
    film.show([cat(10)])
    assert film.show([cat(10), ("cat", (12, 32, 24, 44), 0.9)], painted=[cat(10)]) == {1: "cat"}
    assert film.show([("cat", (12, 32, 24, 44), 0.9)], painted=[cat(10)]) == {1: "cat"}


def test_what_was_seen_once_of_three_looks_ends():
    film = Film(every=2)
    film.show([cat(10), dog(60)])
    ids = [set(film.show([cat(10)], painted=[cat(10), dog(60)])) for _ in range(4)]
    assert ids == [{1, 2}, {1, 2}, {1, 2}, {1}]


def test_what_hides_keeps_its_id_and_what_is_away_for_long_is_forgotten():
    film = Film(every=1, patience=3)
    for _ in range(3):
        film.show([cat(10), dog(60)])
    assert [film.show([cat(10)]) for _ in range(3)] == [{1: "cat"}] * 3
    assert film.show([cat(10), dog(90)]) == {1: "cat", 2: "dog"}
    for _ in range(4):
        film.show([cat(10)])
    assert film.tracker._memory.colours.keys() == {1}
    assert film.show([cat(10), dog(90)]) == {1: "cat", 3: "dog"}


def test_a_cut_ends_all_and_is_looked_at_at_once():
    film = Film(every=10)
    film.show([cat(10)], grey=30)
    film.show([cat(10)], grey=30)
    assert film.show([dog(100)], grey=230) == {2: "dog"}
    assert film.looks == [0, 2]


def test_it_goes_on_after_frames_of_an_earlier_run_without_a_model():
    film = Film(every=4)
    steps = [film.show([cat(10 + 5 * step), dog(60)]) and film.last for step in range(6)]
    ColourMemory.frames = 0
    again = Film(every=4)
    for number, known in enumerate(steps):
        again.tracker.recall(again.frame([cat(10 + 5 * number), dog(60)]), known)
    assert ColourMemory.frames == 0
    assert again.show([cat(40), dog(60)]) == {1: "cat", 2: "dog"}
    assert ColourMemory.frames == 2, "the last that is known, and the next"
    assert again.looks == [], "the next look is when it would have been"
    assert again.show([cat(45), dog(60)]) == {1: "cat", 2: "dog"}
    found = again.show([cat(45), dog(60), ("fox", (110, 5, 140, 25), 0.9)])
    assert found == {1: "cat", 2: "dog", 3: "fox"}
    assert again.looks == [8]


FOX = (110.0, 5.0, 140.0, 25.0)


def test_what_somebody_shows_is_followed_from_there_on_and_what_he_ticks_off_is_not_shown():
    film, painted = Film(every=2), [cat(10), dog(60), ("fox", (110, 5, 140, 25), 0.9)]
    box = tuple(map(float, cat(10)[1]))
    said = Correction(0, (Said("cat", box, followed=False), Said("my fox", FOX)))
    assert film.show([cat(10), dog(60)], painted, said=said) == {2: "dog", 3: "my fox"}
    for _ in range(8):
        assert film.show([cat(10), dog(60)], painted) == {2: "dog", 3: "my fox"}
    assert film.last.ignored is not None
    assert film.last.ignored.tracker_id.tolist() == [1]
    np.testing.assert_allclose(film.last.objects.xyxy[1], FOX, atol=2)


def test_a_mask_that_somebody_drew_takes_the_place_of_the_one_that_was_followed():
    film, painted = Film(every=2), [cat(10), dog(60)]
    assert film.show([cat(10)], painted) == {1: "cat"}
    mask = np.zeros((120, 160), bool)
    x0, y0, x1, y1 = dog(60)[1]
    mask[y0:y1, x0:x1] = True
    runs = sv.mask_to_rle(mask, compressed=True)
    box = tuple(map(float, dog(60)[1]))
    said = Correction(0.1, (Said("cat 1", box, mask=runs),))
    assert film.show([cat(10)], painted, said=said) == {1: "cat"}
    np.testing.assert_allclose(film.last.objects.xyxy[0], box, atol=1)
    film.show([], painted)
    np.testing.assert_allclose(film.last.objects.xyxy[0], box, atol=1)


def test_what_is_gone_ends_and_has_another_id_at_the_next_look():
    film, painted = Film(every=4), [cat(10), dog(60)]
    film.show(painted)
    assert film.show(painted, said=Correction(0.1, (Said("cat", tuple(map(float, cat(10)[1])), gone=True),))) == {
        2: "dog"
    }
    assert [film.show(painted) for _ in range(3)][-1] == {2: "dog", 3: "cat"}


def test_after_frames_of_an_earlier_run_what_was_ticked_off_stays_so():
    film, painted = Film(every=2), [cat(10), dog(60)]
    said = Correction(0, (Said("cat", tuple(map(float, cat(10)[1])), followed=False),))
    steps = [film.show(painted, said=said if not step else None) and film.last for step in range(4)]
    again = Film(every=2)
    for number, known in enumerate(steps):
        again.tracker.recall(again.frame(painted), known, said if not number else None)
    for _ in range(5):
        assert again.show(painted) == {2: "dog"}


def test_from_the_next_correction_on_the_rest_is_kept_if_the_same_is_followed_there(tmp_path):
    painted = [cat(10), dog(60)]
    box, other = (tuple(map(float, thing[1])) for thing in painted)

    def run(name: str, corrections: tuple[Correction, ...], earlier: Earlier = Earlier()):  # noqa: B008
        film = Film(every=4)
        film.things = painted
        ColourMemory.frames = 0
        with TrackFile(tmp_path / name, {"said": [one.written() for one in corrections]}, SIZE) as file:
            frames = (film.frame(painted) for _ in range(12))
            list(follow(frames, film.tracker, file, corrections=corrections, earlier=earlier))
            shown = [
                dict(zip(one.objects.tracker_id.tolist(), one.objects.data["class_name"], strict=True))
                for one in file.read()
            ]
            return shown, list(file.read()), ColourMemory.frames

    last = Correction(0.8, (Said("cat", box), Said("dog", other)))
    _, frames, passes = run("before", (last,))
    assert passes == 12
    renamed = Correction(0.4, (Said("fox", box),))
    shown, _, passes = run("renamed", (renamed, last), Earlier(frames, 0.4, joins=True))
    assert shown == [{1: "cat", 2: "dog"}] * 4 + [{1: "fox", 2: "dog"}] * 4 + [{1: "cat", 2: "dog"}] * 4
    assert passes == 6, "the frame before the first, the stretch, and the frame of the next"
    gone = Correction(0.4, (Said("cat", box, gone=True),))
    shown, _, passes = run("gone", (gone, last), Earlier(frames, 0.4, joins=True))
    assert shown[4:] == [{2: "dog"}] * 4 + [{2: "dog", 3: "cat"}] * 4
    assert passes == 9, "what is followed there is another thing"
    _, _, passes = run("alone", (renamed, last), Earlier(frames, 0.4))
    assert passes == 9


def test_more_things_than_it_can_follow_are_told_of(monkeypatch):
    monkeypatch.setattr(mask_tracker, "MOST", 1)
    film = Film()
    assert film.show([cat(10), dog(60)]) == {1: "cat"}
    assert film.told == ["At most 1 things are followed at once: the others are left out."]


def test_it_looks_each_second():
    assert [looks_each_second(rate) for rate in (30, 23.976, 0.3)] == [30, 24, 1]


def test_a_model_in_the_published_layout_follows(tmp_path, monkeypatch):
    monkeypatch.undo()
    model = load_video_model(save_video("sam2_video", tmp_path), "cpu")
    things = [cat(10), dog(60)]
    tracker = MaskTracker(lambda _: detections(things), Scissors(), model, TrackerSettings(every=3, start=0.5))
    for number in range(5):
        things = [cat(10 + number), dog(60)]
        tracked = tracker.follow(Frame(number, number / 10, paint(things)))
        assert tracked.objects.mask.shape[1:] == (120, 160)
        assert set(tracked.objects.tracker_id) <= set(range(1, 9))
        assert (tracked.look is not None) == (number in (0, 3))
        if number == 0:
            assert tracked.objects.tracker_id.tolist() == [1, 2]
    assert len(tracker._memory.ids) >= 2
