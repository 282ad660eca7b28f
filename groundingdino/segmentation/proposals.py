"""Boxes around what may be an object, read off a picture's embedding: what "everything" asks for.

Most clicks of a grid hit nothing, and each costs a mask. MobileSAMv2 (arXiv 2312.09579) asks for objects instead, which
another model finds; here the embedding itself tells: each of its cells says whether it lies on an object and how far
that reaches (as in FCOS, arXiv 1904.01355), and cells that say the same propose it together.
"""

import math
from typing import NamedTuple

import numpy as np
import supervision as sv
import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

from groundingdino.segmentation.embedded_encoder import STRIDE, ImageEncoder

OBJECT = 0.25  # chance of a cell's centre to lie on one: a mask that is asked for in vain is seen to be bad
AGREE = 0.8  # IoU of boxes that propose the same
APART = 0.8  # IoU above which two proposals are one


class ObjectCells(NamedTuple):
    """What the cells of a picture's embedding say of the object that each lies on, if any."""

    chance: Tensor  # (rows, columns) in [0, 1] that there is one
    boxes: Tensor  # (rows, columns, 4) xyxy of it, in pixels of what the model sees
    input_size: tuple[int, int]  # (height, width) of that

    @classmethod
    @torch.inference_mode()
    def read(cls, encoder: ImageEncoder, features: Tensor, input_size: tuple[int, int]) -> "ObjectCells":
        """Of the features (1, C, h, w) of a picture."""
        _, taken, reach = encoder.objects(features)
        rows, columns = (math.ceil(side / STRIDE) for side in input_size)
        y, x = (STRIDE * (torch.arange(count, device=features.device) + 0.5) for count in (rows, columns))
        centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2)  # (rows, columns, 2)
        ways = reach[0, :, :rows, :columns].permute(1, 2, 0)
        boxes = torch.cat([centres - ways[..., :2], centres + ways[..., 2:]], dim=2)
        limit = torch.tensor(input_size[::-1], device=boxes.device).repeat(2)
        return cls(taken[0, :rows, :columns].sigmoid(), boxes.clamp(torch.zeros_like(limit), limit), input_size)

    def propose(self, points_per_side: int) -> Tensor:
        """Boxes (N, 4) of what may be objects, xyxy in pixels of what the model sees, in no order.

        Args:
            points_per_side: how many cells are asked along each side of the picture, at most.
        """
        rows, columns = (_spread(count, points_per_side) for count in self.chance.shape)
        asked = rows[:, None], columns[None, :]
        boxes = self.boxes[asked][self.chance[asked] > OBJECT]
        agree = (box_iou(boxes, boxes) > AGREE).float()
        votes = agree.sum(1)
        kept = nms(boxes, votes, APART)
        return agree[kept] @ boxes / votes[kept, None]

    def agreement(self, masks: sv.CompactMask) -> np.ndarray:
        """How well the cells on each of N masks of the picture know its box: their mean IoU with it, (N,).

        Cells on one of two objects that a mask took for one know better, as do those on what a part is of.
        """
        height, width = masks.image_shape
        scale = np.divide(self.input_size[::-1], (width, height))
        x, y = (
            ((np.arange(count) + 0.5) * STRIDE / ratio)
            for count, ratio in zip(self.chance.shape[::-1], scale, strict=True)
        )
        boxes = self.boxes.cpu()
        found = []
        for index, (x0, y0, x1, y1) in enumerate(masks.bbox_xyxy):
            box = torch.tensor(np.array([x0, y0, x1 + 1, y1 + 1]) * np.tile(scale, 2), dtype=boxes.dtype)
            rows, columns = (_between(places, low, high) for places, low, high in ((y, y0, y1), (x, x0, x1)))
            on_it = masks.crop(index)[y[rows].astype(int)[:, None] - y0, x[columns].astype(int) - x0]
            said = boxes[rows, columns][torch.from_numpy(on_it)]
            found.append(float(box_iou(said, box[None]).mean().nan_to_num()))
        return np.array(found)


def _spread(cells: int, most: int) -> Tensor:
    """Indices of at most so many of the cells along a side, evenly."""
    count = min(cells, most)
    return ((torch.arange(count) + 0.5) * cells / count).long()


def _between(places: np.ndarray, low: int, high: int) -> slice:
    """Those of ascending places that lie on pixels from `low` to `high`."""
    return slice(*np.searchsorted(places, [low, high + 1]))
