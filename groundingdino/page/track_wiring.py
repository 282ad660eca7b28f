"""The events of the tab Track."""

from functools import partial
from typing import Any

import gradio as gr

from groundingdino.page.handlers import WAITING
from groundingdino.page.inpaint_handlers import FOLLOWED
from groundingdino.page.layout import Answer, Question
from groundingdino.page.track_form import TrackForm
from groundingdino.page.track_handlers import TrackPage
from groundingdino.page.track_layout import TrackControls
from groundingdino.page.wiring import INTERRUPT, PRIVATE, SAVE, STAMP, answering, by_name, taking, wire_download

# The strip shows what is paused, and where the stretch begins and ends.
MARKS = "(value, at, start, end) => ({at, start, end})"
# While the number beside the slider is empty it means the start, and what is too large the end, see `layout.slider`.
SEEK = """(session, path, seconds) => {
  const most = Number(document.querySelector("#track-at input[type=range]").max);
  return [session, path, Math.min(Math.max(Number(seconds) || 0, 0), most)];
}"""


def wire_tracks(
    tracks: TrackPage,
    session: gr.State,
    query: list[Any],
    question: Question,
    answer: Answer,
    controls: TrackControls,
) -> None:
    """Connects its controls; `query` are those of all tabs."""
    result, (shown, video, strip, timeline) = answer.result, answer.watching
    form = by_name(
        TrackForm,
        video=controls.video,
        start=controls.start,
        end=controls.end,
        every=controls.every,
        masks=controls.masks,
        effect=controls.effect,
        color=controls.color,
        tracker=controls.tracker.model,
        backward=controls.backward,
    )
    tracker, described = controls.tracker, [controls.tracker.about, controls.tracker.fetch]
    taken = result.take_tracker(
        taking(tracks.trackers, tracks.trackers.choose), None, [tracker.model, *described], **PRIVATE
    )
    wire_download(tracks.trackers, tracker, gr.State(0), taken)
    tracker.model.input(tracks.trackers.choose, tracker.model, described, **PRIVATE)
    opened = [question.picture, controls.about, controls.at, controls.start, controls.end]
    opened += [result, timeline, video, shown]
    after = controls.video.change(tracks.open, [session, controls.video], opened, concurrency_limit=WAITING, **PRIVATE)
    filled: dict[str, Any] = {"concurrency_limit": WAITING, **PRIVATE}
    after.then(answering(tracks.thumbnails), [session, controls.video], strip, **filled)
    controls.record.change(tracks.take_recording, controls.record, controls.video, **PRIVATE)
    result.video(tracks.take_video, None, [controls.video, answer.row], **PRIVATE)
    paused = [question.picture, result, shown]
    seeking: dict[str, Any] = {"concurrency_limit": WAITING, **PRIVATE}
    controls.at.input(
        tracks.pause, [session, controls.video, controls.at], paused, trigger_mode="always_last", js=SEEK, **seeking
    )
    for part in (strip, timeline):
        part.show(tracks.pause_at, [session, controls.video], [controls.at, *paused], **seeking)
    places: list[Any] = [controls.at, controls.start, controls.end]
    marked: dict[str, Any] = {"js": MARKS, "queue": False, **PRIVATE}
    gr.on([place.change for place in places], None, [strip, *places], strip, **marked)
    for button, mark in ((controls.from_here, controls.start), (controls.to_here, controls.end)):
        button.click(None, controls.at, mark, js="(at) => at", **PRIVATE)

    making: dict[str, Any] = {
        "inputs": [session, result, timeline, *query, *form],
        "outputs": [result, timeline, video, shown],
        "concurrency_limit": FOLLOWED,
        "js": STAMP,
        **PRIVATE,
    }
    # A visitor follows in one video at a time: the button is not there meanwhile. Who presses it right after a cancel
    # whose end has not reached the browser yet is heard, too.
    controls.run.click(answering(partial(tracks.run, True), 4), trigger_mode="always_last", **making)
    controls.cancel.click(tracks.cancel, [session, result], None, queue=False, js=INTERRUPT, **PRIVATE)
    again = answering(partial(tracks.run, True, again=True), 4)
    for event, change in ((timeline.gone, tracks.end_track), (timeline.forget, tracks.forget)):
        event(change, session, None, concurrency_limit=WAITING, **PRIVATE).success(again, **making)
    changes = [controls.effect.input, controls.color.change, timeline.input]
    interrupting: dict[str, Any] = {"trigger_mode": "multiple", "queue": False, "js": INTERRUPT, **PRIVATE}
    gr.on(changes, tracks.change_show, [session, result], None, **interrupting)
    gr.on(changes, answering(partial(tracks.run, False), 4), trigger_mode="always_last", **making)
    for kind, button in answer.track_downloads.items():
        export = partial(tracks.export, kind)
        written = button.click(export, [session, timeline, *form], answer.file, concurrency_limit=WAITING, **PRIVATE)
        written.success(None, answer.file, js=SAVE, **PRIVATE)
