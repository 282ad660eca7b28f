"""What the tab Track does: opens videos, pauses them, follows what is named, and makes files of it.

A paused frame is the page's picture, see `handlers`. What was followed stays on disk; cancelling ends it, and the next
run goes on from there, see `track_run` and `following`.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from queue import Empty
from time import monotonic
from typing import Any

import gradio as gr

from groundingdino.page.correcting import correction_of, gone_here, says_something, with_correction, without_correction
from groundingdino.page.faults import FAULT, noticed
from groundingdino.page.following import Follower, TrackQuestion
from groundingdino.page.handlers import Page, ended
from groundingdino.page.inpaint_handlers import LIMIT, POLL, STARTING
from groundingdino.page.picker import Picker
from groundingdino.page.presence import has_left
from groundingdino.page.query import TRACK, Query
from groundingdino.page.request_log import REFUSED, WITHDRAWN, logged
from groundingdino.page.selection import Selection
from groundingdino.page.session import Session
from groundingdino.page.status_line import sentence
from groundingdino.page.track_form import NO_VIDEO, TrackForm
from groundingdino.page.track_run import SHOWN_EVERY, Made, TrackRun, by_jobs
from groundingdino.page.track_view import (
    NO_PAUSED,
    NO_STRIP,
    NO_TRACK,
    NO_TRACKS,
    limits_in_words,
    paused_view,
    strip_view,
    video_in_words,
)
from groundingdino.page.view import Canvas
from groundingdino.page.watching import MOVING, STILL
from groundingdino.runtime.interruption import Stopped
from groundingdino.tracking.corrections import Correction
from groundingdino.tracking.video import Frame

THUMBNAILS = 10  # of a video
PATIENCE = 20.0  # seconds after a cancel in which the frame under way should have ended
NO_TRACKED = "Press Track first: there is nothing to download yet."
GIVEN_UP = "Following gave no sign of life for 15 minutes and was given up."

logger = logging.getLogger(__name__)


class TrackPage:
    """The handlers behind the controls of the tab; sessions are those of `Page`."""

    def __init__(self, page: Page):
        self.page, self.follower = page, Follower(page.studio)
        self.trackers = Picker(page.studio.trackers)

    def open(self, session: Session, path: str | None) -> tuple[Any, ...]:
        """Another video: its first frame as the picture, what it is in words, the slider, and nothing followed yet.

        The updates are of: picture, about, slider, start, end, result, timeline, video, what is shown.
        """
        session.video, session.tracked, session.paused = path, None, None
        words, rest = limits_in_words(self.page.studio.limits), (gr.update(view=NO_TRACKS), None, STILL)
        hidden = gr.update(value=0, interactive=False)
        if not path:
            return gr.skip(), words, hidden, None, None, gr.update(track=NO_TRACK), *rest
        with logged("open video") as line:
            try:
                info = self.page.jobs.run(lambda: self.follower.open(path)).info
                frame, seconds = self.page.jobs.run(lambda: self.follower.frame(path, 0))
            except Exception as error:
                line["ended"] = REFUSED
                told = {**NO_TRACK, "status": self._status_of(error)}
                return gr.skip(), words, hidden, None, None, gr.update(track=told), *rest
        session.paused = frame, seconds
        step = max(0.01, round(1 / info.rate, 3))
        slider = gr.update(value=0, maximum=max(step, round(info.seconds - step, 3)), step=step, interactive=True)
        return frame, video_in_words(info), slider, 0, round(info.seconds, 2), gr.update(track=NO_TRACK), *rest

    def pause(self, session: Session, path: str | None, seconds: float | None) -> tuple[Any, Any, Any]:
        """The frame at a time as the page's picture."""
        if not path or path != session.video:
            return gr.skip(), gr.skip(), gr.skip()
        try:
            frame, found = self.page.jobs.run(lambda: self.follower.frame(path, max(0.0, float(seconds or 0))))
        except Exception as error:
            return gr.skip(), gr.update(track={**NO_TRACK, "status": self._status_of(error)}), STILL
        session.paused = frame, found
        return frame, gr.update(paused=self._paused(session)), STILL

    def _paused(self, session: Session) -> dict[str, Any]:
        """What is followed in the paused frame."""
        question, paused = session.tracked, session.paused
        if question is None or paused is None:
            return NO_PAUSED
        try:
            return paused_view(paused[0], self.page.jobs.run(lambda: self.follower.tracks_at(question, paused[1])))
        except (ValueError, OSError):  # which is told where it is followed
            return NO_PAUSED

    def thumbnails(self, session: Session, path: str | None) -> Iterator[Any]:
        """Updates of the strip, as its frames are decoded."""
        if not path or path != session.video:
            yield gr.update(view=NO_STRIP)
            return
        found: list[Frame] = []
        told = monotonic()
        try:
            video = self.page.jobs.run(lambda: self.follower.open(path))
            for frame in by_jobs(self.page.jobs, video.thumbnails(THUMBNAILS), lambda: session.video != path):
                found.append(frame)
                if monotonic() - told > SHOWN_EVERY:
                    told = monotonic()
                    yield gr.update(view=strip_view(video.info.seconds, found))
        except Stopped:  # another video was chosen
            return
        except ValueError:  # which is told where the video is opened
            video = None
        yield gr.update(view=strip_view(video.info.seconds, found) if video else NO_STRIP)

    def pause_at(self, session: Session, path: str | None, event: gr.EventData) -> tuple[Any, ...]:
        """The frame of a thumbnail, or at which a track begins."""
        seconds = float(event.seconds)
        return seconds, *self.pause(session, path, seconds)

    def take_video(self, event: gr.EventData) -> tuple[Any, Any]:
        """A video that was dropped on the canvas, and the tab that it opens."""
        return self.page.take_file(event), gr.update(selected=TRACK)

    def take_recording(self, path: str | None) -> Any:
        """A clip that was recorded as the video."""
        return path or gr.skip()

    def end_track(self, session: Session, event: gr.EventData) -> None:
        """Says that a track ends at the paused frame; `run` then follows what comes after it anew."""
        question, paused = session.tracked, session.paused
        if question is None or paused is None:
            raise gr.Error(NO_TRACKED)

        def find() -> Correction:
            with self.follower.followed(question) as followed:
                return gone_here(followed.frames(), int(event.id), paused[1])

        try:
            said = self.page.jobs.run(find)
        except ValueError as error:
            raise gr.Error(str(error)) from error
        session.corrections[question.video, question.prompt] = with_correction(question.corrections, said)

    def forget(self, session: Session, event: gr.EventData) -> None:
        """Takes back what was said of a frame."""
        question = session.tracked
        if question is not None:
            left = without_correction(question.corrections, float(event.seconds))
            session.corrections[question.video, question.prompt] = left

    def run(
        self, anew: bool, session: Session, sent: dict[str, Any], ticked: Any, *values: Any, again: bool = False
    ) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Updates of result, timeline, video and what is shown: how far it is, and then what came of it.

        Args:
            anew: Follow; else only make another video of what was followed before.
            again: Follow what was followed before, after other corrections.
        """
        query, form = Query(*values[: len(Query._fields)]), TrackForm(*values[len(Query._fields) :])
        stamp, canvas = float(sent["stamp"]), Canvas.parse(sent.get("canvas"))
        if (again or not anew) and session.tracked is None:
            return
        said = None
        try:
            question = form.question(query) if session.tracked is None or (anew and not again) else session.tracked
            if anew:
                known = session.corrections.get((question.video, question.prompt), ())
                question = replace(question, corrections=known)
                said = None if again else self._said(session, query, Selection.parse(sent, query.keys[0]), question)
        except ValueError as error:
            tone = "hint" if str(error) == NO_VIDEO else "error"
            yield self._told({**NO_TRACK, "run": stamp, "status": sentence(str(error), tone)})
            return
        session.video = question.video
        left = has_left()

        def stop() -> bool:
            changed = session.track_cancelled if anew else max(session.track_cancelled, session.show_changed)
            return changed > stamp or session.video != question.video or left()

        if anew:
            session.tracked = None
        run = TrackRun(self.page, self.follower, question, partial(form.show, ticked), canvas, stop, anew, said)
        run.start()
        with logged("track", prompt=query.prompt) as line:
            line |= {"model": question.model, "effect": form.effect}
            try:
                for update in self._follow(run, session, stamp, anew):
                    line["ended"] = ended(update[0].get("track", {}).get("status")) if update[0] else "ok"
                    yield update
                if run.stop():
                    line["ended"] = WITHDRAWN
            finally:  # also when the visitor has left
                run.given_up = True

    def cancel(self, session: Session, sent: dict[str, Any]) -> None:
        """Gives up what is under way; `run` then ends by itself, and keeps what is done."""
        session.track_cancelled = max(session.track_cancelled, float(sent["stamp"]))

    def change_show(self, session: Session, sent: dict[str, Any]) -> None:
        """Gives up the video that is being made: another one is wanted."""
        session.show_changed = max(session.show_changed, float(sent["stamp"]))

    def export(self, format: str, session: Session, ticked: Any, *values: Any) -> str | None:
        """A file of what was followed by now; None, after a notice, if there is nothing to write."""
        question, form = session.tracked, TrackForm(*values)
        if question is None:
            gr.Warning(NO_TRACKED)
            return None

        def make() -> str:
            with self.follower.followed(question) as followed:
                return self.follower.make(followed, format, form.show(ticked, followed.ticks))

        with logged("export") as line:
            line["file"] = format
            return noticed(lambda: self.page.jobs.run(make), line)

    def _said(
        self, session: Session, query: Query, selection: Selection, question: TrackQuestion
    ) -> Callable[[], Correction] | None:
        """What finds what was ticked, pointed at and moved on the paused frame; None where nothing was."""
        if session.paused is None or query.path is None or not says_something(selection):
            return None
        path, seconds = session.paused
        if query.path != path:
            return None

        def find() -> Correction:
            findings = self.page.findings(query, selection, self.page.studio.image(path))
            return correction_of(seconds, findings, selection, question.by_memory is not None)

        return find

    def _follow(self, run: TrackRun, session: Session, stamp: float, anew: bool) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Updates until the run is over, however it ends."""
        shown = {**NO_TRACK, "run": stamp, "working": True, "status": sentence(STARTING, "working")}
        yield self._told(shown, STILL) if not anew else (gr.update(track=shown), gr.update(view=NO_TRACKS), None, STILL)
        heard, left = monotonic(), None
        while True:
            try:
                news = run.news.get(timeout=POLL)
                heard = monotonic()
                while isinstance(news, dict) and not run.news.empty():  # what is newer is on its way already
                    news = run.news.get()
            except Empty:
                if monotonic() - heard > LIMIT:
                    news = ValueError(GIVEN_UP)
                elif left is not None and monotonic() - left > PATIENCE:
                    return
                else:
                    if left is None and run.stop():
                        left = monotonic()
                        yield self._told({**NO_TRACK, "run": stamp, "status": sentence("Cancelled.", "hint")})
                    continue
            if isinstance(news, dict):
                if left is None:
                    shown = {**shown, **news}
                    yield self._told(shown)
                continue
            last = {**NO_TRACK, "run": stamp}
            if isinstance(news, Made):
                if not anew and news.video is None:  # another one is on its way
                    return
                question = session.tracked = news.question
                session.corrections[question.video, question.prompt] = question.corrections
                update = gr.update(track={**last, "status": news.status}, paused=self._paused(session))
                moving = MOVING if news.video else STILL
                yield update, gr.update(view=news.view), news.video, moving
            elif isinstance(news, Stopped):
                yield self._told({**last, "status": sentence("Cancelled.", "hint")})
            else:
                yield self._told({**last, "status": self._status_of(news)})
            return

    @staticmethod
    def _told(track: dict[str, Any], still: Any = None) -> tuple[Any, Any, Any, Any]:
        return gr.update(track=track), gr.skip(), gr.skip(), still or gr.skip()

    def _status_of(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, ValueError):
            return self.page.error_status(error)
        logger.error("The video could not be worked on", exc_info=error)
        return sentence(FAULT, "error")
