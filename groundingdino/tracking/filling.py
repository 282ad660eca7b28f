"""What is known of a frame only later put in its place: where tracks were before they could be told from errors, and
what a backward pass found. A few frames are held back for it, without their pixels."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import supervision as sv

from groundingdino.detection.objects import labels_of, scores_of, select
from groundingdino.segmentation.masks import compact, join
from groundingdino.tracking.matching import ids_of
from groundingdino.tracking.tracker import TrackedFrame

Size = tuple[int, int]  # (width, height)


def completed(frames: Iterable[TrackedFrame], size: Size, reach: int) -> Iterator[TrackedFrame]:
    """The same with what a backward pass found in each.

    Args:
        size: Of the frames.
        reach: How many frames a pass goes back at most.
    """

    def complete(one: TrackedFrame, later: TrackedFrame) -> TrackedFrame:
        found = later.before.get(one.index)
        return one if found is None else _joined(one, found, size)

    return _held_back(frames, reach, complete)


def filled(frames: Iterable[TrackedFrame], size: Size, reach: int) -> Iterator[TrackedFrame]:
    """The same with each track from where it was first seen on, some frames before it could be told from an error.

    Args:
        size: Of the frames.
        reach: How many frames that may be.
    """

    def fill(one: TrackedFrame, later: TrackedFrame) -> TrackedFrame:
        for id, (first, box) in later.begun.items():
            rows = [row for row, other in enumerate(ids_of(later.objects)) if other == id]
            if rows and one.index >= first:
                share = (one.index - first) / (later.index - first)
                between = (1 - share) * np.array(box) + share * later.objects.xyxy[rows[0]]
                one = _joined(one, _placed(select(later.objects, np.array(rows[:1])), between, size), size)
        return one

    return _held_back(frames, reach, fill)


def _held_back(
    frames: Iterable[TrackedFrame], reach: int, change: Callable[[TrackedFrame, TrackedFrame], TrackedFrame]
) -> Iterator[TrackedFrame]:
    """Frames after each of the `reach` later ones has changed them: `change(one, later)`."""
    held: deque[TrackedFrame] = deque()
    for frame in frames:
        if frame.begun or frame.before:
            held = deque(change(one, frame) for one in held)
        held.append(frame)
        if len(held) > reach:
            yield held.popleft()
    yield from held


def _placed(object: sv.Detections, box: np.ndarray, size: Size) -> sv.Detections:
    """One object elsewhere; where there are masks it has its box as one."""
    box = np.clip(box, 0, (*size, *size)).astype(np.float32)
    mask = None
    if object.mask is not None:
        whole = np.zeros(size[::-1], bool)
        x0, y0 = np.floor(box[:2]).astype(int)
        x1, y1 = np.ceil(box[2:]).astype(int)
        whole[y0:y1, x0:x1] = True
        mask = compact(whole)
    return replace(object, xyxy=box[None], mask=mask)


def _joined(frame: TrackedFrame, more: sv.Detections, size: Size) -> TrackedFrame:
    """A frame with more objects: those whose tracks are not in it."""
    mine, known = frame.objects, ids_of(frame.objects)
    more = select(more, np.array([row for row, id in enumerate(ids_of(more)) if id not in known], int))
    both = (mine, more)
    mask = None
    if any(one.mask is not None for one in both):
        mask = join([compact(np.asarray(shape)) for one in both if one.mask is not None for shape in one.mask], size)
    objects = sv.Detections(
        np.concatenate([one.xyxy for one in both]),
        mask=mask,
        confidence=np.concatenate([scores_of(one) for one in both]),
        class_id=np.concatenate([one.class_id for one in both if one.class_id is not None]),
        tracker_id=np.array([*known, *ids_of(more)], int),
        data={"class_name": np.array([*labels_of(mine), *labels_of(more)], dtype=str)},
    )
    return replace(frame, objects=objects)
