"""What follows things through a video: the contract, and the tracker that is always there.

The embedded tracker looks at every k-th frame with a detector and moves what it found between two looks. It keeps no
frame, and of each thing a few numbers, so that a video may be as long as it likes.

    track -> tentative -- two of three looks --> shown -- missed n times, or left --> gone -- it comes back --> shown
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import supervision as sv

from groundingdino.detection.objects import labels_of, scores_of, select
from groundingdino.tracking.corrections import SURE, Correction, Said, paired, track_named
from groundingdino.tracking.crossings import taken_apart
from groundingdino.tracking.flow import Flow
from groundingdino.tracking.matching import alike_in_size, colours_of, distinct, entangled, iou, match, names_of
from groundingdino.tracking.motion import Camera, Motion
from groundingdino.tracking.video import Frame

Look = Callable[[np.ndarray], sv.Detections]  # a frame (H, W, 3) uint8 -> what a detector finds in it


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """What is followed in one frame.

    Attributes:
        index, seconds: Of the frame.
        objects: `xyxy` (N, 4) float32 pixels inside the frame, `tracker_id` (N,) whole numbers from 1, which no other
            thing of the video has, `confidence` of the last look, `class_id` and `data["class_name"]` the phrase; masks
            where a tracker makes some.
        look: What the detector found here, also what is too weak to begin a track; None where it did not look.
        begun: Where the tracks that are shown here for the first time were seen first: id -> (index, xyxy).
        ignored: What is followed but not shown, as somebody said; only of trackers that go on from what they drew.
        before: What of `objects` was in frames before, as a backward pass found: index -> as `objects`.
    """

    index: int
    seconds: float
    objects: sv.Detections
    look: sv.Detections | None = None
    begun: dict[int, tuple[int, tuple[float, ...]]] = field(default_factory=dict)
    ignored: sv.Detections | None = None
    before: dict[int, sv.Detections] = field(default_factory=dict)


class Tracker(Protocol):
    """What follows things: frames in, in their order; of each at once what is in it."""

    def follow(self, frame: Frame, look: sv.Detections | None = None, said: Correction | None = None) -> TrackedFrame:
        """The next frame.

        Args:
            look: What a detector finds in it, where somebody knows, as of an earlier run. Without one the tracker looks
                itself, where it wants to.
            said: What somebody ticked, pointed at or corrected in it: it is followed from here on, at once.
        """

    def recall(self, frame: Frame, known: TrackedFrame, said: Correction | None = None) -> None:
        """The next frame, of which an earlier run noted what came of it, told the same: no model runs."""

    def look_back(self, tracked: TrackedFrame) -> Iterator[TrackedFrame]:  # noqa: ARG002
        """The last frame with more and more of what its new tracks were in frames before, in steps of a frame each; of
        a tracker that makes a backward pass."""
        yield from ()


@dataclass(frozen=True)
class TrackerSettings:
    """How the embedded tracker decides.

    Attributes:
        every: It looks at one frame of so many.
        start: Score from which something begins a track, in [0, 1]; what is weaker only continues one.
        patience: Looks that something may be missed at before it is gone.
        remembered: Seconds after which what is gone is forgotten: it would be a new thing.
    """

    every: int = 4
    start: float = 0.5
    patience: int = 6
    remembered: float = 30.0

    def __post_init__(self) -> None:
        for name in ("every", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of 1 or more, got {getattr(self, name)}.")
        if not 0 <= self.start <= 1:
            raise ValueError(f"Expected a score from 0 to 1 to start a track from, got {self.start}.")


LOOKS = 6  # a second: as many as two cores have time for

_SIGHTINGS, _OF_LOOKS = 2, 3  # that make a track
_SHOWN_MISSES = 2  # looks that something is still shown at where it should be
_LEAST_INSIDE = 0.25  # of a box: with less in the picture it has left
_SAME_THING = 0.75  # overlap with a track of another phrase from which a detection is no second thing
_BACK = 0.8  # how alike colours must be for a thing to be one that was gone
_MOST_GONE = 200  # that are remembered
_LITTLE_MOVED = 0.5  # overlap with where it should be from which a thing that somebody showed has gone its way
_FRESH = 0.2  # share of a new look in what is known of a thing's colours


def looks_every(rate: float) -> int:
    """At one frame of how many a tracker looks by default, of so many frames a second."""
    return max(1, round(rate / LOOKS))


def looks_each_second(rate: float) -> int:
    """The same of a tracker that follows by memory, for which the detector only finds what is new."""
    return max(1, round(rate))


@dataclass(eq=False)
class _Thing:
    """One track, or what may become one."""

    motion: Motion
    scores: dict[tuple[int, str], float]  # of class id and phrase: their sum over all looks
    score: float
    colours: np.ndarray | None
    first: tuple[int, tuple[float, ...]]
    id: int | None = None
    looks: int = 1  # since it was first seen
    seen: int = 1  # at how many of them
    misses: int = 0  # in a row
    hidden: bool = False  # at the last look: behind another, or in one box with it
    ignored: bool = False  # it is followed, but not shown: somebody ticked it off
    by_flow: bool = False  # somebody pointed at it, and no look has found it since
    carried: bool = False  # and its pixels were seen again in the last frame
    gone_at: float = 0.0

    @property
    def named(self) -> tuple[int, str]:
        """Class id and phrase."""
        return max(self.scores, key=lambda name: self.scores[name])

    def meet(self, box: np.ndarray, name: tuple[int, str], score: float, colours: np.ndarray | None) -> None:
        """It was seen."""
        self.motion.update(box)
        self.scores[name] = self.scores.get(name, 0.0) + score
        self.score, self.misses, self.hidden, self.by_flow = score, 0, False, False
        self.looks, self.seen = self.looks + 1, self.seen + 1
        if colours is not None:
            mixed = colours if self.colours is None else (1 - _FRESH) * self.colours + _FRESH * colours
            self.colours = mixed / max(float(np.linalg.norm(mixed)), 1e-9)

    def miss(self, hidden: bool = False) -> None:
        """It was not seen by itself. Hidden by another one it moves on as before: it comes out where its way leads.
        So does what a detector overlooks once or twice."""
        if self.by_flow and self.carried:
            return
        self.motion.keep_size()
        if not hidden and self.misses >= _SHOWN_MISSES:
            self.motion.slow_down()
        self.looks, self.misses, self.hidden = self.looks + 1, self.misses + 1, hidden

    def alike(self, colours: np.ndarray | None) -> float:
        """How alike its colours are to others, in [0, 1]."""
        return 1.0 if colours is None or self.colours is None else float(self.colours @ colours)


class EmbeddedTracker(Tracker):
    """Looks by a detector, Kalman filters between, Hungarian matching on place, phrase and colours.

    Args:
        look: The detector; it should also give what is weaker than `settings.start`.
    """

    def __init__(self, look: Look, settings: TrackerSettings = TrackerSettings()):
        self.look, self.settings = look, settings
        self._camera = Camera()
        self._things: list[_Thing] = []
        self._gone: list[_Thing] = []
        self._last_id = 0
        self._seconds: float | None = None
        self._to_look = 0  # frames until the next look
        self._flow: Flow | None = None  # once somebody pointed at something

    def follow(self, frame: Frame, look: sv.Detections | None = None, said: Correction | None = None) -> TrackedFrame:
        moved = self._by_flow(frame.pixels)
        places = _places(self._things)
        (right, down), cut = self._camera.see(frame.pixels, places)
        later = 0.0 if self._seconds is None else frame.seconds - self._seconds
        self._seconds = frame.seconds
        for thing in self._things:
            thing.motion.shift(right, down)
            thing.motion.predict(later)
        for thing, box in moved:
            thing.motion.update(box)
        if cut:
            self._end([thing for thing in self._things if thing.id is not None])
            self._things, self._to_look = [], 0
        begun: dict[int, tuple[int, tuple[float, ...]]] = {}
        if look is None and self._to_look == 0:
            look = self.look(frame.pixels)
        if look is not None:
            begun = self._match(frame, look)
            self._to_look = self.settings.every
        self._to_look -= 1
        if said is not None:
            self._correct(frame, said)
        return TrackedFrame(frame.index, frame.seconds, self._shown(frame.pixels.shape[:2]), look, begun)

    def recall(self, frame: Frame, known: TrackedFrame, said: Correction | None = None) -> None:
        """Told what was seen and said it comes to where it was, to the last digit."""
        self.follow(frame, known.look, said)

    def _by_flow(self, pixels: np.ndarray) -> list[tuple[_Thing, np.ndarray]]:
        """Where the things are now that somebody pointed at and no look has found."""
        if self._flow is None:
            return []
        self._flow.see(pixels)
        boxes = {thing: self._flow.move(thing.motion.box) for thing in self._things if thing.by_flow}
        for thing, box in boxes.items():
            thing.carried = box is not None
        return [(thing, box) for thing, box in boxes.items() if box is not None]

    def _correct(self, frame: Frame, said: Correction) -> None:
        """What somebody said is so: these are there, by these names."""
        ended = {self._things[row] for row in self._paired(said.gone).values()}
        self._things = [thing for thing in self._things if thing not in ended]
        pairs, things = self._paired(said.there), [*self._things]
        for index, one in enumerate(said.there):
            named = track_named(one.phrase)
            back = next((thing for thing in self._gone if named == (thing.named[1], thing.id)), None)
            thing = things[pairs[index]] if index in pairs else back
            name = one.class_id, one.phrase
            if thing is None:
                thing = _Thing(Motion(np.array(one.box)), {name: SURE}, one.score, None, (frame.index, one.box))
            elif named == (thing.named[1], thing.id):
                name = thing.named
            self._meet_said(thing, one, name, frame.pixels)
            self._gone = [other for other in self._gone if other is not thing]
        if self._flow is None and said.there:
            self._flow = Flow()
            self._flow.see(frame.pixels)

    def _paired(self, said: tuple[Said, ...]) -> dict[int, int]:
        followed = [(thing.id, thing.named[1]) for thing in self._things]
        return paired(said, followed, _places(self._things))

    def _meet_said(self, thing: _Thing, one: Said, name: tuple[int, str], pixels: np.ndarray) -> None:
        box = np.array(one.box, np.float64)
        if one.was is None and iou(thing.motion.box[None], box[None]).item() >= _LITTLE_MOVED:
            thing.motion.update(box)
        else:
            thing.motion = Motion(box)
        if thing not in self._things:
            self._things.append(thing)
        if thing.id is None:
            self._last_id += 1
            thing.id = self._last_id
        thing.scores, thing.score, thing.colours = {name: SURE}, one.score, colours_of(pixels, box)
        thing.looks, thing.seen, thing.misses = _OF_LOOKS, _OF_LOOKS, 0
        thing.hidden, thing.ignored, thing.by_flow, thing.carried = False, not one.followed, True, False

    def _match(self, frame: Frame, look: sv.Detections) -> dict[int, tuple[int, tuple[float, ...]]]:
        """Tells what was seen to the things; the ids that are new, with where they were first seen."""
        tracks = [thing for thing in self._things if thing.id is not None]
        same = np.array([[thing.named == name for thing in tracks] for name in names_of(look)], bool)
        single, apart = taken_apart(
            np.asarray(look.xyxy, np.float64), scores_of(look), _places(tracks), same.reshape(len(look), len(tracks))
        )
        look = select(look, single)
        kept = distinct(np.asarray(look.xyxy, np.float64), scores_of(look), np.array(labels_of(look), dtype=str))
        look = select(look, kept)
        boxes, scores, names = np.asarray(look.xyxy, np.float64), scores_of(look), names_of(look)
        colours = [colours_of(frame.pixels, box) for box in boxes]
        # Tracks choose first, so that nothing tentative takes a detection from one.
        left = np.arange(len(boxes))
        for group, parts in ((tracks, apart), ([thing for thing in self._things if thing.id is None], {})):
            places = _places(group)
            same = np.array([[thing.named == names[index] for index in left] for thing in group], bool)
            alike = np.array([[thing.alike(colours[index]) for index in left] for thing in group])
            shape = (len(group), len(left))
            pairs, missed, new = match(places, boxes[left], same.reshape(shape), alike.reshape(shape))
            hide, unseen = entangled(places), set(missed)
            twins = hide & alike_in_size(places)
            named = [thing.named for thing in group]
            for row, column in pairs:
                index = left[column]
                # Of two of one phrase and size of which one hides the other it is anybody's guess whose the one box is.
                if any(twins[row, other] and named[row] == named[other] for other in unseen):
                    group[row].miss(hidden=True)
                else:
                    group[row].meet(boxes[index], names[index], float(scores[index]), colours[index])
            for row in missed:
                group[row].miss(hidden=row in parts or bool(hide[row].any()))
                if row in parts:
                    group[row].motion.update(parts[row])
            left = left[new]
        self._drop_lost(frame.pixels.shape[:2])
        begun = self._confirm(frame.seconds)
        taken = _places(self._things)
        for index in left:
            doubles = len(taken) and iou(boxes[index : index + 1], taken).max() >= _SAME_THING
            if scores[index] >= self.settings.start and not doubles:
                first = (frame.index, tuple(map(float, boxes[index])))
                score = float(scores[index])
                self._things.append(_Thing(Motion(boxes[index]), {names[index]: score}, score, colours[index], first))
        return begun

    def _confirm(self, seconds: float) -> dict[int, tuple[int, tuple[float, ...]]]:
        """Gives an id to what was seen often enough: its own again where it was gone, else a new one."""
        begun = {}
        for thing in self._things:
            if thing.id is None and thing.seen >= _SIGHTINGS:
                former = self._former(thing, seconds)
                if former is None:
                    self._last_id += 1
                    thing.id = self._last_id
                else:
                    self._gone.remove(former)
                    thing.id, thing.scores = former.id, {**thing.scores, **former.scores}
                    thing.ignored = former.ignored
                assert thing.id is not None
                begun[thing.id] = thing.first
        return begun

    def _former(self, thing: _Thing, seconds: float) -> _Thing | None:
        """Who of those that are gone it is: of the same phrase, and of the same colours."""
        self._gone = [one for one in self._gone if seconds - one.gone_at <= self.settings.remembered]
        same = [one for one in self._gone if one.named == thing.named and one.alike(thing.colours) >= _BACK]
        return max(same, key=lambda one: one.alike(thing.colours), default=None)

    def _drop_lost(self, shape: tuple[int, ...]) -> None:
        kept, lost = [], []
        for thing in self._things:
            if thing.id is None:
                if thing.looks - thing.seen <= _OF_LOOKS - _SIGHTINGS:
                    kept.append(thing)
            elif thing.misses > self.settings.patience or (thing.misses and _inside(thing, shape) < _LEAST_INSIDE):
                lost.append(thing)
            else:
                kept.append(thing)
        self._things = kept
        self._end(lost)

    def _end(self, things: list[_Thing]) -> None:
        for thing in things:
            thing.gone_at = self._seconds or 0.0
        self._gone = [*self._gone, *things][-_MOST_GONE:]

    def _shown(self, shape: tuple[int, ...]) -> sv.Detections:
        shown = [
            thing
            for thing in self._things
            if thing.id is not None
            and not thing.ignored
            and (thing.hidden or thing.misses <= _SHOWN_MISSES)
            and _inside(thing, shape) >= _LEAST_INSIDE
        ]
        boxes = np.array([clipped(thing.motion.box, shape) for thing in shown], np.float32).reshape(-1, 4)
        return sv.Detections(
            boxes,
            confidence=np.array([thing.score for thing in shown], np.float32),
            class_id=np.array([thing.named[0] for thing in shown], int),
            tracker_id=np.array([thing.id for thing in shown], int),
            data={"class_name": np.array([thing.named[1] for thing in shown], dtype=str)},
        )


def _places(things: list[_Thing]) -> np.ndarray:
    """(N, 4) xyxy, where they should be."""
    return np.array([thing.motion.box for thing in things]).reshape(-1, 4)


def clipped(box: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A box (4,) xyxy cut to a picture (height, width)."""
    height, width = shape
    return np.clip(box, 0, (width, height, width, height))


def _inside(thing: _Thing, shape: tuple[int, ...]) -> float:
    """The share of a thing's box that is in the picture."""
    box = thing.motion.box
    inside = clipped(box, shape)
    return float(np.prod(inside[2:] - inside[:2]) / max(float(np.prod(box[2:] - box[:2])), 1e-9))


def with_masks(frame: TrackedFrame, masks: sv.CompactMask | np.ndarray | None) -> TrackedFrame:
    """The same with masks, one for each object."""
    return replace(frame, objects=replace(frame.objects, mask=masks))
