"""How far two models agree on what is in a picture."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import supervision as sv
from scipy.optimize import linear_sum_assignment

from groundingdino.detection.objects import labels_of

SAME_PLACE = 0.5  # IoU from which two models mean the same object, as COCO's AP50 has it


class Agreement(NamedTuple):
    """What two models found, in numbers of objects."""

    both: int
    first_alone: int
    second_alone: int

    @property
    def total(self) -> int:
        """Objects in all, those of both counted once."""
        return sum(self)


def agreement(first: sv.Detections, second: sv.Detections, least_iou: float = SAME_PLACE) -> Agreement:
    """Matches objects of one phrase that overlap enough one to one, so that there are as many pairs as can be.

    Args:
        first, second: Of one picture; `data["class_name"]` are the phrases.
        least_iou: From which two boxes are of one object, in (0, 1].

    Raises:
        ValueError: `least_iou` is no IoU of boxes that overlap.
    """
    both = len(pairs(first, second, least_iou))
    return Agreement(both, len(first) - both, len(second) - both)


def pairs(first: sv.Detections, second: sv.Detections, least_iou: float = SAME_PLACE) -> list[tuple[int, int]]:
    """Which objects those are, by their places in `first` and `second`; see `agreement`."""
    if not 0 < least_iou <= 1:
        raise ValueError(f"Boxes agree from an IoU above 0 and up to 1, but it is {least_iou}.")
    if not (len(first) and len(second)):
        return []
    overlaps = sv.box_iou_batch(first.xyxy, second.xyxy)
    same = _as_column(labels_of(first)) == np.array(labels_of(second))
    alike = same & (overlaps >= least_iou)
    # A pair more counts for more than any overlap; of as many pairs those that overlap most.
    rows, columns = linear_sum_assignment(np.where(alike, 1 + overlaps / (1 + min(alike.shape)), 0), maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if alike[row, column]]


def _as_column(labels: Sequence[str]) -> np.ndarray:
    return np.array(labels)[:, None]
