"""Boxes from the model's form, cxcywh in [0, 1] of the picture, to everyone else's, xyxy in pixels.

IoU and its kin are torchvision's (`torchvision.ops.box_iou`, `generalized_box_iou`).
"""

import torch
from torch import Tensor
from torchvision.ops import box_convert, clip_boxes_to_image


def to_pixels(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., 4) cxcywh in [0, 1] to xyxy pixels of a picture of that (width, height), clipped to it."""
    width, height = size
    xyxy = box_convert(boxes, "cxcywh", "xyxy") * torch.tensor([width, height, width, height], device=boxes.device)
    return clip_boxes_to_image(xyxy, (height, width))
