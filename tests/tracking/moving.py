"""Coloured squares that stand for things, detections of them, and frames in which they are followed."""

import numpy as np
import supervision as sv

from groundingdino.detection.objects import no_objects
from groundingdino.segmentation.masks import compact, join
from groundingdino.tracking.tracker import TrackedFrame

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


def objects(boxes, ids, phrases=None, masks=False) -> sv.Detections:
    """What is followed, by its boxes."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    dense = np.zeros((len(boxes), SIZE[1], SIZE[0]), bool)
    for mask, (x0, y0, x1, y1) in zip(dense, boxes.astype(int), strict=True):
        mask[y0 + 1 : y1, x0:x1] = True
    return sv.Detections(
        boxes,
        mask=join(map(compact, dense), SIZE) if masks else None,
        confidence=np.full(len(boxes), 0.8125, np.float32),
        class_id=np.arange(len(boxes)),
        tracker_id=np.array(ids, int),
        data={"class_name": np.array(phrases or ["cat"] * len(boxes), dtype=str)},
    )


def frame(index, boxes=(), ids=(), **others) -> TrackedFrame:
    """A frame in which that is followed; others are those of `objects`."""
    return TrackedFrame(index, index / 10, objects(boxes, ids, **others))


BOX = [10.25, 20.5, 40.75, 60]
