"""Multi-scale deformable attention on a CPU: one pass over the samples, compiled by numba, forward and backward.

grid_sample visits a sample's four corners once per channel, a picture's width apart; here the channels of a head lie
side by side, so that a corner is a few vector loads, and weighting and summing happen where the sample is read. Rows
are split among as many threads as PyTorch uses; numba's own thread pools are not used, since they abort the process
when two threads of a server enter them at once.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundingdino.kernels.reference import sampling_places

try:
    from groundingdino.kernels import numba_sampling

    AVAILABLE = True
except ImportError:  # an optional speed-up: `choice.choose` then names the reference
    AVAILABLE = False

MOST_NUMBERS = 2**31 - 1  # of one picture's value: its places are counted in 32 bits


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of a process, made when they are first needed; a forked one has none of those before it."""
    return ThreadPoolExecutor(thread_name_prefix=f"deformable-attention-{process}")


def _run(kernel: Callable[..., None], arrays: list[np.ndarray], rows: int) -> None:
    """The kernel over `rows` rows, in as many pieces as PyTorch has threads."""
    pieces = min(torch.get_num_threads(), rows)
    bounds = [rows * piece // pieces for piece in range(pieces + 1)]
    if pieces <= 1:
        kernel(*arrays, 0, rows)
        return
    pool = _pool(os.getpid())
    for job in [pool.submit(kernel, *arrays, a, b) for a, b in pairwise(bounds)]:
        job.result()


def _numbers(value: Tensor) -> np.ndarray:
    """(B, S, H, D) as (B, S * H * D) of float32, or of bfloat16 as numpy knows it: int16."""
    value = value.detach().contiguous().flatten(1)
    return (value.view(torch.int16) if value.dtype == torch.bfloat16 else value.float()).numpy()


class _DeformableAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, spatial_shapes: Any, locations: Tensor, weights: Tensor) -> Tensor:
        value, locations, weights = (x.float().contiguous() for x in (value, locations, weights))
        batch, queries, heads, levels, points = weights.shape
        output = value.new_empty(batch, queries, heads * value.shape[3])
        rows = [x.detach().reshape(batch * queries, heads, -1).numpy() for x in (locations, weights)]
        arrays = [_numbers(value), np.array(spatial_shapes), *rows, output.detach().view(-1).numpy()]
        _run(numba_sampling.forward(value.shape[3], levels, points), arrays, batch * queries)
        ctx.save_for_backward(value, locations, weights)
        ctx.spatial_shapes = spatial_shapes
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        value, locations, weights = ctx.saved_tensors
        batch, _, heads, width = value.shape
        grad = grads[0].float().reshape(batch, -1, heads, width).contiguous()
        results = [torch.zeros_like(x) for x in (value, locations, weights)]
        arrays = [x.detach().numpy() for x in (locations, weights, grad, *results)]
        arrays = [value.detach().numpy(), np.array(ctx.spatial_shapes), *arrays]
        _run(numba_sampling.backward(width), arrays, batch * heads)
        return results[0], None, results[1], results[2]


def multi_scale_deformable_attention(
    value: Tensor, spatial_shapes: tuple[tuple[int, int], ...], locations: Tensor, weights: Tensor
) -> Tensor:
    """As `reference.multi_scale_deformable_attention`; computes in float32 and returns value's type."""
    return _DeformableAttention.apply(value, spatial_shapes, locations, weights).to(value.dtype)


def deformable_attention_of_offsets(
    value: Tensor,
    spatial_shapes: tuple[tuple[int, int], ...],
    reference_points: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    """As `reference.deformable_attention_of_offsets`; bfloat16 values are read as they are.

    In one pass where nobody asks for gradients, which the kernel has only for places and weights.
    """
    if torch.is_grad_enabled():
        places = sampling_places(spatial_shapes, reference_points, offsets, logits)
        return multi_scale_deformable_attention(value, spatial_shapes, *places)
    batch, queries, heads, levels, points = logits.shape
    width = value.shape[3]
    output = torch.empty(batch, queries, heads * width)
    reference_points = reference_points.expand(batch, -1, -1, -1).reshape(batch * queries, levels, -1)
    rows = [x.detach().reshape(batch * queries, heads, -1).float().contiguous().numpy() for x in (offsets, logits)]
    reference_array = reference_points.detach().float().contiguous().numpy()
    arrays = [_numbers(value), np.array(spatial_shapes), reference_array, *rows, output.view(-1).numpy()]
    _run(numba_sampling.fused_forward(width, levels, points), arrays, batch * queries)
    return output.to(value.dtype)
