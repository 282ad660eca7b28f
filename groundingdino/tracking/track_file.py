"""What was followed, on disk: a line for each frame, written when it is done; of it only one line is in memory at once.

So a run that was killed goes on where it was. Beside what is shown a line holds what the detector saw, to the last
digit: the tracker is told it again and comes to where it was, without a model. What a backward pass from a frame found
in earlier ones is in that frame's line, and put in its place as the file is read.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
from typing_extensions import Self

from groundingdino.detection.objects import labels_of, scores_of
from groundingdino.results.export import record
from groundingdino.results.labelled_picture import picture_of
from groundingdino.results.lines import another_run, append, as_written, line, read_lines, replace_file, whole_bytes
from groundingdino.tracking.corrections import SAME_TIME, Correction
from groundingdino.tracking.filling import Size, completed
from groundingdino.tracking.matching import ids_of, iou
from groundingdino.tracking.tracker import TrackedFrame, Tracker
from groundingdino.tracking.video import Frame

_SAME_PLACE = 0.9  # overlap of boxes


class TrackFile:
    """The frames of a video in which things were followed.

    Args:
        path: Of the file.
        asked: What is followed and how, as JSON: another run's frames are none of this one. "backward" in it is how
            many frames a backward pass goes back; without it there is none.
        size: (width, height) of the video's frames.
        restart: Forget the frames of another run.

    Attributes:
        frames: How many are in it.
        finished: Whether these are all of the video.

    Raises:
        ValueError: one sentence: it is of a run that asked something else, or is no such file.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any], size: Size, restart: bool = False):
        self.path, self.size = path, size
        whole = 0 if restart else whole_bytes(path)
        header = next(read_lines(path, whole), {}).get("asked", {})
        asked = as_written({**asked, "size": size})
        if whole and not (isinstance(header, dict) and header):
            raise ValueError(f"'{path}' holds no tracks: move it away, or give another --output.")
        self.frames, self.finished = _count(path, whole)
        if header != asked:
            if self.frames:
                raise ValueError(another_run(path, header, asked))
            replace_file(path, line({"asked": asked}))
            self.frames, self.finished = 0, False
        else:
            os.truncate(path, whole)
        self._file = path.open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, frame: TrackedFrame) -> None:
        """Notes the next frame."""
        append(self._file, line(_written(frame, self.size)))
        self.frames += 1

    def end(self) -> None:
        """Notes that there are no more frames."""
        if not self.finished:
            append(self._file, line({"end": self.frames}))
            self.finished = True

    def read(self) -> Iterator[TrackedFrame]:
        """The frames that are in it by now."""
        return frames_in(self.path, self.size)


def frames_in(path: Path, size: Size) -> Iterator[TrackedFrame]:
    """The frames that are in a file by now, of a video of that (width, height)."""
    lines = read_lines(path, whole_bytes(path))
    reach = next(lines, {}).get("asked", {}).get("backward", 0)
    return completed((_read(entry, size) for entry in lines if "frame" in entry), size, reach)


@dataclass(frozen=True)
class Earlier:
    """What another run came to that asked the same, but for what was said of some frames.

    Attributes:
        frames: Of that run, from the first on, as far as it came.
        until: Seconds of the first frame of which something else was said: from there on only what the detector saw is
            still true.
        joins: Whether the rest stays, too, once the same things are followed in the same places at a later frame of
            which something was said. Of a tracker that goes on from what it is told.
    """

    frames: Iterable[TrackedFrame] = ()
    until: float = 0.0
    joins: bool = False


def follow(
    frames: Iterable[Frame],
    tracker: Tracker,
    file: TrackFile,
    finish: Callable[[np.ndarray, TrackedFrame], TrackedFrame] = lambda _, tracked: tracked,
    corrections: Sequence[Correction] = (),
    earlier: Earlier = Earlier(),
) -> Generator[tuple[Frame, TrackedFrame], None, None]:
    """Follows things through a video and notes each frame; what is noted already is not computed again.

    Args:
        finish: What is done to a frame's objects before they are noted, as cutting them out. What is in the same place
            as in an earlier run has its mask already.
        corrections: What somebody said of some frames, in the order of these.
        earlier: What is known of another run.

    Yields:
        Each frame with what is followed in it; one from which there is a backward pass again after each of its steps.
    """
    known, before, waiting = file.read(), iter(earlier.frames), deque(corrections)
    joined = False
    for frame in frames:
        tracked, old = next(known, None), next(before, None)
        said = None
        while waiting and frame.seconds >= waiting[0].seconds - SAME_TIME:
            more = waiting.popleft()
            said = more if said is None else replace(said, objects=(*said.objects, *more.objects))
        if tracked is None and old is not None and (joined or frame.seconds < earlier.until - SAME_TIME):
            tracked = replace(old, before={})  # which is in its place already
            file.add(tracked)
        elif tracked is None:
            tracked = tracker.follow(frame, old.look if old else None, said)
            tracked = _with_masks_of(old, tracked) or finish(frame.pixels, tracked)
            for so_far in tracker.look_back(tracked):
                tracked = so_far
                yield frame, tracked  # whoever wants something else meanwhile waits for a step of it alone
            file.add(tracked)
            is_later = said is not None and said.seconds > earlier.until + SAME_TIME
            joined = earlier.joins and is_later and old is not None and _are_same(old, tracked)
            yield frame, tracked
            continue
        tracker.recall(frame, tracked, said)
        yield frame, tracked
    file.end()


def _are_same(one: TrackedFrame, other: TrackedFrame) -> bool:
    """Whether the same tracks are in the same places."""
    for mine, theirs in ((one.objects, other.objects), (one.ignored, other.ignored)):
        rows, others = (
            {} if objects is None else dict(zip(ids_of(objects), objects.xyxy, strict=True))
            for objects in (mine, theirs)
        )
        if rows.keys() != others.keys() or any(iou(rows[id], others[id]).item() < _SAME_PLACE for id in rows):
            return False
    return True


def _with_masks_of(old: TrackedFrame | None, tracked: TrackedFrame) -> TrackedFrame | None:
    """The same with the masks of an earlier run, if that had these very boxes, and masks."""
    if old is None or tracked.objects.mask is not None or old.objects.mask is None:
        return None
    rows = {id: row for row, id in enumerate(ids_of(old.objects))}
    ids = ids_of(tracked.objects)
    if not len(ids) or any(id not in rows for id in ids):
        return None
    at = np.array([rows[id] for id in ids])
    if not np.allclose(old.objects.xyxy[at], tracked.objects.xyxy, atol=0.01):
        return None
    return replace(tracked, objects=replace(tracked.objects, mask=old.objects.mask[at]))


@dataclass(frozen=True)
class Track:
    """One thing of a video, from beginning to end.

    Attributes:
        first, last: Indices of the frames; it may be away between.
        since, until: Their seconds.
        frames: In how many it is.
        score: The mean of its scores.
    """

    id: int
    phrase: str
    first: int
    last: int
    since: float
    until: float
    frames: int
    score: float


def tracks_of(frames: Iterable[TrackedFrame]) -> list[Track]:
    """All tracks by id; the phrase of each is the one it had most."""
    spans: dict[int, Track] = {}
    phrases: dict[int, dict[str, int]] = {}
    for frame in frames:
        for id, phrase, score in rows_of(frame.objects):
            old = spans.get(id) or Track(id, phrase, frame.index, frame.index, frame.seconds, frame.seconds, 0, 0.0)
            mean = old.score + (score - old.score) / (old.frames + 1)
            spans[id] = replace(old, last=frame.index, until=frame.seconds, frames=old.frames + 1, score=mean)
            named = phrases.setdefault(id, {})
            named[phrase] = named.get(phrase, 0) + 1
    return [replace(spans[id], phrase=max(phrases[id], key=phrases[id].__getitem__)) for id in sorted(spans)]


def rows_of(objects: sv.Detections) -> list[tuple[int, str, float]]:
    """Id, phrase and score of each object of a frame."""
    return [
        (id, phrase, float(score))
        for id, phrase, score in zip(ids_of(objects), labels_of(objects), scores_of(objects), strict=True)
    ]


def _count(path: Path, whole: int) -> tuple[int, bool]:
    """Frames of a file, and whether it was ended."""
    frames, finished, place = 0, False, 0
    if whole:
        with path.open("rb") as file:
            while place < whole:
                text = file.readline()
                place += len(text)
                frames += text.startswith(b'{"frame"')
                finished = text.startswith(b'{"end"')
    return frames, finished


def _written(frame: TrackedFrame, size: Size) -> dict[str, Any]:
    objects = _rows(frame.objects, size)
    seen = None
    if frame.look is not None:
        numbers = frame.look.class_id if frame.look.class_id is not None else np.zeros(len(frame.look), int)
        rows = zip(frame.look.xyxy, scores_of(frame.look), numbers, labels_of(frame.look), strict=True)
        seen = [[[float(edge) for edge in box], float(score), int(number), name] for box, score, number, name in rows]
    begun = [[id, first, box] for id, (first, box) in frame.begun.items()]
    entry = {"frame": frame.index, "seconds": frame.seconds, "objects": objects, "look": seen, "begun": begun}
    entry |= {} if frame.ignored is None else {"ignored": _rows(frame.ignored, size)}
    before = [[index, _rows(found, size)] for index, found in sorted(frame.before.items())]
    return {**entry, "before": before} if before else entry


def _rows(objects: sv.Detections, size: Size) -> list[dict[str, Any]]:
    rows, classes = record(objects, size, "")["objects"], objects.class_id
    assert classes is not None
    for entry, id, number in zip(rows, ids_of(objects), classes, strict=True):
        entry |= {"id": id, "class": int(number)}
    return rows


def _objects(rows: list[Mapping[str, Any]], size: Size) -> sv.Detections:
    objects = picture_of("", {"width": size[0], "height": size[1], "objects": rows}).objects
    objects.tracker_id = np.array([row["id"] for row in rows], int)
    objects.class_id = np.array([row["class"] for row in rows], int)
    return objects


def _read(entry: Mapping[str, Any], size: Size) -> TrackedFrame:
    look = None
    if entry["look"] is not None:
        seen = entry["look"]
        look = sv.Detections(
            np.array([row[0] for row in seen], np.float32).reshape(-1, 4),
            confidence=np.array([row[1] for row in seen], np.float32),
            class_id=np.array([row[2] for row in seen], int),
            data={"class_name": np.array([row[3] for row in seen], dtype=str)},
        )
    begun = {id: (first, tuple(box)) for id, first, box in entry["begun"]}
    objects, ignored = (None if key not in entry else _objects(entry[key], size) for key in ("objects", "ignored"))
    assert objects is not None
    before = {index: _objects(rows, size) for index, rows in entry.get("before", ())}
    return TrackedFrame(entry["frame"], entry["seconds"], objects, look, begun, ignored, before)
