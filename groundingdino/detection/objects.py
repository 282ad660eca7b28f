"""What stands in `sv.Detections` of objects: their phrases, their scores, some of them."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import supervision as sv


def no_objects() -> sv.Detections:
    """No detections: the result of a prompt without phrases."""
    return sv.Detections(
        np.empty((0, 4), np.float32),
        confidence=np.empty(0, np.float32),
        class_id=np.empty(0, int),
        data={"class_name": np.empty(0, str)},
    )


def labels_of(detections: sv.Detections) -> list[str]:
    """The phrase of each object."""
    return [str(label) for label in detections.data.get("class_name", ())]


def scores_of(detections: sv.Detections) -> np.ndarray:
    """The score of each object, (N,) float32 in [0, 1]."""
    if detections.confidence is None:
        raise ValueError("expected detections with a confidence each, got detections without; fill `confidence`")
    return detections.confidence


def select(detections: sv.Detections, index: np.ndarray) -> sv.Detections:
    """The objects at `index`: a bool mask (N,) or positions."""
    return cast(sv.Detections, detections[index])


def vocabulary(detections: sv.Detections, phrases: Sequence[str] = ()) -> list[str]:
    """The phrases of the prompt but empty ones, and behind them labels that are none, each once."""
    return list(dict.fromkeys([*filter(None, phrases), *labels_of(detections)]))
