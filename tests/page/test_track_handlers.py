"""What the tab Track answers."""

import base64
import io
import json
from collections.abc import Callable, Generator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.detection.available_models import ModelCard
from groundingdino.detection.phrases import Grounding
from groundingdino.page.faults import FAULT
from groundingdino.page.handlers import Page
from groundingdino.page.limits import Limits
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.query import FILL, TRACK, Query
from groundingdino.page.session import Session
from groundingdino.page.studio import DetectorLike, Studio
from groundingdino.page.track_form import NO_VIDEO, TrackForm
from groundingdino.page.track_handlers import NO_TRACKED, TrackPage
from groundingdino.page.track_view import NO_PAUSED, NO_STRIP, NO_TRACKS
from groundingdino.page.watching import MOVING, STILL
from groundingdino.segmentation.available_models import SegmenterCard
from groundingdino.segmentation.cutting import SegmenterLike
from groundingdino.tracking.video import Video
from tests import clips
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors

SIZE = (320, 240)
CAT, OTHER_CAT = (10, 20, 110, 120), (200, 20, 300, 120)
QUERY = Query(None, "cat", "embedded", 0.35, 0.25, 0.8, TRACK, "embedded", [FILL], 0.5, 0)
FRAMES = 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))


class Held(Oracle):
    """Looks at a few frames, and at the next ones when it is let go."""

    def __init__(self, *arguments: Any, free: int = 10**6):
        super().__init__(*arguments)
        self.free, self.is_held, self.let_go = free, Event(), Event()

    def ground_batch(self, *arguments: Any, **options: Any) -> list[Grounding]:
        if self.prepared > self.free:
            self.is_held.set()
            assert self.let_go.wait(60)
        return super().ground_batch(*arguments, **options)


@pytest.fixture
def oracle() -> Held:
    return Held({SIZE: {"cat": [(0.9, CAT), (0.6, OTHER_CAT)]}})


@pytest.fixture
def tracks(oracle: Held) -> TrackPage:
    return page_with(oracle)


def page_with(oracle: Oracle, **limits: Any) -> TrackPage:
    segmenters: ModelCache[SegmenterLike, SegmenterCard] = ModelCache(
        {"embedded": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True
    )
    detectors: ModelCache[DetectorLike, ModelCard] = ModelCache(
        {"embedded": CARD}, lambda *_, **__: oracle, lambda _: True
    )
    return TrackPage(Page(Studio(detectors, segmenters, limits=Limits(**limits))))


@pytest.fixture
def clip(tmp_path: Path) -> str:
    return str(clips.write(tmp_path / "cats.mp4", frames=[clips.picture(3, SIZE)] * FRAMES))


def form(clip: str | None, **changed: Any) -> TrackForm:
    return TrackForm(clip, None, None, 0, False, "Boxes", "rgba(255, 0, 0, 1)", "embedded", False)._replace(**changed)


def running(
    tracks: TrackPage,
    session: Session,
    of: TrackForm,
    stamp: float = 1.0,
    ticked: Any = "",
    anew: bool = True,
    query: Query = QUERY,
    again: bool = False,
    **selection: Any,
) -> Generator[Any, None, None]:
    sent = {"stamp": stamp, "canvas": [400, 300, 1, 1], "picture": query.path or "", **selection}
    return tracks.run(anew, session, sent, ticked, *query, *of, again=again)  # type: ignore[return-value]


def run(*arguments: Any, **options: Any) -> tuple[Any, Any, Any, Any]:
    """The last update."""
    return [*running(*arguments, **options)][-1]


def message(update: Any) -> str:
    return update[0]["track"]["status"]["message"]


def test_a_video_that_is_opened_is_paused_at_its_first_frame(tracks: TrackPage, clip: str):
    session = Session()
    picture, about, slider, start, end, result, timeline, video, shown = tracks.open(session, clip)
    assert np.array_equal(np.asarray(Image.open(picture)), Video(clip).frame_near(0).pixels)
    assert about == "320 x 240 pixels, 10 frames a second, 2.0 seconds."
    assert (slider["maximum"], slider["step"], slider["value"], slider["interactive"]) == (1.9, 0.1, 0, True)
    assert (start, end, video, shown) == (0, 2, None, STILL)
    assert result["track"]["status"]["message"] == ""
    assert timeline["view"] == NO_TRACKS


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda path: path.write_text("Dear Sir"), "'hostile.mp4' cannot be read as a video"),
        (lambda path: path.write_bytes(b""), "'hostile.mp4' is empty"),
        (lambda path: clips.write_sound(path), "'hostile.mp4' has sound alone: expected a video."),
        (
            lambda path: clips.write(path, frames=[clips.picture(1)] * 80),
            "'hostile.mp4' is too long: it lasts 8 seconds, and at most 5",
        ),
        (lambda path: clips.write(path, frames=[clips.picture(1, (640, 480))]), "'hostile.mp4' is too large"),
    ],
)
def test_a_bad_video_is_a_sentence_and_the_page_lives(
    oracle: Held, tmp_path: Path, write: Callable[[Path], Any], told: str, clip: str
):
    tracks, session = page_with(oracle, video_seconds=5, video_pixels=320 * 240), Session()
    path = tmp_path / "hostile.mp4"
    write(path)
    _, about, slider, _, _, result, *_ = tracks.open(session, str(path))
    assert result["track"]["status"]["tone"] == "error"
    assert result["track"]["status"]["message"].startswith(told)
    assert about.startswith("Up to 5 seconds, 0.1 megapixels a frame and 100 MB")
    assert not slider["interactive"]
    assert message(run(tracks, session, form(str(path)))).startswith(told)
    assert message(run(tracks, session, form(clip))) == "2 things were followed."


def test_the_frame_at_a_time_becomes_the_picture(tracks: TrackPage, clip: str):
    session = Session()
    tracks.open(session, clip)
    picture, result, shown = tracks.pause(session, clip, 1.25)
    assert (Path(picture).name, shown) == ("cats-1.20s.png", STILL)
    assert result["paused"] == NO_PAUSED
    run(tracks, session, form(clip))
    picture, result, _ = tracks.pause(session, clip, 1.25)
    assert result["paused"]["picture"] == picture
    assert [(one["name"], one["box"]) for one in result["paused"]["tracks"]] == [
        ("cat 1", [*CAT]),
        ("cat 2", [*OTHER_CAT]),
    ]
    _, result, _ = tracks.pause(session, clip, 0)
    boxes = [one["box"] for one in result["paused"]["tracks"]]
    assert boxes == [[*CAT], [*OTHER_CAT]], "from where it was first seen, as its bar says"
    assert tracks.pause(session, "another.mp4", 1) == (gr.skip(), gr.skip(), gr.skip())
    seconds, picture, *_ = tracks.pause_at(session, clip, SimpleNamespace(seconds=0.5))  # type: ignore[arg-type]
    assert (seconds, Path(picture).name) == (0.5, "cats-0.50s.png")


def paused(tracks: TrackPage, session: Session, clip: str, seconds: float) -> Query:
    """The page's query once the video is paused there."""
    picture, *_ = tracks.pause(session, clip, seconds)
    return QUERY._replace(path=picture)


def kept(update: Any) -> list[tuple[int, str, float, float]]:
    return [(one["id"], one["phrase"], one["since"], one["until"]) for one in update[1]["view"]["tracks"]]


ID = "cat [10, 20, 110, 120]"


def test_what_is_ticked_on_the_paused_frame_starts_the_tracks(tracks: TrackPage, clip: str):
    session = Session()
    tracks.open(session, clip)
    query = paused(tracks, session, clip, 0.0)
    last = run(tracks, session, form(clip), query=query, unticked=[ID])
    assert kept(last) == [(2, "cat", 0.0, 1.9)]
    assert last[1]["view"]["corrections"] == [0.0]
    path = tracks.export("mot", session, "", *form(clip))
    assert path
    assert {line.split(",")[1] for line in Path(path).read_text().splitlines()} == {"2"}
    elsewhere = run(tracks, Session(), form(clip), query=query, unticked=[ID])
    assert len(kept(elsewhere)) == 2, "that picture is no paused frame of this visitor's"
    untouched = run(tracks, session, form(clip, start=0.5), stamp=2.0, query=query)
    assert len(kept(untouched)) == 2, "the frame is not followed"
    told = "Corrections at 0.00 s change nothing: only 0.50 to 2.00 s are followed."
    assert message(untouched) == f"2 things were followed. {told}"
    assert told not in message(last)
    assert untouched[1]["view"]["corrections"] == [0.0], "so that it can be taken back"
    tracks.forget(session, SimpleNamespace(seconds=0.0))  # type: ignore[arg-type]
    forgotten = run(tracks, session, form(clip, start=0.5), stamp=3.0, again=True, query=query)
    assert (message(forgotten), forgotten[1]["view"]["corrections"]) == ("2 things were followed.", [])


def test_what_is_pointed_at_is_a_track_by_its_name(tracks: TrackPage, clip: str):
    session = Session()
    tracks.open(session, clip)
    query = paused(tracks, session, clip, 0.5)
    gestures = [{"target": "pointed 1", "box": [130, 150, 190, 210]}]
    changes = [{"id": "pointed 1", "name": "ball"}]
    last = run(tracks, session, form(clip), query=query, gestures=gestures, changes=changes)
    assert kept(last)[2:] == [(3, "ball", 0.5, 1.9)]
    assert [row[1:] for row in kept(last)[:2]] == [("cat", 0.0, 1.9)] * 2


def test_a_correction_tracks_what_follows_anew_and_asks_the_detector_nothing(
    tracks: TrackPage, clip: str, oracle: Held
):
    session = Session()
    tracks.open(session, clip)
    run(tracks, session, form(clip))
    query, looks = paused(tracks, session, clip, 1.0), oracle.prepared
    tracks.page.studio.find(tracks.page.studio.image(query.path or ""), "cat", "embedded", query.thresholds)
    changes = [{"id": ID, "name": "fox"}]
    looks = oracle.prepared
    last = run(tracks, session, form(clip), 2.0, query=query, changes=changes)
    assert oracle.prepared == looks
    assert kept(last) == [(1, "cat", 0.0, 1.9), (2, "cat", 0.0, 1.9)], "by the name that it had most"
    path = tracks.export("json", session, "", *form(clip))
    assert path
    frames = json.loads(Path(path).read_text())["frames"]
    names = [frame["objects"][0]["phrase"] for frame in frames]
    assert names == ["cat"] * 10 + ["fox"] * 10
    tracks.forget(session, SimpleNamespace(seconds=1.0))  # type: ignore[arg-type]
    last = run(tracks, session, form(clip), 3.0, again=True, query=query, changes=changes)
    assert last[1]["view"]["corrections"] == []
    assert oracle.prepared == looks


def test_a_track_that_is_gone_here_ends_here(tracks: TrackPage, clip: str, oracle: Held):
    session = Session()
    tracks.open(session, clip)
    event: Any = SimpleNamespace(id=1)
    with pytest.raises(gr.Error, match="Press Track first"):
        tracks.end_track(session, event)
    run(tracks, session, form(clip))
    tracks.pause(session, clip, 1.0)
    looks = oracle.prepared
    tracks.end_track(session, event)
    last = run(tracks, session, form(clip), 2.0, again=True)
    assert oracle.prepared == looks
    assert kept(last)[0] == (1, "cat", 0.0, 0.9)
    assert last[1]["view"]["corrections"] == [1.0]
    tracks.pause(session, clip, 1.5)
    with pytest.raises(gr.Error, match="That track is not in this frame"):
        tracks.end_track(session, event)


def test_thumbnails_of_a_video_come_as_they_are_decoded(tracks: TrackPage, clip: str):
    session = Session()
    tracks.open(session, clip)
    view = [*tracks.thumbnails(session, clip)][-1]["view"]
    assert view["length"] == pytest.approx(2.0)
    assert [one["seconds"] for one in view["frames"]] == pytest.approx([number / 5 for number in range(10)])
    image = Image.open(io.BytesIO(base64.b64decode(view["frames"][3]["url"].partition(",")[2])))
    assert image.height == 72
    assert [*tracks.thumbnails(session, None)][-1]["view"] == NO_STRIP
    assert [*tracks.thumbnails(session, "another.mp4")][-1]["view"] == NO_STRIP
    assert (tracks.take_recording(clip), tracks.take_recording(None)) == (clip, gr.skip())


def test_a_file_that_was_not_uploaded_is_no_video(tracks: TrackPage, tmp_path: Path):
    event: Any = SimpleNamespace(file={"path": str(tmp_path / "secret.mp4")})
    with pytest.raises(gr.Error, match="not in the cache folder"):
        tracks.take_video(event)


def test_frames_are_streamed_and_then_the_video_plays(tracks: TrackPage, clip: str):
    updates = [*running(tracks, Session(), form(clip))]
    first = next(one[0]["track"] for one in updates if one[0]["track"]["frame"])
    assert first["working"]
    assert first["status"]["message"].startswith("Following: ")
    image = Image.open(io.BytesIO(base64.b64decode(first["frame"].partition(",")[2])))
    assert image.size == (320, 240)
    result, timeline, video, shown = updates[-1]
    assert not result["track"]["working"]
    assert message(updates[-1]) == "2 things were followed."
    assert shown == MOVING
    assert Video(video).info.size == SIZE
    rows = timeline["view"]["tracks"]
    assert [(one["id"], one["phrase"], one["until"]) for one in rows] == [(1, "cat", 1.9), (2, "cat", 1.9)]
    assert (timeline["view"]["start"], timeline["view"]["end"]) == (0, pytest.approx(2))


def test_cancel_keeps_what_is_done_and_track_goes_on_from_there(clip: str):
    oracle = Held({SIZE: {"cat": [(0.9, CAT)]}}, free=5)
    tracks, session = page_with(oracle), Session()
    updates = running(tracks, session, form(clip))
    next(updates)
    assert oracle.is_held.wait(30)
    tracks.cancel(session, {"stamp": 2.0})
    for update in updates:
        if message(update) == "Cancelled.":
            oracle.let_go.set()
            break
    assert not update[0]["track"]["working"], "it is told before the look has ended"
    last = [*updates][-1]
    assert message(last).startswith("Cancelled: 1")
    assert last[2] is None
    assert [one["id"] for one in last[1]["view"]["tracks"]] == [1]
    looks = oracle.prepared
    assert message(run(tracks, session, form(clip), stamp=3.0)) == "1 thing was followed."
    assert oracle.prepared - looks <= 5, "ten looks in all, and the first ones are known"


def test_who_leaves_stops_it(clip: str):
    oracle = Held({SIZE: {"cat": [(0.9, CAT)]}}, free=3)
    tracks = page_with(oracle)
    updates = running(tracks, Session(), form(clip))
    next(updates)
    assert oracle.is_held.wait(30)
    updates.close()
    oracle.let_go.set()
    question = form(clip).question(QUERY)
    with tracks.follower.followed(question) as followed:  # once the thread has ended
        assert not followed.file.finished
    assert oracle.prepared == 4


def test_others_are_answered_meanwhile(clip: str):
    oracle = Held({SIZE: {"cat": [(0.9, CAT)]}}, free=0)
    tracks = page_with(oracle)
    updates = running(tracks, Session(), form(clip))
    next(updates)
    assert oracle.is_held.wait(30)
    assert tracks.page.jobs.run(lambda: "answer") == "answer"
    updates.close()
    oracle.let_go.set()


def test_ticks_and_effects_make_another_video_without_the_model(tracks: TrackPage, clip: str, oracle: Held):
    session = Session()
    first = run(tracks, session, form(clip))
    looks, key = oracle.prepared, first[1]["view"]["key"]
    ticked = {"key": key, "hidden": [1]}
    second = run(tracks, session, form(clip, effect="Recolour"), 2.0, ticked, anew=False)
    assert second[2] != first[2]
    assert [one["id"] for one in second[1]["view"]["tracks"]] == [1, 2], "what is ticked off can come back"
    before, after = (Video(path).frame_near(1.0).pixels.astype(int) for path in (clip, second[2]))
    assert abs(after - before)[25:115, 15:105].max() < 40, "ticked off"
    assert abs(after - before)[25:115, 205:295].max() > 60
    assert oracle.prepared == looks
    path = tracks.export("mot", session, ticked, *form(clip))
    assert path
    assert {line.split(",")[1] for line in Path(path).read_text().splitlines()} == {"2"}
    stale = tracks.export("mot", session, {"key": "of another run", "hidden": [1]}, *form(clip))
    assert stale != path


def test_nothing_is_made_before_anything_was_followed(tracks: TrackPage, clip: str, monkeypatch: pytest.MonkeyPatch):
    told: list[str] = []
    monkeypatch.setattr(gr, "Warning", told.append)
    session = Session()
    tracks.open(session, clip)
    assert [*running(tracks, session, form(clip), anew=False)] == []
    assert tracks.export("json", session, "", *form(clip)) is None
    run(tracks, session, form(clip))
    assert tracks.export("masks", session, "", *form(clip)) is None
    assert told == [NO_TRACKED, "There are no masks: switch them on, and press Track again."]


def test_outlines_come_as_a_zip(tracks: TrackPage, clip: str):
    session, outlined = Session(), form(clip, masks=True)
    run(tracks, session, outlined)
    path = tracks.export("masks", session, "", *outlined)
    assert path
    assert Path(path).name == "cats-masks.zip"


@pytest.mark.parametrize(
    ("changed", "prompt", "told"),
    [
        ({"video": None}, "cat", NO_VIDEO),
        ({}, "", "The prompt names nothing to follow"),
        ({"start": 1.5, "end": 1.0}, "cat", "The end at 1 seconds is not after the start at 1.5."),
        ({"start": 30.0}, "cat", "'cats.mp4' has no frame after 30.0 seconds"),
    ],
)
def test_what_cannot_be_followed_is_a_sentence(tracks: TrackPage, clip: str, changed: dict, prompt: str, told: str):
    last = run(tracks, Session(), form(clip, **changed), query=QUERY._replace(prompt=prompt))
    assert message(last).startswith(told)
    assert not last[0]["track"]["working"]


def test_a_backward_pass_is_asked_of_a_tracker_that_makes_one(clip: str):
    assert form(clip, tracker="edgetam", backward=True).question(QUERY).backward
    assert not form(clip, tracker="edgetam").question(QUERY).backward
    assert not form(clip, backward=True).question(QUERY).backward, "the page does not show it beside the embedded one"


def test_a_name_that_is_not_there_is_no_track(tracks: TrackPage, clip: str):
    last = run(tracks, Session(), form(clip), query=QUERY._replace(prompt="dog"))
    assert message(last) == "Nothing was followed: try another word or threshold."
    assert last[1]["view"]["tracks"] == []


def test_a_fault_is_told_and_logged(tracks: TrackPage, clip: str, monkeypatch: pytest.MonkeyPatch, caplog):
    def fail(*_: Any, **__: Any) -> sv.Detections:
        raise RuntimeError("boom")

    monkeypatch.setattr(Held, "ground_batch", fail)
    assert message(run(tracks, Session(), form(clip))) == FAULT
    assert "boom" in caplog.text
