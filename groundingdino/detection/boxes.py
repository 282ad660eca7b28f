"""Boxes from the model's form, cxcywh in [0, 1] of the picture, to everyone else's, xyxy in pixels.

IoU and its kin are torchvision's (`torchvision.ops.box_iou`, `generalized_box_iou`).
"""

import numpy as np
import supervision as sv
import torch
from torch import Tensor
from torchvision.ops import box_convert, clip_boxes_to_image


def to_pixels(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., 4) cxcywh in [0, 1] to xyxy pixels of a picture of that (width, height), clipped to it."""
    width, height = size
    xyxy = box_convert(boxes, "cxcywh", "xyxy") * torch.tensor([width, height, width, height], device=boxes.device)
    return clip_boxes_to_image(xyxy, (height, width))


def firsts_of_sources(
    boxes: np.ndarray, classes: np.ndarray, sources: np.ndarray, most: float, limit: int
) -> np.ndarray:
    """Non-maximum suppression between sources alone: two boxes that one source gave both stay.

    Args:
        boxes: (N, 4) xyxy, best first.
        classes: (N,) only boxes of one class can be the same.
        sources: (N,) where each comes from.
        most: IoU; of boxes from different sources that overlap by more the first one stays.
        limit: The first that many of those that stay are enough.

    Returns:
        Their indices, in order.
    """
    left, kept = np.arange(len(boxes)), list[int]()
    while len(left) and len(kept) < limit:
        first, left = left[0], left[1:]
        kept.append(int(first))
        rivals = np.flatnonzero((classes[left] == classes[first]) & (sources[left] != sources[first]))
        if len(rivals):
            overlaps = sv.box_iou_batch(boxes[first : first + 1], boxes[left[rivals]])[0]
            left = np.delete(left, rivals[overlaps > most])
    return np.array(kept, int)
