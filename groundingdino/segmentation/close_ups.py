"""Small objects, looked at once more: the part of the picture around one, enlarged for the model.

A segmenter sees pictures at a fixed size, in which a small object has few pixels, however many the picture has. Where a
model takes little to look, it looks at each object as large as it knows them best (as FocalClick does, arXiv
2204.02574). Parts lie on a coarse grid, so that a box that moves a little is looked at in the same one.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from segment_anything.modeling import Sam
from torch import Tensor

from groundingdino.segmentation.embedded_encoder import DEEPEST_STRIDE, FINE_STRIDE, STRIDE

SHARE = 5 / 8  # of the side of the model's square: the long side in which it sees a part
CONTEXT = 1.7  # sides of the object: its surroundings tell it from what is around it
MOST = 3.0  # times that a part is enlarged
LEAST_GAIN = 1.15  # times that an object must get larger than in the whole picture
STEPS = 8  # of a part's side by which it moves, and by which sides double
FAR = 20.0  # logit of what lies beside a part: surely not the object

Box = Sequence[float]


class Part(NamedTuple):
    """Pixels of a picture, xyxy, and (width, height) in which the model sees them, multiples of `DEEPEST_STRIDE`."""

    left: float
    top: float
    right: float
    bottom: float
    width: int
    height: int

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the model for one of the picture, along x and y."""
        return self.width / (self.right - self.left), self.height / (self.bottom - self.top)

    def corner(self, square: int) -> tuple[int, int]:
        """(x, y) pixels where the part lies in the middle of the square that the prompt encoder knows."""
        x, y = ((square - side) // 2 // STRIDE * STRIDE for side in (self.width, self.height))
        return x, y


def part_around(box: Box, size: tuple[int, int], square: int) -> Part | None:
    """The part to look at for the object in a box; None where the whole picture shows it about as large.

    Args:
        box: xyxy in pixels of the picture, inside it.
        size: (width, height) of the picture.
        square: pixels of the side of the square that the whole picture is fitted into.
    """
    x0, y0, x1, y1 = box
    side = CONTEXT * max(x1 - x0, y1 - y0, 1.0)
    side = 2 ** (math.ceil(STEPS * math.log2(side)) / STEPS)
    shown = SHARE * square
    if LEAST_GAIN * square / max(size) > shown / side:
        return None
    edges = []
    for low, high, length in ((x0, x1, size[0]), (y0, y1, size[1])):
        step = side / STEPS
        first = round(((low + high - side) / 2) / step) * step
        edges.append((max(0, math.floor(first)), min(length, math.ceil(first + side))))
    scale = min(shown / side, MOST)
    most = int(shown) // DEEPEST_STRIDE
    sides = [DEEPEST_STRIDE * min(max(1, round((high - low) * scale / DEEPEST_STRIDE)), most) for low, high in edges]
    (left, right), (top, bottom) = edges
    return Part(left, top, right, bottom, *sides)


@torch.inference_mode()
def encode_part(model: Sam, image: Image.Image, part: Part) -> Tensor:
    """Features (1, C, h, w) of a part of a picture."""
    seen = image.resize((part.width, part.height), Image.Resampling.BILINEAR, box=part[:4])
    pixels = torch.from_numpy(np.array(seen)).permute(2, 0, 1)[None].to(model.device)
    return model.image_encoder((pixels.float() - model.pixel_mean) / model.pixel_std)


@torch.inference_mode()
def decode_part(
    model: Sam,
    features: Tensor,
    part: Part,
    box: Box | None,
    clicks: tuple[np.ndarray, np.ndarray],
    previous: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Logits (4, h, w) of the part at half of the model's pixels, and the predicted IoU (4,).

    Args:
        box: xyxy in pixels of the picture.
        clicks: (P, 2) pixels of the picture and (P,) labels, of which those beside the part do not count.
        previous: (h, w) logits of the part that are corrected.
    """
    corner = part.corner(model.image_encoder.img_size)
    scale, shift = np.array(part.scale), np.array(corner) - np.array(part.scale) * part[:2]
    places, labels = clicks
    inside = ((places >= part[:2]) & (places < part[2:4])).all(1)
    points = None
    if inside.any():
        moved = torch.as_tensor(places[inside] * scale + shift, dtype=torch.float, device=model.device)
        points = (moved[None], torch.as_tensor(labels[inside], dtype=torch.int, device=model.device)[None])
    boxes = None
    if box is not None:
        moved_box = np.reshape(box, (2, 2)) * scale + shift
        boxes = torch.as_tensor(moved_box.reshape(1, 4), dtype=torch.float, device=model.device)
    x, y = (place // STRIDE for place in corner)
    window = slice(y, y + features.shape[2]), slice(x, x + features.shape[3])
    masks = None if previous is None else previous[None, None].to(model.device)
    sparse, dense = model.prompt_encoder.embed(points, boxes, masks, window)
    places_of_cells = model.prompt_encoder.get_dense_pe()[..., window[0], window[1]]
    logits, quality = model.mask_decoder.predict_masks(
        image_embeddings=features,
        image_pe=places_of_cells,
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )
    return logits[0], quality[0]


def enlarge(logits: Tensor, part: Part) -> Tensor:
    """Logits (h, w) of a part at its size in the picture, (bottom - top, right - left)."""
    size = (int(part.bottom - part.top), int(part.right - part.left))
    return F.interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0, 0]


def move(logits: Tensor, old: Part, new: Part) -> Tensor:
    """Logits (h, w) of one part to those of another, for the cells of its masks; `-FAR` where the first ends."""
    steps = []
    for axis, length in ((0, new.width), (1, new.height)):
        cells = length // FINE_STRIDE
        places = new[axis] + (torch.arange(cells) + 0.5) / cells * (new[axis + 2] - new[axis])
        steps.append(2 * (places - old[axis]) / (old[axis + 2] - old[axis]) - 1)
    x, y = steps
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=2)[None].to(logits)
    return F.grid_sample(logits[None, None] + FAR, grid, align_corners=False)[0, 0] - FAR
