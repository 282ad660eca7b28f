"""Which kernel runs, and why."""

from functools import lru_cache
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
    if torch.compiler.is_exporting():
        return Choice("reference", "a graph that is exported has plain operators alone")
    if value.shape[1:].numel() > cpu.MOST_NUMBERS:
        return Choice("reference", f"a picture has more than {cpu.MOST_NUMBERS} numbers")
    return choose_for(value.device, value.dtype)


@lru_cache  # a model asks in each of its layers, and the machine does not change
def choose_for(device: torch.device, dtype: torch.dtype) -> Choice:
    """The kernel for values of a type on a device, whatever their size."""
    if device.type not in ("cpu", "cuda"):
        return Choice("reference", f"there is no kernel for {device.type} yet")
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return Choice("reference", f"the kernels compute in float32, which would lose some of {dtype}")
    if device.type == "cuda":
        if not TRITON_AVAILABLE:
            return Choice("reference", "Triton is not installed")
        if torch.cuda.get_device_properties(device).major < 8:
            return Choice("reference", "Triton needs a GPU of compute capability 8.0 or newer")
        return Choice("triton", "")
    if not cpu.AVAILABLE:
        return Choice("reference", "numba is not installed")
    return Choice("cpu", "")


def deformable_attention_of_offsets(
    value: Tensor,
    spatial_shapes: tuple[tuple[int, int], ...],
    reference_points: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    """Arguments and result as `reference.deformable_attention_of_offsets` defines them, by the kernel of `choose`."""
    choice = choose(value).name
    if choice == "triton":
        from groundingdino.kernels import triton

        return triton.deformable_attention_of_offsets(value, spatial_shapes, reference_points, offsets, logits)
    kernel = cpu if choice == "cpu" else reference
    return kernel.deformable_attention_of_offsets(value, spatial_shapes, reference_points, offsets, logits)
