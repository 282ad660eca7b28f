"""Names of objects that stay the same from one answer to the next: what was said of an object stays with it."""

import re
from collections.abc import Sequence

import numpy as np
import supervision as sv

from groundingdino.detection.objects import labels_of
from groundingdino.segmentation.masks import SAME_OBJECT


def object_ids(detections: sv.Detections) -> list[str]:
    """A name for each object that stays the same when thresholds move.

    Of what the prompt named it is its phrase and its box in whole pixels; what has no phrase brings `data["id"]`.
    """
    if "id" in detections.data:
        return [str(name) for name in detections.data["id"]]
    return box_ids(labels_of(detections), detections.xyxy)


def box_ids(labels: list[str], boxes: np.ndarray) -> list[str]:
    """Names of objects by label and box (N, 4)."""
    return [f"{label} {box}" for label, box in zip(labels, boxes.round().astype(int).tolist(), strict=True)]


def lasting_ids(detections: sv.Detections, known: Sequence[str]) -> list[str]:
    """`object_ids`, but an object that was known before keeps its id, and so what was said of it.

    Its box moves a little with each other word of the prompt: it is what overlaps it most of the same phrase.

    Raises:
        ValueError: a known id is none of a found object.
    """
    ids, labels, spoken_of = object_ids(detections), labels_of(detections), set(known)
    for name in known:
        phrase, box = read_id(name)
        rivals = [index for index, label in enumerate(labels) if label == phrase and ids[index] not in spoken_of]
        if name in ids or not rivals:
            continue
        overlaps = sv.box_iou_batch(np.array([box]), detections.xyxy[rivals])[0]
        if overlaps.max() > SAME_OBJECT:
            ids[rivals[int(overlaps.argmax())]] = name
    return ids


def read_id(name: str) -> tuple[str, list[int]]:
    """The label and the box of an id that `box_ids` made."""
    match = re.fullmatch(r"(.*) \[(-?\d+), (-?\d+), (-?\d+), (-?\d+)\]", name, re.DOTALL)
    if not match:
        raise ValueError("What was pointed at could not be read: load the page again.")
    label, *box = match.groups()
    return label, list(map(int, box))


def groups_of(detections: sv.Detections) -> list[str]:
    """What each object is hidden with: its phrase, or what `data["group"]` says."""
    return [str(group) for group in detections.data.get("group", labels_of(detections))]
