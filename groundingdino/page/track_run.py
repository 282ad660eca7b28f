"""A video under way: what is named is followed, and the video made, in a thread of its own that tells how far it is.

It computes one frame after the other among the page's jobs, so that nobody else waits for more than a frame of it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from queue import Queue
from threading import Thread
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from groundingdino.page.correcting import with_correction
from groundingdino.page.following import Followed, Follower, Pair, Show, TrackQuestion
from groundingdino.page.handlers import Page
from groundingdino.page.jobs import Jobs, in_this_context
from groundingdino.page.status_line import sentence
from groundingdino.page.track_view import frame_url, in_words, tracks_view
from groundingdino.page.view import Canvas
from groundingdino.runtime.interruption import StopCheck, Stopped, raise_if, stopping
from groundingdino.tracking.corrections import Correction
from groundingdino.tracking.drawing import FrameDrawing
from groundingdino.tracking.making import VIDEO
from groundingdino.tracking.track_file import tracks_of

SHOWN_EVERY = 0.25  # seconds: more frames than these the page is not sent while things are followed

T = TypeVar("T")
ShowOf = Callable[[str], Show]  # by the key of what was followed


class Made(NamedTuple):
    """What a run ends with."""

    view: dict[str, Any]  # the timeline
    video: str | None  # path; None after a cancel
    status: dict[str, Any]
    question: TrackQuestion  # with what was said of the paused frame


class TrackRun:
    """A video under way; whoever follows it reads its `news`.

    Args:
        question: What is followed.
        show: What is made of it.
        stop: Whether the page wants something else.
        anew: Follow; else only make another video of what was followed before.
        said: Finds what was said of the paused frame; None where nothing was.
    """

    def __init__(
        self,
        page: Page,
        follower: Follower,
        question: TrackQuestion,
        show: ShowOf,
        canvas: Canvas,
        stop: StopCheck,
        anew: bool,
        said: Callable[[], Correction] | None,
    ):
        self._page, self._follower, self._question, self._show = page, follower, question, show
        self._canvas, self._stop, self._anew, self._said = canvas, stop, anew, said
        self.news: Queue[dict[str, Any] | Made | BaseException] = Queue()
        self.given_up = False  # nobody follows it any more

    def start(self) -> None:
        Thread(target=in_this_context(self._work), daemon=True).start()

    def stop(self) -> bool:
        """Whether it has to end."""
        return self.given_up or self._stop()

    def _work(self) -> None:
        """In its own thread: all that a run does; whatever comes is news."""
        question = self._question
        try:
            if self._said is not None:
                new = self._page.jobs.run(self._said, self.stop)
                question = replace(question, corrections=with_correction(question.corrections, new))
            self.news.put(self._track(question))
        except BaseException as error:  # whoever follows would wait for ever
            self.news.put(error)

    def _track(self, question: TrackQuestion) -> Made:
        studio, begun = self._page.studio, monotonic()
        with self._follower.followed(question, self.stop) as followed:
            try:
                notes = list[str]()
                if self._anew and not followed.file.finished:
                    with studio.limits.in_time(self.stop) as stop:
                        self._watch(followed, stop or self.stop, notes)
                making = partial(self._making, followed)
                path = self._follower.make(followed, VIDEO, self._show(followed.ticks), making)
                tracks = list(tracks_of(followed.frames()))
            except Stopped:
                # What is done stays, and is shown as far as it goes.
                tracks = list(tracks_of(followed.frames()))
                seconds = max((track.until for track in tracks), default=question.start)
                message = f"Cancelled: {_count(followed)} are kept, and Track goes on from there."
                status = sentence(" ".join([message, *followed.notes()]), "hint", f"{seconds:.1f} s")
                return Made(tracks_view(followed, tracks), None, status, question)
            words = f"{in_words(tracks)}." if tracks else "Nothing was followed: try another word or threshold."
            detail = f"{monotonic() - begun:.1f} s · {studio.detectors.card(question.model).title}"
            status = sentence(" ".join([words, *followed.notes(), *notes]), "done" if tracks else "nothing", detail)
            return Made(tracks_view(followed, tracks), path, status, question)

    def _watch(self, followed: Followed, stop: StopCheck, notes: list[str]) -> None:
        """Follows to the end, and tells how far it is."""
        drawing = FrameDrawing(followed.video.info.rate, trails=False)
        shown, known = -SHOWN_EVERY, followed.file.frames
        clock: tuple[float, float] | None = None  # when the first frame that was not known came, and its share

        def told(sentences: Iterable[str]) -> None:
            notes.extend(one for one in sentences if one not in notes)

        with closing(self._follower.follow(followed, told)) as frames:
            for frame, tracked in by_jobs(self._page.jobs, frames, stop):
                now, share = monotonic(), followed.share(frame.seconds)
                if frame.index >= known and clock is None:
                    clock = now, share
                if now - shown < SHOWN_EVERY:
                    continue
                shown = now
                start, end = followed.stretch
                left = (now - clock[0]) / (share - clock[1]) * (1 - share) if clock and share > clock[1] else None
                message = f"Following: {frame.seconds - start:.1f} of {end - start:.1f} seconds …"
                detail = f"{share:.0%}" + (f" · about {max(1, round(left))} s left" if left is not None else "")
                url = frame_url(drawing, frame, tracked, self._canvas.pixels)
                self.news.put({"share": share, "frame": url, "status": sentence(message, "working", detail)})

    def _making(self, followed: Followed, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The same pairs of frames, with news on how far they are."""
        told = monotonic()
        for pair in by_jobs(self._page.jobs, pairs, self.stop):
            if monotonic() - told > SHOWN_EVERY:
                told = monotonic()
                share = followed.share(pair[0].seconds)
                self.news.put({"share": share, "status": sentence("Making the video …", "working", f"{share:.0%}")})
            yield pair


def by_jobs(jobs: Jobs, items: Iterable[T], stop: StopCheck) -> Iterator[T]:
    """The same items, each made when its turn among the page's jobs comes."""
    iterator, none = iter(items), object()

    def one() -> Any:
        with stopping(stop):
            return next(iterator, none)

    while True:
        raise_if(stop)
        job = jobs.start(one)
        item = job.result()  # not given up before it ends: it may be writing to the file
        if item is none:
            return
        yield item


def _count(followed: Followed) -> str:
    frames = followed.file.frames
    return "1 frame" if frames == 1 else f"{frames} frames"
