"""What is shown at a threshold beside what is there: shares of objects, and the pictures with most mistakes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

OVERLAP = 0.5  # IoU from which a box is that of an object


class AtThreshold:
    """Shares over some pictures, added one by one."""

    def __init__(self) -> None:
        self._found = self._right = self._objects = self._false_boxes = self._pictures = 0

    def add(
        self,
        boxes: np.ndarray,
        names: Sequence[object],
        present: Collection[object],
        shown: np.ndarray,
        shown_names: Sequence[object],
    ) -> None:
        """A picture: its objects' boxes (N, 4) xyxy and names, names true of it, and the boxes shown with theirs."""
        self._pictures += 1
        self._objects += len(boxes)
        self._false_boxes += sum(name not in present for name in shown_names)
        for box, name in zip(boxes, names, strict=True):
            overlap = sv.box_iou_batch(box[None], shown)[0] if len(shown) else np.zeros(0)
            if len(overlap) and overlap.max() >= OVERLAP:
                self._found += 1
                self._right += shown_names[int(overlap.argmax())] == name

    def shares(self) -> dict[str, float]:
        """`named_right`, of the objects found the share with the right name; `found`, the share found and named right;
        `false_boxes`, boxes per picture whose name is true of nothing in it."""
        return {
            "named_right": self._right / max(self._found, 1),
            "found": self._right / max(self._objects, 1),
            "false_boxes": self._false_boxes / max(self._pictures, 1),
        }


@dataclass(frozen=True)
class Mistakes:
    """Of one picture."""

    missed: int  # objects
    false: int  # boxes that are no object, or an object of another name
    right: int

    @property
    def badness(self) -> tuple[float, int]:
        """Larger is worse: the share of mistakes (1 - F1), then how many."""
        wrong = self.missed + self.false
        return wrong / max(wrong + 2 * self.right, 1), wrong


def mistakes(
    boxes: np.ndarray,
    names: Sequence[object],
    crowds: Sequence[bool],
    shown: np.ndarray,
    shown_names: Sequence[object],
    judged: Collection[object] | None = None,
) -> Mistakes:
    """Each shown box, best first, takes the object of its name that it overlaps most, once.

    Args:
        boxes: (N, 4) xyxy of what is there, with names; of crowds nothing need be found, and nothing there is false.
        shown: (M, 4) xyxy, best first, with names.
        judged: names of which a box can be false; None: all.
    """
    overlaps = sv.box_iou_batch(shown, boxes) if len(boxes) and len(shown) else np.zeros((len(shown), len(boxes)))
    free = np.array([not crowd for crowd in crowds], bool)
    false = right = 0
    for name, overlap in zip(shown_names, overlaps, strict=True):
        same = np.array([other == name for other in names], bool)
        candidates = np.where(same & free, overlap, 0)
        if candidates.size and candidates.max() >= OVERLAP:
            free[candidates.argmax()] = False
            right += 1
        elif not (same & np.array(crowds, bool)).any() and (judged is None or name in judged):
            false += 1
    return Mistakes(int(free.sum()), false, right)
