"""What the page and the endpoints do with a video: open it, follow what is named, and make files of what was followed.

What was followed is on disk, by video and question: who asks the same again, or goes on after a cancel, computes
nothing twice. The files lie where Gradio looks for what it hands out, and are cleared away with the others.
"""

import json
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.processing_utils import hash_bytes
from PIL import Image

from groundingdino.editing.modes import parse_task
from groundingdino.editing.out_of_memory import memory_errors
from groundingdino.editing.tasks import Task
from groundingdino.files.downloads import locked
from groundingdino.inputs.image_files import named
from groundingdino.inputs.prompt import Prompt
from groundingdino.page.files import DISK_ERRORS, refusal, short, write_file
from groundingdino.page.studio import Studio, Thresholds
from groundingdino.results import export
from groundingdino.runtime.interruption import StopCheck, raise_if
from groundingdino.tracking.available_trackers import EMBEDDED, FORWARD_ONLY
from groundingdino.tracking.corrections import Correction, heeded, unheeded_in_words
from groundingdino.tracking.look_back import frames_back
from groundingdino.tracking.looks import cut_out, look_by
from groundingdino.tracking.making import MASKS, PICTURES, VIDEO, frames_of, shown_frames, write_frames, write_list
from groundingdino.tracking.mask_tracker import MaskTracker
from groundingdino.tracking.track_file import Earlier, TrackFile, follow, frames_in
from groundingdino.tracking.tracker import (
    EmbeddedTracker,
    TrackedFrame,
    Tracker,
    TrackerSettings,
    looks_each_second,
    looks_every,
)
from groundingdino.tracking.video import Frame, Video, VideoLimits

DRAWN = "boxes"
SHOWS = (DRAWN, "blur", "pixelate", "recolor", "cut-out")  # what can be made of what is followed
ENDINGS = {VIDEO: "-tracked.mp4", PICTURES: "-frames.zip", MASKS: "-masks.zip", "json": "-tracks.json"}
ENDINGS |= {"mot": "-mot.txt", "youtube-vis": "-youtube-vis.json"}

T = TypeVar("T")
Pair = tuple[Frame, TrackedFrame]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrackQuestion:
    """What is followed, in what, and how."""

    video: str  # path
    prompt: str
    model: str
    segmenter: str | None  # cuts out what is followed; None: boxes, or what the tracker has for that
    thresholds: Thresholds
    every: int | None = None  # frame is looked at; None: as suits the video's rate
    start: float = 0.0  # seconds
    end: float | None = None
    tracker: str = EMBEDDED
    corrections: tuple[Correction, ...] = ()  # in the order of their frames
    backward: bool = False  # what a look finds first is followed back to the look before, too

    @property
    def heeded(self) -> tuple[Correction, ...]:
        """The corrections of frames that are followed."""
        return heeded(self.corrections, self.start, self.end)

    @property
    def cutter(self) -> str | None:
        """The segmenter that makes masks; None: there are only boxes."""
        return self.segmenter or self.by_memory

    @property
    def by_memory(self) -> str | None:
        """The model that follows, if one does."""
        return None if self.tracker == EMBEDDED else self.tracker

    def __post_init__(self) -> None:
        if not Prompt.parse(self.prompt).phrases:
            raise ValueError("The prompt names nothing to follow: type phrases such as “cat . red car”.")
        if self.every is not None and not 1 <= self.every <= 1000:
            raise ValueError(f"The detector looks at one frame of 1 to 1000, not of {self.every}.")
        if self.backward and self.by_memory is None:
            raise ValueError(FORWARD_ONLY)
        if self.start < 0:
            raise ValueError(f"A video begins at 0 seconds: {self.start:g} is before it.")
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"The end at {self.end:g} seconds is not after the start at {self.start:g}.")

    def asked(self, every: int) -> dict[str, Any]:
        """What decides what is followed, by which it is kept."""
        models = {"model": self.model, "segmenter": self.segmenter}
        stretch: dict[str, Any] = {"every": every, "start": self.start, "end": self.end}
        if self.tracker != EMBEDDED:
            stretch["tracker"] = self.tracker
        if self.backward:
            stretch["backward"] = frames_back(every)
        if self.heeded:
            stretch["corrections"] = [one.written() for one in self.heeded]
        return {"video": self.video, "prompt": self.prompt, **models, **self.thresholds.named(), **stretch}


@dataclass(frozen=True)
class Show:
    """How what was followed is shown or edited."""

    effect: str = DRAWN  # one of `SHOWS`
    color: str = "#00b140"  # of what is recoloured, or behind what is cut out
    hidden: frozenset[int] = frozenset()  # ids of tracks that are left out

    def task(self, format: str) -> Task | None:
        """The edit of each frame; a ValueError for an effect that there is not, or a colour that is none."""
        if self.effect not in SHOWS:
            raise ValueError(f"There is no effect {named(self.effect)}: choose one of {', '.join(SHOWS)}.")
        if self.effect == DRAWN:
            return None
        if self.effect != "cut-out":
            return parse_task(self.effect, self.color if self.effect == "recolor" else "")
        return parse_task("transparent") if format == PICTURES else parse_task("color", self.color)  # MP4 has no alpha


class Followed:
    """What is followed by a question in a video; one at a time has it."""

    def __init__(self, question: TrackQuestion, video: Video, file: TrackFile, every: int, key: str):
        self.question, self.video, self.file, self.every, self.key = question, video, file, every, key
        self.ticks = _key(replace(question, corrections=()), every)  # what was ticked outlasts corrections

    def frames(self, show: Show = Show(), edited: bool = False) -> Iterator[TrackedFrame]:
        """As they are by now."""
        return frames_of(self.file, self.every, self.question.cutter is not None, edited, show.hidden)

    def share(self, seconds: float) -> float:
        """How much of what is asked for is before a time, in [0, 1]."""
        start, end = self.stretch
        return min(1.0, max(0.0, (seconds - start) / max(end - start, 1e-6)))

    @property
    def stretch(self) -> tuple[float, float]:
        """Seconds of its start and end."""
        length = self.video.info.seconds
        return self.question.start, min(self.question.end or length, length)

    def notes(self) -> list[str]:
        """Sentences on what was sent and has no effect, or could not be read so far."""
        damaged = "The video is damaged: what could not be read is left out." if self.video.damaged else ""
        sound = "The sound of the video cannot be read and is left out." if self.video.sound_lost else ""
        return [*filter(None, [damaged, sound, unheeded_in_words(self.question.corrections, *self.stretch)])]


class Follower:
    """Follows things through videos with a studio's models, within its limits."""

    def __init__(self, studio: Studio):
        self.studio = studio

    def open(self, path: str) -> Video:
        """A video that was sent; a ValueError in one sentence, without the server's folders."""
        limits = self.studio.limits
        with _named(path):
            video = Video(path, VideoLimits(limits.video_seconds, limits.video_pixels))
        os.utime(path)  # Gradio clears old ones away
        return video

    def frame(self, path: str, seconds: float) -> tuple[str, float]:
        """The frame that is shown at a time as a picture's file: its path, and since when it is shown."""
        with _named(path):
            frame = self.open(path).frame_near(seconds)
        name = f"{Path(path).stem}-{frame.seconds:.2f}s.png"
        return write_file(export.png(Image.fromarray(frame.pixels)), name), frame.seconds

    def tracks_at(self, question: TrackQuestion, seconds: float) -> TrackedFrame | None:
        """What is followed by now in the frame at a time; None where none is known. Nobody is waited for."""
        video = self.open(question.video)
        every, size = _every(question, video), video.info.size
        path = _path(_key(question, every))
        if not path.exists():
            return None
        # Where the bars of the timeline are, there is something to put right.
        frames = shown_frames(frames_in(path, size), size, every, question.cutter is not None)
        return next((one for one in frames if one.seconds >= seconds - 1e-3), None)

    def require(self, question: TrackQuestion) -> None:
        """That its models can be used; errors are those of `ModelCache.require`."""
        self.studio.detectors.require(question.model)
        self.studio.trackers.require(question.tracker)
        if question.cutter is not None:
            self.studio.segmenters.require(question.cutter)

    @contextmanager
    def followed(self, question: TrackQuestion, stop: StopCheck | None = None) -> Iterator[Followed]:
        """What is known of a question, for whose answer nobody else works meanwhile.

        Raises:
            Stopped: `stop()` while somebody else had it.
            ValueError: one sentence: on the video, the models, or the server's disk or memory.
        """
        video = self.open(question.video)
        every = _every(question, video)
        asked, key = question.asked(every), _key(question, every)
        path = _path(key)
        with (
            self.studio.turns.of(key, stop),
            memory_errors(self.studio.make_room),
            _disk_errors(path),
            _named(question.video),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            with (
                locked(path.with_suffix(".lock"), partial(raise_if, stop)),  # another server may share the folder
                TrackFile(path, asked, video.info.size) as file,
            ):
                yield Followed(question, video, file, every, key)

    def follow(
        self, followed: Followed, told: Callable[[tuple[str, ...]], None] = lambda _: None
    ) -> Generator[Pair, None, None]:
        """Goes through the video from its start; what is known already takes no model, and nothing where all is."""
        if followed.file.finished:
            return
        question = followed.question
        detector = self.studio.detectors.get(question.model)
        card, wanted = self.studio.detectors.card(question.model), question.thresholds
        box = card.box_threshold if wanted.box is None else wanted.box
        thresholds: dict[str, Any] = {"box_threshold": box, "text_threshold": wanted.text, "nms_threshold": wanted.nms}
        thresholds["best_only"] = wanted.best_only
        look = look_by(detector, question.prompt, thresholds, wanted.each, told, wanted.tiles)
        settings = TrackerSettings(followed.every, box)
        frames = followed.video.frames(question.start, question.end)
        segmenter = None if question.cutter is None else self.studio.segmenters.get(question.cutter)
        tracker: Tracker = EmbeddedTracker(look, settings)
        finish: dict[str, Any] = {}
        if question.tracker != EMBEDDED:
            assert segmenter is not None
            model = self.studio.trackers.get(question.tracker)
            tracker = MaskTracker(look, segmenter, model, settings, told, question.backward)
        elif segmenter is not None:
            finish = {"finish": partial(cut_out, segmenter)}
        earlier = _earlier(followed)
        yield from follow(frames, tracker, followed.file, **finish, corrections=question.heeded, earlier=earlier)

    def make(
        self,
        followed: Followed,
        format: str,
        show: Show = Show(),
        watch: Callable[[Iterator[Pair]], Iterator[Pair]] = iter,
    ) -> str:
        """Path of a file of what is followed by now; one that was made before is handed out again.

        Args:
            watch: Passes on pairs of frames, as they are worked on; it may raise `Stopped`.
        """
        question, task = followed.question, show.task(format)
        if format == MASKS and question.cutter is None:
            raise ValueError("There are no masks: switch them on, and press Track again.")
        said = [followed.key, followed.file.frames, followed.file.finished, format, sorted(show.hidden)]
        if format in (VIDEO, PICTURES):
            said += [show.effect, show.color]
        name = short(Path(Path(question.video).stem + ENDINGS[format]))
        path = _folder() / hash_bytes(json.dumps(said).encode()) / name
        if path.exists():
            os.utime(path)
            return str(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if format in (VIDEO, PICTURES):
            frames = followed.frames(show, task is not None)
            pairs = zip(followed.video.frames(question.start, question.end), frames, strict=False)
            write_frames(path, format, watch(pairs), followed.video, task)
        else:
            models = " + ".join(dict.fromkeys(filter(None, [question.model, question.cutter, question.by_memory])))
            about = f"Tracked by Grounding DINO, {models}: {question.prompt}"
            phrases = Prompt.parse(question.prompt).phrases
            source = partial(followed.frames, show)
            write_list(path, format, source, followed.video.info, Path(question.video).name, about, phrases)
        return str(path)


def _earlier(followed: Followed) -> Earlier:
    """The run that has most in common with this one: with one correction less, or with the first few alone."""
    question, size = followed.question, followed.video.info.size
    for index, one in reversed([*enumerate(question.heeded)]):
        before, after = question.heeded[:index], question.heeded[index + 1 :]
        for others in dict.fromkeys([(*before, *after), before]):
            path = _path(_key(replace(question, corrections=others), followed.every))
            if path.exists():
                has_rest = others == (*before, *after)
                return Earlier(frames_in(path, size), one.seconds, joins=has_rest and question.by_memory is not None)
    return Earlier()


def _every(question: TrackQuestion, video: Video) -> int:
    """At one frame of how many the detector looks."""
    suited = looks_every if question.tracker == EMBEDDED else looks_each_second
    return question.every or suited(video.info.rate)


def _key(question: TrackQuestion, every: int) -> str:
    return hash_bytes(json.dumps(question.asked(every), sort_keys=True, default=str).encode())


def _path(key: str) -> Path:
    return _folder() / "tracks" / f"{key}.jsonl"


def watched(items: Iterable[T], stop: StopCheck) -> Iterator[T]:
    """The same until `stop()`, which raises `Stopped`."""
    for item in items:
        raise_if(stop)
        yield item


def _folder() -> Path:
    return Path(gr.utils.get_upload_folder()).resolve()


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Errors tell of the video by its name alone, not of the server's folders."""
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError:  # that of a model says more than its words
            raise
        message, name = str(error).replace(named(path), named(Path(path).name)), named(Path(path).name)
        if message.startswith("There is no video at"):
            message = f"{name} is no longer on the server: please choose it again."
        raise ValueError(message) from error


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise refusal(error, path) from error
