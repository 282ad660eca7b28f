"""Boxes around what may be an object, read off a picture's embedding: what "everything" asks for.

Most clicks of a grid hit nothing, and each costs a mask. MobileSAMv2 (arXiv 2312.09579) asks for objects instead, which
another model finds; here the embedding itself tells: each of its cells says whether it lies on an object and how far
that reaches (as in FCOS, arXiv 1904.01355), and cells that say the same propose it together.
"""

import math

import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

from groundingdino.embedded_encoder import STRIDE, ImageEncoder

OBJECT = 0.25  # chance of a cell's centre to lie on one: a mask that is asked for in vain is seen to be bad
AGREE = 0.7  # IoU of boxes that propose the same
APART = 0.7  # IoU above which two proposals are one


@torch.inference_mode()
def propose_boxes(encoder: ImageEncoder, features: Tensor, input_size: tuple[int, int], points_per_side: int) -> Tensor:
    """Boxes (N, 4), xyxy in pixels of what the model sees, in no order.

    Args:
        features: (1, C, h, w) of the picture.
        input_size: (height, width) that the picture was scaled to for the model.
        points_per_side: how many of the embedding's cells are asked along each side of the picture, at most.
    """
    _, taken, reach = encoder.objects(features)
    y, x = (_spread(math.ceil(side / STRIDE), points_per_side).to(features.device) for side in input_size)
    centres = torch.stack(torch.meshgrid(STRIDE * (x + 0.5), STRIDE * (y + 0.5), indexing="xy"))  # (2, rows, columns)
    cells = y[:, None], x[None, :]
    left_top, right_bottom = centres - reach[0, :2, *cells], centres + reach[0, 2:, *cells]
    boxes = torch.cat([left_top, right_bottom]).flatten(1).T[(taken[0][cells].sigmoid() > OBJECT).flatten()]
    limit = torch.tensor(input_size[::-1], device=boxes.device).repeat(2)
    boxes = boxes.clamp(torch.zeros_like(limit), limit)
    agree = (box_iou(boxes, boxes) > AGREE).float()
    votes = agree.sum(1)
    kept = nms(boxes, votes, APART)
    return agree[kept] @ boxes / votes[kept, None]


def _spread(cells: int, most: int) -> Tensor:
    """Indices of at most so many of the cells along a side, evenly."""
    count = min(cells, most)
    return ((torch.arange(count) + 0.5) * cells / count).long()
