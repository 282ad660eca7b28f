"""Masks of many objects in one picture, kept small: supervision's `CompactMask`.

200 masks at 2000 x 1500 are 600 MB as an array of bools. As run lengths of each mask's own rectangle they are a few MB;
`masks[i]` gives one as (H, W) bool, `np.asarray(masks)` all as (N, H, W).
"""

import math
from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
import supervision as sv
from segment_anything.utils.amg import remove_small_regions

from groundingdino.inputs.coordinates import Size, number, shown

# Of an object's own pixels: what of a mask is smaller and lies apart is taken for a slip of the segmenter. On 60
# held-out scenes the embedded one's mean IoU is 0.9161 after it and 0.9156 before. A share of the picture (0.0002), the
# same for large objects and small ones, left islands beside the large ones and took parts of the small ones: 0.9149.
SPECKS = 0.015
HOLES = 1 / 3  # of that: holes are true ones sooner, such as that of a cup's handle
SAME_OBJECT = 0.7  # IoU of two boxes above which they are taken to be around the same object


def empty_masks(size: Size) -> sv.CompactMask:
    """No masks, shape (0, H, W)."""
    width, height = size
    return sv.CompactMask.from_dense(np.empty((0, height, width), bool), np.empty((0, 4)), (height, width))


def check_size(masks: sv.CompactMask | np.ndarray | None, size: Size) -> None:
    """That masks, if there are any, are of a picture of that size.

    Raises:
        ValueError: they are not.
    """
    if masks is not None and len(masks) and masks.shape[1:] != size[::-1]:
        height, width = masks.shape[1:]
        raise ValueError(
            f"The masks have {width} x {height} pixels and the picture {size[0]} x {size[1]}: "
            "cut the objects out of this picture."
        )


def compact(mask: np.ndarray) -> sv.CompactMask:
    """One mask (H, W) bool, as (1, H, W) cut to its own rectangle."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return sv.CompactMask.from_dense(mask[None], np.array([[x, y, x + width - 1, y + height - 1]]), mask.shape)


def join(masks: Iterable[sv.CompactMask], size: Size) -> sv.CompactMask:
    """Masks of one picture in one record, in order; `empty_masks` if there are none."""
    return sv.CompactMask.merge([empty_masks(size), *masks])


def size_bytes(masks: sv.CompactMask) -> int:
    """An upper bound of the bytes that the run lengths take: in each column a mask of our kind has few runs."""
    return sum(_runs(masks.crop(index)) for index in range(len(masks))) * np.dtype(np.int32).itemsize


def boxes_of(masks: sv.CompactMask) -> np.ndarray:
    """The smallest box around each mask, (N, 4) float32 xyxy, edges of pixels; all zero for an empty mask."""
    boxes = masks.bbox_xyxy + np.array([0, 0, 1, 1])
    boxes[masks.area == 0] = 0
    return boxes.astype(np.float32)


def without_overlaps(masks: sv.CompactMask, scores: np.ndarray, most: float, own: np.ndarray) -> list[int]:
    """Which of N masks to keep, best first: of two that overlap the one with the better score.

    Args:
        scores: (N,)
        most: the share of the smaller mask that may lie in the other, in [0, 1].
        own: (N,) bool, which masks are surely of one object each: of two such both stay if one is less than half as
            large as the other, since things lie on larger things.
    """
    if not len(scores):
        return []
    sizes = masks.area
    unlike = np.minimum.outer(sizes, sizes) < np.maximum.outer(sizes, sizes) / 2
    rivals = sv.mask_iou_batch(masks, masks, sv.OverlapMetric.IOS) > most
    rivals &= ~(unlike & own & own[:, None])
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if not rivals[index, kept].any():
            kept.append(index)
    return kept


def union(masks: sv.CompactMask | np.ndarray | None, size: Size) -> np.ndarray:
    """Where any of the objects is, (H, W) bool; looks at one at a time, of small ones at their rectangle alone."""
    check_size(masks, size)
    width, height = size
    covered = np.zeros((height, width), bool)
    if isinstance(masks, sv.CompactMask):
        for index, (x0, y0, x1, y1) in enumerate(masks.bbox_xyxy):
            covered[y0 : y1 + 1, x0 : x1 + 1] |= masks.crop(index)
        return covered
    for mask in () if masks is None else masks:
        covered |= mask
    return covered


def merge_objects(*parts: sv.Detections) -> sv.Detections:
    """What a segmenter gave for several requests on one picture, in one record, in order.

    Objects that belong to no phrase (class id -1) are numbered through: "object 1", "object 2", ...
    """
    if not any(map(len, parts)):
        return parts[0]
    merged = sv.Detections.merge([part for part in parts if len(part)])
    assert merged.class_id is not None
    nameless = merged.class_id == -1
    numbers = nameless.cumsum()
    names = zip(nameless, numbers, merged.data["class_name"], strict=True)
    merged.data["class_name"] = np.array([f"object {n}" if own else name for own, n, name in names], dtype=str)
    return merged


def is_new(others: sv.Detections, parts: Iterable[sv.Detections]) -> np.ndarray:
    """Which of `others` no object of `parts` shows already, (N,) bool; all have masks, whose boxes are compared."""
    seen = np.concatenate([_mask_boxes(part) for part in parts])
    if not len(seen) or not len(others):
        return np.ones(len(others), bool)
    return sv.box_iou_batch(_mask_boxes(others), seen).max(axis=1) <= SAME_OBJECT


def smooth_masks(detections: sv.Detections, min_area: float = SPECKS) -> sv.Detections:
    """Fills small holes of each mask and removes small specks beside it, as segment-anything does.

    Args:
        detections: Objects with masks.
        min_area: Holes and specks with fewer pixels than this go. Below 1 it is a share of the object's own pixels, for
            specks, and a third of it for holes. Of a mask that is all specks the largest stays. 0 changes nothing.

    Returns:
        The same objects with other masks; boxes stay.

    Raises:
        ValueError: `min_area` is negative or no number, or there are no masks.
    """
    least = number(min_area)
    if least is None or not 0 <= least < math.inf:
        raise ValueError(f"The smallest area of holes and specks must be 0 or more, but it is {shown(min_area)}.")
    if detections.mask is None:
        raise ValueError("Expected detections with masks, got boxes alone: segment them first.")
    if least == 0 or len(detections) == 0:
        return detections
    masks = detections.to_compact_masks().mask
    assert isinstance(masks, sv.CompactMask)
    height, width = masks.image_shape
    smoothed = []
    for mask in masks:
        specks, holes = (least * mask.sum(), HOLES * least * mask.sum()) if least < 1 else (least, least)
        smoothed.append(_without_small_regions(mask, specks, holes))
    return replace(detections, mask=join(map(compact, smoothed), (width, height)))


def _mask_boxes(objects: sv.Detections) -> np.ndarray:
    masks = objects.to_compact_masks().mask
    assert isinstance(masks, sv.CompactMask)
    return boxes_of(masks)


def _without_small_regions(mask: np.ndarray, specks: float, holes: float) -> np.ndarray:
    """A mask (H, W) bool without specks of fewer pixels, and its holes of fewer pixels filled.

    Looks at the mask's rectangle alone, with as much around it as makes the outside no small region.

    A margin of the square root of the area does where two sides meet; where it is cut off by the picture on both, its
    strip runs along a whole side.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        return mask
    margin = math.ceil(max(math.sqrt(holes), holes / min(mask.shape)))
    window = np.s_[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
    part, _ = remove_small_regions(mask[window], holes, "holes")
    part, _ = remove_small_regions(part, specks, "islands")
    smoothed = mask.copy()
    smoothed[window] = part
    return smoothed


def _runs(crop: np.ndarray) -> int:
    return np.count_nonzero(crop[1:] != crop[:-1]) + 2 * crop.shape[1] + 1
