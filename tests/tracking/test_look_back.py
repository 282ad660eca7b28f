"""The backward pass: what a look finds first is followed back to the look before, and no further."""

import tracemalloc

import numpy as np
import pytest
import torch
import transformers

from groundingdino.segmentation.masks import compact, join
from groundingdino.tracking import look_back, mask_tracker
from groundingdino.tracking.corrections import Correction, Said
from groundingdino.tracking.look_back import MOST_FRAMES, LookBack, frames_back
from groundingdino.tracking.mask_tracker import MaskTracker
from groundingdino.tracking.track_file import Earlier, TrackFile, follow
from groundingdino.tracking.tracker import TrackerSettings
from groundingdino.tracking.video import Frame
from groundingdino.tracking.video_memory import VideoMemory
from groundingdino.tracking.video_models import load_video_model
from tests.scissors import Scissors
from tests.tiny_segmenters import build_video, save_video
from tests.tracking.film import ColourMemory, Film, cat, dog
from tests.tracking.moving import SIZE, Thing, detections, objects, paint


@pytest.fixture
def colours(monkeypatch):
    monkeypatch.setattr(mask_tracker, "VideoMemory", ColourMemory)
    ColourMemory.frames = 0


def run(path, clip: list[list[Thing]], every: int = 4, backward: bool = True, greys=(), **options) -> tuple[list, Film]:
    """What is followed in each frame, id -> phrase, as the file of a run has it; and the film."""
    film = Film(every, backward)
    asked = {"backward": frames_back(every)} if backward else {}

    def frames():
        for number, things in enumerate(clip):
            film.things = things
            yield film.frame(things, greys[number] if greys else 128)

    with TrackFile(path, {**asked, "said": [one.written() for one in options.get("corrections", ())]}, SIZE) as file:
        for _ in follow(frames(), film.tracker, file, **options):
            pass
        return shown(file), film


def shown(file: TrackFile) -> list[dict[int, str]]:
    rows = (one.objects for one in file.read())
    return [dict(zip(one.tracker_id.tolist(), one.data["class_name"].tolist(), strict=True)) for one in rows]


CAT, BOTH = {1: "cat"}, {1: "cat", 2: "dog"}
CLIP = [[cat(10)]] * 6 + [
    [cat(10), dog(5 * number)] for number in range(6)
]  # a dog comes in frame 6, looks are 0, 4, 8


@pytest.mark.usefixtures("colours")
def test_what_comes_between_looks_is_there_from_its_first_frame(tmp_path):
    assert run(tmp_path / "forward", CLIP, backward=False)[0] == [CAT] * 8 + [BOTH] * 4
    found, film = run(tmp_path / "back", CLIP)
    assert found == [CAT] * 6 + [BOTH] * 6
    assert film.looks == [0, 4, 8]
    with TrackFile(tmp_path / "back", {"backward": 4, "said": []}, SIZE) as file:
        for number, one in enumerate(file.read()):
            if number in (6, 7):
                box = dog(5 * (number - 6))[1]
                np.testing.assert_array_equal(one.objects.xyxy[1], box)
                assert one.objects.confidence[1] == pytest.approx(0.9)
                assert np.asarray(one.objects.mask[1])[box[1] : box[3], box[0] : box[2]].all()


@pytest.mark.usefixtures("colours")
def test_it_goes_no_further_back_than_the_look_before():
    clip = [[cat(10)]] * 12
    film = Film(4, backward=True)
    for things in clip:
        film.show(things, painted=[*things, dog(60)])  # the detector overlooks it until then
    last = film.tracker.follow(film.frame([cat(10), dog(60)]), detections([cat(10), dog(60)]))
    *_, tracked = film.tracker.look_back(last)
    assert sorted(tracked.before) == [8, 9, 10, 11]
    assert all(one.tracker_id.tolist() == [2] for one in tracked.before.values())
    assert last.before == {}, "a frame is not changed afterwards"


@pytest.mark.usefixtures("colours")
def test_it_stops_where_there_is_no_mask_any_more():
    film = Film(6, backward=True)
    there = [False, True, True, False, True, True]  # away in frame 3
    for one in there:
        film.show([cat(10)], painted=[cat(10), dog(60)] if one else [cat(10)])
    film.show([cat(10), dog(60)])
    *_, tracked = film.tracker.look_back(film.last)
    assert sorted(tracked.before) == [4, 5]


def test_it_stops_where_it_is_what_is_followed_already():
    fox = objects([(60, 70, 90, 100)], [7], ["fox"], masks=True)
    here = objects([(62, 70, 92, 100)], [8], ["dog"], masks=True)
    for followed, frames in ((objects([], [], masks=True), [1, 0]), (fox, [])):
        back = LookBack(lambda: ColourMemory(None), 4)
        for index in range(2):
            back.see(index, paint([dog(62)]), followed, objects([], []))
        back.see(2, paint([dog(62)]), here, here)
        assert [index for index, _ in back.steps()] == frames


def test_two_that_become_one_on_the_way_back_are_not_both_followed():
    here = objects([(10, 70, 40, 100), (60, 70, 90, 100)], [1, 2], ["cat", "dog"], masks=True)
    back = LookBack(lambda: ColourMemory(None), 4)
    back.see(0, paint([dog(60)]), objects([], []), objects([], []))
    back.see(1, paint([dog(10), dog(60)]), here, here)  # both have the one colour
    ((index, found),) = back.steps()
    assert (index, found.tracker_id.tolist()) == (0, [1])


@pytest.mark.usefixtures("colours")
def test_it_does_not_go_beyond_a_cut(tmp_path):
    clip: list[list[Thing]] = [[cat(10)]] * 2 + [[cat(10), dog(60)]] * 6  # the dog comes before it, between looks
    found, film = run(tmp_path / "t", clip, greys=[*[230] * 3, *[30] * 5])
    assert film.looks == [0, 3, 7]
    assert found == [CAT] * 3 + [{2: "cat", 3: "dog"}] * 5


@pytest.mark.usefixtures("colours")
def test_a_run_that_was_killed_on_the_way_back_writes_the_same(tmp_path, monkeypatch):
    whole, _ = run(tmp_path / "whole", CLIP)
    assert len(whole) == 12
    passes, follow_colours = ColourMemory.frames, ColourMemory.follow
    assert passes == 12 + 1 + 3, "frames; on the way back the look at which it began, and up to the first without it"

    class Killed(BaseException):
        pass

    for stop in (1, 6, *range(9, 14)):  # those from 9 to 12 on the way back from frame 8
        left = iter(range(stop))

        def dying(memory, pixels, left=left):
            if next(left, None) is None:
                raise Killed
            return follow_colours(memory, pixels)

        path = tmp_path / f"{stop}"
        monkeypatch.setattr(ColourMemory, "follow", dying)
        with pytest.raises(Killed):
            run(path, CLIP)
        monkeypatch.setattr(ColourMemory, "follow", follow_colours)
        assert run(path, CLIP)[0] == whole
        assert path.read_bytes() == (tmp_path / "whole").read_bytes(), stop


@pytest.mark.usefixtures("colours")
def test_whoever_waits_waits_for_one_step(tmp_path):
    film = Film(4, backward=True)
    with TrackFile(tmp_path / "t", {"backward": 4}, SIZE) as file:

        def frames():
            for things in CLIP:
                film.things = things
                yield film.frame(things)

        before = 0
        for frame, tracked in follow(frames(), film.tracker, file):
            assert ColourMemory.frames - before <= 3, "the frame, the look once more, and the frame before it"
            before = ColourMemory.frames
            if frame.index == 8 and tracked.before:
                assert file.frames == 8, "none of it is noted before all of it is known"
                break
        else:
            pytest.fail("no step was told")
        assert shown(file) == [CAT] * 8


@pytest.mark.usefixtures("colours")
def test_frames_before_a_correction_stay_as_they_were_shown(tmp_path):
    found, _ = run(tmp_path / "first", CLIP)
    assert found[6] == BOTH
    fox = Said("fox", tuple(map(float, cat(10)[1])))
    renamed = Correction(0.7, (fox,))
    with TrackFile(tmp_path / "first", {"backward": 4, "said": []}, SIZE) as file:
        earlier = Earlier(file.read(), 0.7, joins=True)
        again, film = run(tmp_path / "second", CLIP, corrections=(renamed,), earlier=earlier)
    assert again == [CAT] * 6 + [BOTH] + [{1: "fox", 2: "dog"}] * 5, "also the dog that was found later"
    assert film.looks == []
    alone, _ = run(tmp_path / "alone", CLIP, corrections=(renamed,))
    assert alone == [CAT] * 7 + [{1: "fox"}] + [{1: "fox", 2: "dog"}] * 4, "what is said of a frame begins there"


@pytest.mark.usefixtures("colours")
def test_what_is_kept_does_not_grow():
    film, held = Film(5, backward=True, patience=1), np.zeros(400)
    tracemalloc.start()
    try:
        for number in range(400):
            things = [cat(10), ("dog", (60, 70, 90, 100), 0.9)]
            film.show(things if number % 20 >= 8 else things[:1])
            for _ in film.tracker.look_back(film.last):
                pass
            held[number] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(film.last.objects) == 2
    assert max(film.last.objects.tracker_id) == 21, "a dog at each twentieth frame is a new one"
    first, second = (held[start : start + 140].mean() for start in (100, 240))
    frame = 3 * SIZE[0] * SIZE[1]
    assert first >= 5 * frame, "five frames are kept"
    assert second <= 1.03 * first


def test_how_many_frames_are_kept():
    assert [frames_back(every) for every in (1, 24, 1000)] == [1, 24, MOST_FRAMES]
    back = LookBack(lambda: ColourMemory(None), frames_back(1000))
    for index in range(100):
        back.see(index, paint([]), objects([], []), objects([], []))
    assert len(back._past) == MOST_FRAMES
    assert look_back.MOST_FRAMES * 3 * 1024**2 < 200e6


def noise(count: int) -> list[np.ndarray]:
    random = np.kron(np.random.default_rng(3).integers(0, 256, (12, 40, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    return [
        np.ascontiguousarray(random[number % 24 : number % 24 + 72, 2 * number :][:, :96]) for number in range(count)
    ]


@torch.inference_mode()
def test_its_masks_are_those_of_transformers_going_backwards(tmp_path):
    """The whole session of transformers, which keeps all frames, propagated in reverse from the look."""
    loaded, frames = load_video_model(save_video("sam2_video", tmp_path), "cpu"), noise(20)
    mask = np.zeros((72, 96), bool)
    mask[8:32, 5:35] = True
    model, processor = build_video("sam2_video")
    session = transformers.Sam2VideoInferenceSession(
        video=torch.stack([processor(images=one, return_tensors="pt").pixel_values[0] for one in frames]),
        video_height=72,
        video_width=96,
        dtype=torch.float32,
    )
    processor.add_inputs_to_inference_session(session, 19, [1], input_masks=[mask])
    model(inference_session=session, frame_idx=19)
    expected = {
        one.frame_idx: one.pred_masks[0, 0] for one in model.propagate_in_video_iterator(session, 19, reverse=True)
    }
    memory = VideoMemory(loaded)
    memory.follow(memory.fit(frames[19]))
    memory.begin({1: mask})
    for index in range(18, -1, -1):
        found = memory.follow(memory.fit(frames[index]))[1].logits
        torch.testing.assert_close(found, expected[index], atol=1e-4, rtol=0)
    assert len(expected) == 20


def test_with_a_model_in_the_published_layout(tmp_path):
    model = load_video_model(save_video("sam2_video", tmp_path), "cpu")
    found: list[Thing] = []
    settings = TrackerSettings(every=4, start=0.5)
    tracker = MaskTracker(lambda _: detections(found), Scissors(), model, settings, backward=True)
    for number in range(5):
        found = [cat(10)] if number else []
        tracked = tracker.follow(Frame(number, number / 10, paint([cat(10)])))
    steps = [*tracker.look_back(tracked)]
    assert len(steps) >= 1
    assert [len(one.before) for one in steps] == [*range(1, len(steps) + 1)]
    assert set(steps[-1].before) <= {0, 1, 2, 3}
    whole = steps[-1].before[3]
    assert whole.tracker_id.tolist() == [1]
    assert whole.mask.shape == (1, 120, 160)
    memory = VideoMemory(model)
    memory.follow(paint([cat(10)]))
    memory.begin({1: np.asarray(tracked.objects.mask[0])})
    expected = mask_tracker.mask_of(memory.follow(paint([cat(10)]))[1], SIZE)
    np.testing.assert_array_equal(np.asarray(whole.mask[0]), np.asarray(join([compact(expected)], SIZE)[0]))
