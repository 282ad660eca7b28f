"""Multi-scale deformable attention as a module (Deformable DETR, arXiv 2010.04159, section 4.1)."""

import math

import torch
from torch import Tensor, nn

from groundingdino import kernels
from groundingdino.model.layers import fill


class DeformableAttention(nn.Module):
    """Each query samples `num_points` places per head and level around its reference and mixes what it finds there."""

    def __init__(self, dim: int, num_heads: int, num_levels: int, num_points: int):
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(dim, samples * 2)
        self.attention_weights = nn.Linear(dim, samples)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """At the start head `h` looks in its own direction, point `p` at p + 1 pixels, with equal weights."""
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1)
        offsets = (directions[:, None, None] * steps[:, None]).expand(-1, self.num_levels, -1, -1)
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.data = offsets.flatten().clone()
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def project(self, memory: Tensor, padding_mask: Tensor) -> Tensor:
        """(B, S, H, D) to sample, of image tokens (B, S, C); zero on padding, where `padding_mask` is True."""
        value = fill(self.value_proj(memory), padding_mask[..., None], 0)  # (B, S, C)
        return value.unflatten(-1, (self.num_heads, -1))

    def forward(
        self, query: Tensor, reference: Tensor, value: Tensor, spatial_shapes: tuple[tuple[int, int], ...]
    ) -> Tensor:
        """Attend from queries to image tokens.

        Args:
            query: (B, Q, C), position encoding added.
            reference: (B, Q, L, 2) points or (B, Q, L, 4) boxes in cxcywh, [0, 1] of the padded picture.
            value: (B, S, H, D), of `project`, which has set it to zero on padding.
            spatial_shapes: (height, width) of each level.

        Returns:
            (B, Q, C).
        """
        grid = (*query.shape[:2], self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).view(*grid, 2)
        logits = self.attention_weights(query).view(grid)
        output = kernels.deformable_attention_of_offsets(value, spatial_shapes, reference, offsets, logits)
        return self.output_proj(output.to(query.dtype))
