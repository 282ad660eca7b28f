"""Which kernel runs, and why."""

from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor

from groundingdino.kernels import cpu, reference

TRITON_AVAILABLE = find_spec("triton") is not None  # imported when a GPU needs it: that takes half a second


class Choice(NamedTuple):
    """A kernel's name and, where it is the reference, why nothing faster ran."""

    name: str
    reason: str


def choose(value: Tensor) -> Choice:
    """The kernel for a value tensor (B, S, H, D)."""
    device = value.device
    if device.type not in ("cpu", "cuda"):
        return Choice("reference", f"there is no kernel for {device.type} yet")
    if value.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return Choice("reference", f"the kernels compute in float32, which would lose some of {value.dtype}")
    if value.shape[1:].numel() > cpu.MOST_NUMBERS:
        return Choice("reference", f"a picture has more than {cpu.MOST_NUMBERS} numbers")
    if device.type == "cuda":
        if not TRITON_AVAILABLE:
            return Choice("reference", "Triton is not installed")
        if torch.cuda.get_device_properties(device).major < 8:
            return Choice("reference", "Triton needs a GPU of compute capability 8.0 or newer")
        return Choice("triton", "")
    if not cpu.AVAILABLE:
        return Choice("reference", "numba is not installed")
    return Choice("cpu", "")


def deformable_attention(
    value: Tensor, spatial_shapes: tuple[tuple[int, int], ...], locations: Tensor, weights: Tensor
) -> Tensor:
    """Arguments and result as `reference.multi_scale_deformable_attention` defines them."""
    choice = choose(value).name
    if choice == "triton":
        from groundingdino.kernels import triton

        return triton.multi_scale_deformable_attention(value, spatial_shapes, locations, weights)
    if choice == "cpu":
        return cpu.multi_scale_deformable_attention(value, spatial_shapes, locations, weights)
    return reference.multi_scale_deformable_attention(value, spatial_shapes, locations, weights)


def deformable_attention_of_offsets(
    value: Tensor,
    spatial_shapes: tuple[tuple[int, int], ...],
    reference_points: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    """`deformable_attention` at `reference.sampling_places`, in one pass where a kernel can.

    On a CPU that is where no gradient is asked.

    Args:
        value: (B, S, H, D).
        spatial_shapes: (height, width) of each level.
        reference_points: (B, Q, L, 2 or 4), see `reference.sampling_places`, as are the next two.
        offsets: (B, Q, H, L, P, 2).
        logits: (B, Q, H, L, P).

    Returns:
        (B, Q, H * D) of value's type.
    """
    choice = choose(value).name
    if choice == "triton":
        from groundingdino.kernels import triton

        return triton.deformable_attention_of_offsets(value, spatial_shapes, reference_points, offsets, logits)
    if choice == "cpu" and not torch.is_grad_enabled():
        return cpu.deformable_attention_of_offsets(value, spatial_shapes, reference_points, offsets, logits)
    locations, weights = reference.sampling_places(spatial_shapes, reference_points, offsets, logits)
    return deformable_attention(value, spatial_shapes, locations, weights)
