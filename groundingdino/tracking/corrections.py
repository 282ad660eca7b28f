"""What somebody said of single frames of a video: what is there, what is not to be followed, which tracks end.

It is data beside the video. A tracker is told it with its frame and goes on from there, see `tracker.Tracker`; what was
followed before that frame stays as it is, see `track_file.follow`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import supervision as sv
from scipy.optimize import linear_sum_assignment
from typing_extensions import Self

from groundingdino.inputs.coordinates import shown
from groundingdino.segmentation.mask_prompts import Box, read_box
from groundingdino.segmentation.masks import compact
from groundingdino.tracking.matching import iou

SURE = 100.0  # what somebody said of a name outweighs so many looks of a detector
MOST = 200  # corrections of a video, and objects in each
_LAST_CLASS = 1_000_000  # by far more phrases than a prompt has
_SAME = 0.3  # overlap of boxes from which what is said is of a track
_BOTH = 0.1  # by which one of the same phrase is rather meant
SAME_TIME = 1e-3  # seconds: shorter than any frame is shown
_NAMED = 3  # of frames that are followed by none, in a sentence

_WRONG = (
    "Expected corrections as [{{'seconds', 'objects': [{{'phrase', 'box': [x0, y0, x1, y1], 'followed', 'gone'}}]}}, "
    "...], got {value}."
)


@dataclass(frozen=True)
class Said:
    """One object of a frame.

    Attributes:
        phrase: Its name. With the number of a track behind it, as in "cat 1", it is that track.
        box: xyxy in pixels of the frame.
        followed: Otherwise it is known, and not shown any more from here on.
        gone: The track that is there, or named, ends: what is found later is another thing.
        was: Where its box was before somebody moved it.
        mask: Its outline as COCO's run lengths; "" where nobody cut it out.
    """

    phrase: str
    box: Box
    followed: bool = True
    gone: bool = False
    was: Box | None = None
    score: float = 1.0
    class_id: int = -1
    mask: str = ""

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Self:
        """Reads what `written` gave; only the phrase and the box are needed."""
        was = value.get("was")
        phrase = " ".join(str(value["phrase"]).split())
        box, flags = read_box(value["box"]), (value.get("followed", True), value.get("gone", False))
        score, number = float(value.get("score", 1.0)), int(value.get("class", -1))
        if not phrase or box[0] >= box[2] or box[1] >= box[3] or not all(isinstance(flag, bool) for flag in flags):
            raise ValueError(
                "An object has a phrase, a box with x0 < x1 and y0 < y1, and flags that are true or false."
            )
        if not 0 <= score < float("inf") or number > _LAST_CLASS:  # a segmenter's score may be a little over 1
            raise ValueError(f"An object has a finite score of 0 or more, and a class of at most {_LAST_CLASS}.")
        return cls(
            phrase,
            box,
            *flags,
            None if was is None else read_box(was),
            score,
            number,
            str(value.get("mask", "")),
        )

    def written(self) -> dict[str, Any]:
        """As JSON; what goes without saying is left out."""
        said: dict[str, Any] = {"phrase": self.phrase, "box": list(self.box), "score": self.score}
        said |= {"class": self.class_id} if self.class_id >= 0 else {}
        said |= {} if self.followed else {"followed": False}
        said |= {"gone": True} if self.gone else {}
        said |= {} if self.was is None else {"was": list(self.was)}
        return said | ({"mask": self.mask} if self.mask else {})

    def shape(self, size: tuple[int, int]) -> sv.CompactMask | None:
        """Its mask in a frame of that (width, height), if it has one; a ValueError if it is of another size."""
        if not self.mask:
            return None
        try:
            return compact(sv.rle_to_mask(self.mask, size).astype(bool))
        except (ValueError, AssertionError, IndexError, OverflowError) as error:
            raise ValueError(f"The mask of '{self.phrase}' is none of a frame of {size[0]} x {size[1]}.") from error


@dataclass(frozen=True)
class Correction:
    """What is said of one frame: the first that is shown no earlier than `seconds`.

    Attributes:
        objects: What is there, and what is gone; tracks that are none of these go on as before.
    """

    seconds: float
    objects: tuple[Said, ...] = ()

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Self:
        """Reads what `written` gave; a ValueError in one sentence if it is malformed."""
        try:
            seconds, objects = float(value["seconds"]), list(value.get("objects") or ())
            if not np.isfinite(seconds) or len(objects) > MOST:
                raise ValueError
            return cls(seconds, tuple(map(Said.parse, objects)))
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(_WRONG.format(value=shown(value))) from error

    def written(self) -> dict[str, Any]:
        """As JSON."""
        return {"seconds": round(self.seconds, 6), "objects": [one.written() for one in self.objects]}

    @property
    def gone(self) -> tuple[Said, ...]:
        """Tracks that end."""
        return tuple(one for one in self.objects if one.gone)

    @property
    def there(self) -> tuple[Said, ...]:
        """What is in the frame."""
        return tuple(one for one in self.objects if not one.gone)


def parse_corrections(values: Any) -> tuple[Correction, ...]:
    """Reads a list of them, see `Correction.parse`; in the order of their frames."""
    if not isinstance(values, list | tuple) or len(values) > MOST:
        raise ValueError(_WRONG.format(value=shown(values)))
    return in_order(map(Correction.parse, values))


def in_order(corrections: Iterable[Correction]) -> tuple[Correction, ...]:
    """By the time of their frames."""
    return tuple(sorted(corrections, key=lambda one: one.seconds))


def heeded(corrections: Iterable[Correction], start: float, end: float | None) -> tuple[Correction, ...]:
    """Those of frames that are followed: from `start` on, and before `end`; None: to the end of the video."""
    last = float("inf") if end is None else end
    return tuple(one for one in corrections if start - SAME_TIME <= one.seconds < last)


def unheeded_in_words(corrections: Sequence[Correction], start: float, end: float) -> str:
    """A sentence on those of frames that are not followed, outside `start` to `end`; "" where there are none."""
    known = heeded(corrections, start, end)
    others = [f"{one.seconds:.2f}" for one in corrections if one not in known]
    if not others:
        return ""
    more = f" (+{len(others) - _NAMED})" if len(others) > _NAMED else ""
    times = ", ".join(others[:_NAMED]) + more
    return f"Corrections at {times} s change nothing: only {start:.2f} to {end:.2f} s are followed."


def paired(said: Sequence[Said], followed: Sequence[tuple[int | None, str]], boxes: np.ndarray) -> dict[int, int]:
    """Which object that was said of a frame is which of N things that are followed there: index -> index.

    Args:
        followed: N ids and phrases; None is the id of what is no track yet.
        boxes: (N, 4) xyxy.
    """
    pairs: dict[int, int] = {}
    for index, one in enumerate(said):
        named = track_named(one.phrase)
        found = [place for place, (id, phrase) in enumerate(followed) if named == (phrase, id)]
        if found and found[0] not in pairs.values():
            pairs[index] = found[0]
    rows = [index for index, one in enumerate(said) if index not in pairs]
    columns = [place for place in range(len(followed)) if place not in pairs.values()]
    if not rows or not columns:
        return pairs
    overlap = iou(np.array([said[row].box for row in rows]), boxes[columns])
    before = iou(np.array([said[row].was or said[row].box for row in rows]), boxes[columns])
    same = np.array([[said[row].phrase == followed[column][1] for column in columns] for row in rows])
    worth = np.maximum(overlap, before)
    fits = worth >= _SAME
    for row, column in zip(*linear_sum_assignment(-np.where(fits, worth + _BOTH * same, 0.0)), strict=True):
        if fits[row, column]:
            pairs[rows[row]] = columns[column]
    return pairs


def track_named(phrase: str) -> tuple[str, int] | None:
    """The phrase and the id in a name such as "cat 1"."""
    match = re.fullmatch(r"(.+) (\d{1,6})", phrase)
    return (match[1], int(match[2])) if match else None
