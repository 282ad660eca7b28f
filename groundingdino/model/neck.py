"""Feature maps to image tokens, and all that is known of their places before any prompt."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundingdino.model.layers import convolving, image_positions

ANCHOR_SIZE = 0.05  # of the picture, on the finest level; it doubles with each (Deformable DETR's two-stage variant)


class ImageFeatures(NamedTuple):
    """A batch of encoded pictures: everything that depends on the picture alone."""

    tokens: Tensor  # (B, S, C), the levels one after the other
    positions: Tensor  # (B, S, C), position and level encodings
    padding_mask: Tensor  # (B, S) bool, True on padding
    spatial_shapes: tuple[tuple[int, int], ...]  # (height, width) of each level
    valid_ratios: Tensor  # (B, L, 2), (width, height) share of each padded level that is picture
    centres: Tensor  # (B, S, L, 2), x and y of each token in [0, 1] of every padded level
    anchors: Tensor  # (B, S, 4), logits of the cxcywh from which a token's box starts; inf where it is not usable
    usable: Tensor  # (B, S, 1) bool, see `anchor_boxes`


class Neck(nn.Module):
    """Feature maps to image tokens: one projection per level; levels beyond the backbone's are strided convolutions.

    Args:
        channels: of the backbone's maps, the finest first.
        dim: C, of image tokens.
        levels: L, at least as many as there are maps.
    """

    def __init__(self, channels: tuple[int, ...], *, dim: int, levels: int):
        super().__init__()
        convolutions = [nn.Conv2d(count, dim, kernel_size=1) for count in channels]
        for level in range(levels - len(channels)):
            count = dim if level else channels[-1]
            convolutions.append(nn.Conv2d(count, dim, kernel_size=3, stride=2, padding=1))
        for convolution in convolutions:
            nn.init.xavier_uniform_(convolution.weight)
        self.projections = nn.ModuleList(nn.Sequential(conv, nn.GroupNorm(32, dim)) for conv in convolutions)
        self.level_embed = nn.Parameter(torch.randn(levels, dim))

    def forward(self, maps: list[Tensor], padding_mask: Tensor) -> ImageFeatures:
        """Maps (B, H, W, C) of rising stride and the picture's padding mask (B, H, W) to one record of tokens."""
        device = padding_mask.device
        with convolving(device):
            projected = self.project(maps)
        shapes = tuple((x.shape[2], x.shape[3]) for x in projected)
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in projected], dim=1)  # (B, S, C)
        if torch.is_autocast_enabled(device.type):
            # Otherwise each of the enhancer's products would narrow them anew.
            tokens = tokens.to(torch.get_autocast_dtype(device.type))
        masks = [F.interpolate(padding_mask[:, None].float(), size=shape)[:, 0] > 0.5 for shape in shapes]
        flat_mask = torch.cat([mask.flatten(1) for mask in masks], dim=1)  # (B, S)
        level_encodings = torch.cat(
            [embed.expand(mask[0].numel(), -1) for embed, mask in zip(self.level_embed, masks, strict=True)]
        )  # (S, C)
        sizes = [valid_size(mask) for mask in masks]
        ratios = torch.stack([valid_ratio(*pair) for pair in zip(sizes, shapes, strict=True)], dim=1)  # (B, L, 2)
        centres = [valid_centres(*pair) for pair in zip(sizes, shapes, strict=True)]
        anchors, usable = anchor_boxes(centres, flat_mask)
        return ImageFeatures(
            tokens=tokens,
            positions=(image_positions(masks, tokens.shape[2]) + level_encodings).to(tokens.dtype),
            padding_mask=flat_mask,
            spatial_shapes=shapes,
            valid_ratios=ratios,
            centres=torch.cat(centres, dim=1)[:, :, None] * ratios[:, None],
            anchors=anchors,
            usable=usable,
        )

    def project(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (B, H, W, C) to one of each level, (B, C', H', W')."""
        levels: list[Tensor] = []
        for level, projection in enumerate(self.projections):
            # The first level beyond the backbone's starts from its last map, each other one from the level before.
            x = levels[-1] if level > len(maps) else maps[min(level, len(maps) - 1)].permute(0, 3, 1, 2)
            levels.append(projection(x.to(next(projection.parameters()).dtype)))
        return levels


def valid_size(mask: Tensor) -> Tensor:
    """(B, 2): width and height of what is picture in a padding mask (B, H, W)."""
    return torch.stack([(~mask[:, 0, :]).sum(-1), (~mask[:, :, 0]).sum(-1)], dim=-1)


def valid_ratio(size: Tensor, shape: tuple[int, int]) -> Tensor:
    """(B, 2): the share of a level's width and height that its `valid_size` (B, 2) is."""
    return torch.stack([size[:, 0] / shape[1], size[:, 1] / shape[0]], dim=-1)


def valid_centres(size: Tensor, shape: tuple[int, int]) -> Tensor:
    """(B, H * W, 2): x and y of a level's places, [0, 1] from edge to edge of its `valid_size` (B, 2)."""
    y, x = (torch.arange(length, dtype=torch.float32, device=size.device) for length in shape)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)  # (H, W, 2)
    return (grid + 0.5).view(1, -1, 2) / size[:, None]


def anchor_boxes(centres: list[Tensor], padding_mask: Tensor) -> tuple[Tensor, Tensor]:
    """A square around each image token as logits of cxcywh (B, S, 4), and which of them can be used (B, S, 1) bool.

    As in Deformable DETR's two-stage variant those are not used (inf) that lie on padding, whose centre is within 1% of
    the picture's edge, or whose side is more than 99% of the picture's.

    Args:
        centres: (B, H * W, 2) of each level, as `valid_centres` gives them.
        padding_mask: (B, S) bool, True on padding, of all levels.
    """
    squares = [
        torch.cat([centre, torch.full_like(centre, ANCHOR_SIZE * 2**level)], -1) for level, centre in enumerate(centres)
    ]
    boxes = torch.cat(squares, dim=1)
    usable = ((boxes > 0.01) & (boxes < 0.99)).all(-1, keepdim=True) & ~padding_mask[..., None]
    return torch.log(boxes / (1 - boxes)).masked_fill(~usable, torch.inf), usable
