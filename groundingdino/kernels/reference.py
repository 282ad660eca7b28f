"""Multi-scale deformable attention in plain PyTorch: the definition every other kernel is tested against.

Source: Deformable DETR (arXiv 2010.04159), section 4.1, equation 3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def multi_scale_deformable_attention(
    value: Tensor, spatial_shapes: tuple[tuple[int, int], ...], locations: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sum of bilinear samples, per head, over all levels and points.

    Args:
        value: (B, S, H, D), the levels one after the other, each row by row; `H` heads of width `D`.
        spatial_shapes: (height, width) of each of the `L` levels; their areas sum to `S`.
        locations: (B, Q, H, L, P, 2), x and y with [0, 1] from edge to edge of a level; zero is sampled outside.
        weights: (B, Q, H, L, P), normally a softmax over levels and points.

    Returns:
        (B, Q, H * D).
    """
    batch, _, heads, width = value.shape
    queries = locations.shape[1]
    levels = value.split([height * width for height, width in spatial_shapes], dim=1)
    grids = 2 * locations - 1  # grid_sample wants [-1, 1]
    samples = []
    for level, (shape, level_value) in enumerate(zip(spatial_shapes, levels, strict=True)):
        picture = level_value.permute(0, 2, 3, 1).reshape(batch * heads, width, *shape)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (B * H, Q, P, 2)
        samples.append(
            F.grid_sample(picture, grid.to(picture.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)
        )  # (B * H, D, Q, P)
    weights = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1).to(value.dtype)  # (B * H, 1, Q, L * P)
    output = (torch.cat(samples, dim=-1) * weights).sum(dim=-1)  # (B * H, D, Q)
    return output.view(batch, heads * width, queries).transpose(1, 2).contiguous()


def sampling_places(
    spatial_shapes: tuple[tuple[int, int], ...], reference: Tensor, offsets: Tensor, logits: Tensor
) -> tuple[Tensor, Tensor]:
    """Where each query looks and how much each place counts, from what two linear layers say of the query.

    Args:
        spatial_shapes: (height, width) of each of the `L` levels.
        reference: (B, Q, L, 2) points or (B, Q, L, 4) boxes in cxcywh, [0, 1] of each padded level.
        offsets: (B, Q, H, L, P, 2), in pixels of the level from a point, or in halves of the box divided by `P`.
        logits: (B, Q, H, L, P), of a softmax over levels and points.

    Returns:
        Locations (B, Q, H, L, P, 2) and weights (B, Q, H, L, P), both float32.
    """
    weights = logits.float().flatten(3).softmax(-1).view(logits.shape)
    offsets, reference = offsets.float(), reference[:, :, None, :, None]  # (B, Q, 1, L, 1, 2 or 4)
    if reference.shape[-1] == 2:
        sizes = torch.tensor([(w, h) for h, w in spatial_shapes], dtype=torch.float32, device=offsets.device)
        return reference + offsets / sizes[:, None], weights
    return reference[..., :2] + offsets * (0.5 / logits.shape[4]) * reference[..., 2:], weights


def deformable_attention_of_offsets(
    value: Tensor,
    spatial_shapes: tuple[tuple[int, int], ...],
    reference_points: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    """`multi_scale_deformable_attention` at `sampling_places`: all that follows the linear layers.

    Args:
        value: (B, S, H, D).
        spatial_shapes: (height, width) of each level.
        reference_points: (B, Q, L, 2 or 4).
        offsets: (B, Q, H, L, P, 2).
        logits: (B, Q, H, L, P).

    Returns:
        (B, Q, H * D) of value's type.
    """
    places = sampling_places(spatial_shapes, reference_points, offsets, logits)
    return multi_scale_deformable_attention(value, spatial_shapes, *places)
