"""Coloured squares that stand for things, and detections of them."""

import numpy as np
import supervision as sv

from groundingdino.detection.objects import no_objects

SIZE = (160, 120)
COLOURS = {"cat": (220, 40, 40), "dog": (40, 40, 220), "fox": (230, 140, 20)}
Thing = tuple[str, tuple[int, int, int, int], float]  # phrase, box, score


def paint(things, grey: int = 128) -> np.ndarray:
    """A frame (H, W, 3) with the things on it."""
    pixels = np.full((SIZE[1], SIZE[0], 3), grey, np.uint8)
    for phrase, (x0, y0, x1, y1), _ in things:
        pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = COLOURS[phrase]
    return pixels


def detections(things) -> sv.Detections:
    """The things as a detector finds them."""
    if not things:
        return no_objects()
    return sv.Detections(
        np.array([box for _, box, _ in things], np.float32),
        confidence=np.array([score for *_, score in things], np.float32),
        class_id=np.array([list(COLOURS).index(phrase) for phrase, *_ in things]),
        data={"class_name": np.array([phrase for phrase, *_ in things])},
    )
