"""What is followed through a video that was sent."""

import json
import zipfile
from itertools import islice
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from groundingdino.detection.available_models import ModelCard
from groundingdino.editing.out_of_memory import NO_MEMORY
from groundingdino.page.files import NO_SPACE
from groundingdino.page.following import Follower, Show, TrackQuestion, watched
from groundingdino.page.limits import Limits
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.studio import DetectorLike, Studio, Thresholds
from groundingdino.runtime.interruption import Stopped
from groundingdino.segmentation.available_models import SegmenterCard
from groundingdino.segmentation.cutting import SegmenterLike
from groundingdino.tracking import mask_tracker
from groundingdino.tracking.available_trackers import TRACKERS, TrackerCard
from groundingdino.tracking.corrections import Correction, Said
from groundingdino.tracking.track_file import TrackFile
from groundingdino.tracking.video import Video
from groundingdino.tracking.video_memory import Seen
from tests import clips
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors

SIZE = (320, 240)
CAT, OTHER_CAT = (10, 20, 110, 120), (200, 20, 300, 120)
FRAMES = 12
DRAWN_ALL = Show()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def clip(tmp_path: Path) -> str:
    return str(clips.write(tmp_path / "two cats.mp4", frames=[clips.picture(3, SIZE)] * FRAMES))


@pytest.fixture
def oracle() -> Oracle:
    return Oracle({SIZE: {"cat": [(0.9, CAT), (0.6, OTHER_CAT)]}})


class Late(Oracle):
    """Finds nothing in the first frame that it looks at."""

    def prepare(self, image: Image.Image) -> Any:
        self.pictures = {SIZE: {"cat": [(0.9, CAT)] if self.prepared else []}}
        return super().prepare(image)


class StillMemory:
    """In the place of `VideoMemory`: things stay where they began."""

    def __init__(self, _: Any):
        self.masks: dict[int, np.ndarray] = {}

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        return pixels

    def follow(self, _: np.ndarray) -> dict[int, Seen]:
        return {id: Seen(torch.from_numpy(np.where(mask, 5.0, -5.0)).float(), 1.0) for id, mask in self.masks.items()}

    def begin(self, masks: dict[int, np.ndarray]) -> None:
        self.masks |= masks

    def forget(self, ids: list[int]) -> None:
        for id in ids:
            del self.masks[id]


def follower_of(oracle: Oracle, **limits: Any) -> Follower:
    segmenters: ModelCache[SegmenterLike, SegmenterCard] = ModelCache(
        {"embedded": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True
    )
    detectors: ModelCache[DetectorLike, ModelCard] = ModelCache(
        {"embedded": CARD}, lambda *_, **__: oracle, lambda _: True
    )
    return Follower(Studio(detectors, segmenters, limits=Limits(**limits)))


@pytest.fixture
def follower(oracle: Oracle) -> Follower:
    return follower_of(oracle)


def asking(clip: str, prompt: str = "cat", segmenter: str | None = None, **more: Any) -> TrackQuestion:
    return TrackQuestion(clip, prompt, "embedded", segmenter, Thresholds(), **more)


def follow(follower: Follower, question: TrackQuestion) -> None:
    with follower.followed(question) as followed:
        list(follower.follow(followed))


def made(follower: Follower, question: TrackQuestion, format: str, show: Show = DRAWN_ALL) -> Path:
    with follower.followed(question) as followed:
        return Path(follower.make(followed, format, show))


def test_what_is_named_is_followed_and_listed(follower: Follower, clip: str):
    follow(follower, asking(clip))
    record = json.loads(made(follower, asking(clip), "json").read_text())
    assert [(one["id"], one["phrase"], one["last"]) for one in record["tracks"]] == [(1, "cat", 11), (2, "cat", 11)]
    assert record["video"] == "two cats.mp4"
    assert len(record["frames"]) == FRAMES
    assert record["frames"][-1]["objects"][0]["box"] == pytest.approx(CAT, abs=0.5)


def test_what_was_cancelled_goes_on_where_it_was(follower: Follower, clip: str, oracle: Oracle):
    with follower.followed(asking(clip)) as followed:
        list(islice(follower.follow(followed), 5))
        assert (followed.file.frames, followed.file.finished) == (5, False)
    looks = oracle.prepared
    assert looks == 3, "at one frame of two"
    follow(follower, asking(clip))
    assert oracle.prepared == 6, "of twelve frames six are looked at, each once"
    follow(follower, asking(clip))
    assert oracle.prepared == 6, "what is known takes no model"
    follow(follower, asking(clip, "cat . dog"))
    assert oracle.prepared == 12, "another prompt is another question"


def test_what_a_look_finds_first_is_followed_back_where_that_is_asked(clip: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mask_tracker, "VideoMemory", StillMemory)
    cards = {"edgetam": TRACKERS["edgetam"]}
    trackers: ModelCache[Any, TrackerCard] = ModelCache(cards, lambda *_, **__: object(), lambda _: True)
    for backward, first in ((False, 4), (True, 0), (False, 4)):
        studio = follower_of(Late({SIZE: {}})).studio
        studio.trackers = trackers
        question = asking(clip, segmenter="embedded", tracker="edgetam", every=4, backward=backward)
        follow(Follower(studio), question)
        record = json.loads(made(Follower(studio), question, "json").read_text())
        assert [(one["id"], one["first"], one["last"]) for one in record["tracks"]] == [(1, first, FRAMES - 1)]
        tracked = Follower(studio).tracks_at(question, 0.2)
        assert tracked is not None
        assert len(tracked.objects) == backward, "as the paused frame shows it"
    with pytest.raises(ValueError, match="The tracker 'embedded' makes no backward pass"):
        asking(clip, backward=True)


def test_a_track_that_is_ticked_off_is_in_no_file(follower: Follower, clip: str):
    follow(follower, asking(clip))
    lines = made(follower, asking(clip), "mot", Show(hidden=frozenset({1}))).read_text().splitlines()
    assert {line.split(",")[1] for line in lines} == {"2"}
    assert len(made(follower, asking(clip), "mot").read_text().splitlines()) == 2 * len(lines)


def test_an_effect_needs_no_model_and_changes_what_is_followed_alone(follower: Follower, clip: str, oracle: Oracle):
    follow(follower, asking(clip))
    looks = oracle.prepared
    show = Show("recolor", "#ff0000")
    with zipfile.ZipFile(made(follower, asking(clip), "frames", show)) as archive, archive.open("000006.png") as file:
        pixels = np.asarray(Image.open(file))
    before = next(islice(Video(clip).frames(), 5, None)).pixels
    assert np.array_equal(pixels[150:], before[150:])
    assert not np.array_equal(pixels[30:110, 20:100], before[30:110, 20:100])
    assert oracle.prepared == looks


def test_what_is_cut_out_is_transparent_in_pictures_and_has_a_colour_in_a_video(follower: Follower, clip: str):
    follow(follower, asking(clip))
    show = Show("cut-out", "#00ff00")
    with zipfile.ZipFile(made(follower, asking(clip), "frames", show)) as archive, archive.open("000006.png") as file:
        pixels = np.asarray(Image.open(file))
        assert (pixels[200, 150, 3], pixels[70, 60, 3]) == (0, 255)
    video = Video(made(follower, asking(clip), "video", show))
    red, green, blue = map(int, next(islice(video.frames(), 5, None)).pixels[200, 150])
    assert green > 200
    assert max(red, blue) < 60


def test_what_was_said_of_a_frame_is_another_question_and_takes_no_look_twice(
    follower: Follower, clip: str, oracle: Oracle
):
    follow(follower, asking(clip))
    looks = oracle.prepared
    first = Correction(0.4, (Said("cat", CAT, followed=False),))
    second = Correction(0.8, (Said("ball", (120, 150, 180, 210)),))
    for corrections in ((first,), (first, second), (second,)):
        follow(follower, asking(clip, corrections=corrections))
    assert oracle.prepared == looks
    record = json.loads(made(follower, asking(clip, corrections=(first, second)), "json").read_text())
    assert [(one["id"], one["phrase"], one["first"], one["last"]) for one in record["tracks"]] == [
        (1, "cat", 0, 3),
        (2, "cat", 0, 11),
        (3, "ball", 8, 11),
    ]
    unheeded = asking(clip, end=0.3, corrections=(first,))
    assert unheeded.asked(2) == asking(clip, end=0.3).asked(2), "of a frame that is not followed"


def test_a_file_that_was_made_is_handed_out_again(follower: Follower, clip: str):
    follow(follower, asking(clip))
    first = made(follower, asking(clip), "video")
    written = first.stat().st_ino
    assert first.name == "two cats-tracked.mp4"
    again = made(follower, asking(clip), "video")
    assert (again, again.stat().st_ino) == (first, written)
    assert made(follower, asking(clip), "video", Show("blur")) != first


def test_the_video_has_the_sound_of_the_stretch_or_a_sentence_says_why_not(follower: Follower, tmp_path: Path):
    tone = np.sin(np.arange(2 * 8000) / 3)[None].astype(np.float32)
    frames = [clips.picture(3, SIZE)] * FRAMES
    clip = clips.write(tmp_path / "loud.mp4", frames=frames, sound=tone, sound_rate=8000)
    question = asking(str(clip), start=0.5, end=1.0)
    follow(follower, question)
    heard, rate = clips.hear(made(follower, question, "video"))
    assert len(heard) / rate == pytest.approx(0.5, abs=0.15)
    assert np.abs(heard[: rate // 4]).max() > 0.5
    strange = clips.write(tmp_path / "strange.mkv", frames=frames, sound=tone, sound_rate=8000)
    strange.write_bytes(strange.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    follow(follower, asking(str(strange)))
    with follower.followed(asking(str(strange))) as followed:
        assert followed.notes() == []
        assert Video(follower.make(followed, "video")).info.frames == FRAMES
        assert followed.notes() == ["The sound of the video cannot be read and is left out."]


def test_outlines_are_followed_where_they_are_wanted(follower: Follower, clip: str):
    follow(follower, asking(clip))
    with pytest.raises(ValueError, match="There are no masks: switch them on"):
        made(follower, asking(clip), "masks")
    outlined = asking(clip, segmenter="embedded")
    follow(follower, outlined)
    with zipfile.ZipFile(made(follower, outlined, "masks")) as archive, archive.open("000012.png") as file:
        numbers = np.asarray(Image.open(file))
    assert {numbers[70, 60], numbers[70, 250], numbers[200, 150]} == {0, 1, 2}


def test_only_the_stretch_is_followed(follower: Follower, clip: str):
    question = asking(clip, start=0.3, end=0.8)
    follow(follower, question)
    record = json.loads(made(follower, question, "json").read_text())
    assert [frame["seconds"] for frame in record["frames"]] == pytest.approx([0.3, 0.4, 0.5, 0.6, 0.7])


def test_a_paused_frame_is_a_picture_to_the_bit(follower: Follower, clip: str):
    path, seconds = follower.frame(clip, 0.55)
    assert seconds == pytest.approx(0.5)
    assert Path(path).name == "two cats-0.50s.png"
    assert np.array_equal(np.asarray(Image.open(path)), Video(clip).frame_near(0.55).pixels)


def test_what_is_stopped_leaves_no_half_of_a_file(follower: Follower, clip: str, cache: Path):
    follow(follower, asking(clip))
    calls = iter([False] * 4 + [True] * 100)
    with follower.followed(asking(clip)) as followed, pytest.raises(Stopped):
        follower.make(followed, "video", Show(), lambda pairs: watched(pairs, lambda: next(calls)))
    assert not [*cache.rglob("*.mp4*")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": " . "}, "The prompt names nothing to follow"),
        ({"every": 0}, "one frame of 1 to 1000, not of 0"),
        ({"start": -1}, "begins at 0 seconds: -1 is before it"),
        ({"start": 2, "end": 1}, "The end at 1 seconds is not after the start at 2"),
    ],
)
def test_a_question_that_means_nothing_is_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        asking("clip.mp4", **options)


@pytest.mark.parametrize(
    ("effect", "color", "message"), [("melt", "#fff", "no effect 'melt'"), ("recolor", "?", "colour|color")]
)
def test_an_effect_that_there_is_not_is_refused(effect: str, color: str, message: str):
    with pytest.raises(ValueError, match=message):
        Show(effect, color).task("video")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"video_seconds": 0.5}, "^'two cats.mp4' is too long: it lasts 1 seconds, and at most 0.5 are read"),
        ({"video_pixels": 1000}, "^'two cats.mp4' is too large: 320 x 240"),
    ],
)
def test_a_video_beyond_the_limits_is_told_of_at_once(oracle: Oracle, clip: str, limits: dict, message: str):
    with pytest.raises(ValueError, match=message):
        follower_of(oracle, **limits).open(clip)


def test_what_is_no_video_is_a_sentence_without_the_servers_folders(follower: Follower, tmp_path: Path):
    (tmp_path / "letter.mp4").write_text("Dear Sir or Madam")
    with pytest.raises(ValueError, match=r"'letter\.mp4' cannot be read as a video") as told:
        follower.open(str(tmp_path / "letter.mp4"))
    assert str(tmp_path) not in str(told.value)
    with pytest.raises(ValueError, match=r"^'gone\.mp4' is no longer on the server"):
        follower.open(str(tmp_path / "gone.mp4"))


def test_a_lack_of_memory_is_a_sentence_and_what_was_followed_stays(follower: Follower, clip: str, oracle: Oracle):
    look, question = oracle.ground_batch, asking(clip, every=1)

    def fail_once(*arguments: Any, **options: Any) -> Any:
        if oracle.prepared < 6:
            return look(*arguments, **options)
        raise MemoryError

    oracle.ground_batch = fail_once  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=NO_MEMORY):
        follow(follower, question)
    with follower.followed(question) as followed:
        kept = followed.file.frames
    assert 0 < kept < FRAMES
    oracle.ground_batch = look  # type: ignore[method-assign]
    oracle.prepared = 0
    follow(follower, question)
    assert oracle.prepared == FRAMES - kept, "what was followed is not followed again"
    assert len(json.loads(made(follower, question, "json").read_text())["tracks"]) == 2


def test_two_servers_that_share_a_folder_follow_the_same_one_after_the_other(follower: Follower, clip: str):
    """Each has turns of its own, and no more than the file knows of the other."""
    stopped, other, question = [False], follower_of(Oracle({})), asking(clip)
    Timer(0.5, lambda: stopped.__setitem__(0, True)).start()
    with follower.followed(question), pytest.raises(Stopped), other.followed(question, lambda: stopped[0]):
        pytest.fail("Two write the same file.")
    follow(follower, question)


def test_a_full_disk_is_a_sentence(follower: Follower, clip: str, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TrackFile, "add", fail)
    with pytest.raises(ValueError, match=NO_SPACE):
        follow(follower, asking(clip))
