"""What a visitor did on a paused frame, as what a tracker is told of it."""

from collections.abc import Iterable

import numpy as np
import supervision as sv

from groundingdino.detection.objects import labels_of, scores_of
from groundingdino.page.selection import Selection, chosen
from groundingdino.page.studio import Findings
from groundingdino.segmentation.object_ids import object_ids, read_id
from groundingdino.tracking.corrections import Correction, Said, in_order
from groundingdino.tracking.track_file import rows_of
from groundingdino.tracking.tracker import TrackedFrame

NOT_THERE = "That track is not in this frame: pause where it is."


def says_something(selection: Selection) -> bool:
    """Whether anything was ticked off, hidden, pointed at, moved or renamed: else there is nothing to be told."""
    pointing = selection.pointing
    touched = selection.hidden, selection.unticked, selection.changes, pointing.gestures, pointing.corrected
    return any(touched) or pointing.everything


def correction_of(seconds: float, findings: Findings, selection: Selection, outlines: bool) -> Correction:
    """All that is on a frame: what is ticked is followed from there on, what is not is known and not shown.

    Args:
        seconds: When the frame is shown.
        findings: What was found and pointed at in it.
        outlines: Whether the tracker follows masks, and so takes those that were pointed at.
    """
    objects = findings.detections
    kept = {*object_ids(chosen(objects, selection)[0])}
    moved = {change.id for change in selection.changes if change.box}
    numbers = objects.class_id if objects.class_id is not None else np.full(len(objects), -1)
    said = [
        Said(
            label,
            _box(objects.xyxy[row]),
            name in kept,
            was=_box(read_id(name)[1]) if name in moved else None,
            score=round(float(score), 4),
            class_id=int(number),
            mask=_runs(objects, row) if outlines and name in kept else "",
        )
        for row, (name, label, score, number) in enumerate(
            zip(object_ids(objects), labels_of(objects), scores_of(objects), numbers, strict=True)
        )
    ]
    return Correction(seconds, tuple(said))


def gone_here(frames: Iterable[TrackedFrame], id: int, seconds: float) -> Correction:
    """That a track ends at a frame; a ValueError in one sentence if it is not there."""
    for frame in frames:
        if frame.seconds < seconds - 1e-3:
            continue
        for row, (other, phrase, _) in enumerate(rows_of(frame.objects)):
            if other == id:
                return Correction(frame.seconds, (Said(phrase, _box(frame.objects.xyxy[row]), gone=True),))
        break
    raise ValueError(NOT_THERE)


def with_correction(corrections: Iterable[Correction], new: Correction) -> tuple[Correction, ...]:
    """The same with what was said of one more frame. What is said again of a frame counts, and all that ends there."""
    same = [one for one in corrections if abs(one.seconds - new.seconds) < 1e-3]
    others = [one for one in corrections if one not in same]
    gone = {one: None for before in (*same, new) for one in before.gone}
    there = new.there or tuple(one for before in same for one in before.there)
    return in_order([*others, Correction(new.seconds, (*there, *gone))])


def without_correction(corrections: Iterable[Correction], seconds: float) -> tuple[Correction, ...]:
    """The same without what was said of a frame."""
    return tuple(one for one in corrections if abs(one.seconds - seconds) >= 0.01)


def _box(box: Iterable[float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (round(float(edge), 2) for edge in box)
    return x0, y0, x1, y1


def _runs(objects: sv.Detections, row: int) -> str:
    if objects.mask is None:
        return ""
    return str(sv.mask_to_rle(np.asarray(objects.mask[row]), compressed=True))
