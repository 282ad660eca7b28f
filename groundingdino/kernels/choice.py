"""Which kernel runs, and why."""

from typing import NamedTuple

import torch
from torch import Tensor

from groundingdino.kernels import cpu, reference


class Choice(NamedTuple):
    """A kernel's name and, where it is the reference, why nothing faster ran."""

    name: str
    reason: str


def choose(value: Tensor) -> Choice:
    """The kernel for a value tensor (B, S, H, D)."""
    if value.device.type != "cpu":
        return Choice("reference", f"there is no kernel for {value.device.type} yet")
    if not cpu.AVAILABLE:
        return Choice("reference", "numba is not installed")
    if value[0].numel() > cpu.MOST_NUMBERS:
        return Choice("reference", f"a picture has more than {cpu.MOST_NUMBERS} numbers")
    return Choice("cpu", "")


def deformable_attention(
    value: Tensor, spatial_shapes: tuple[tuple[int, int], ...], locations: Tensor, weights: Tensor
) -> Tensor:
    """Arguments and result as `reference.multi_scale_deformable_attention` defines them."""
    if choose(value).name == "cpu":
        return cpu.multi_scale_deformable_attention(value, spatial_shapes, locations, weights)
    return reference.multi_scale_deformable_attention(value, spatial_shapes, locations, weights)


def deformable_attention_of_offsets(
    value: Tensor,
    spatial_shapes: tuple[tuple[int, int], ...],
    reference_points: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    """`deformable_attention` at `reference.sampling_places`, in one pass where a kernel can and no gradient is asked.

    Args:
        value: (B, S, H, D).
        spatial_shapes: (height, width) of each level.
        reference_points: (B, Q, L, 2 or 4), see `reference.sampling_places`, as are the next two.
        offsets: (B, Q, H, L, P, 2).
        logits: (B, Q, H, L, P).

    Returns:
        (B, Q, H * D) of value's type.
    """
    if choose(value).name == "cpu" and not torch.is_grad_enabled():
        return cpu.deformable_attention_of_offsets(value, spatial_shapes, reference_points, offsets, logits)
    locations, weights = reference.sampling_places(spatial_shapes, reference_points, offsets, logits)
    return deformable_attention(value, spatial_shapes, locations, weights)
