"""Multi-scale deformable attention on a CPU: one pass over the samples, compiled by numba, forward and backward.

grid_sample visits a sample's four corners once per channel, a picture's width apart; here the channels of a head lie
side by side, so that a corner is one or two vector loads, and weighting and summing happen where the sample is read.
Rows are split among as many threads as PyTorch uses; numba's own thread pools are not used, since they abort the
process when two threads of a server enter them at once.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

try:
    from numba import njit

    AVAILABLE = True
except ImportError:  # an optional speed-up: `choice.choose` then names the reference
    AVAILABLE = False

_pool = ThreadPoolExecutor(thread_name_prefix="deformable-attention")


@lru_cache
def _kernels(width: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Forward and backward for heads of `width` channels: a constant, so that the channel loops become vectors."""

    @njit(nogil=True, fastmath=True, cache=True)
    def forward(value, shapes, starts, locations, weights, output, first, last):
        queries, heads, levels, points = weights.shape[1:]
        total = np.empty(width, np.float32)
        for row in range(first, last):
            batch, query = row // queries, row % queries
            for head in range(heads):
                total[:] = 0
                for level in range(levels):
                    rows, columns, start = shapes[level, 0], shapes[level, 1], starts[level]
                    for point in range(points):
                        x = locations[batch, query, head, level, point, 0] * columns - np.float32(0.5)
                        y = locations[batch, query, head, level, point, 1] * rows - np.float32(0.5)
                        if not (x > -1 and y > -1 and x < columns and y < rows):
                            continue
                        weight = weights[batch, query, head, level, point]
                        left, top = int(np.floor(x)), int(np.floor(y))
                        right_share, bottom_share = x - np.float32(left), y - np.float32(top)
                        left_share, top_share = np.float32(1) - right_share, np.float32(1) - bottom_share
                        place = start + top * columns + left
                        if top >= 0:
                            if left >= 0:
                                share = weight * top_share * left_share
                                for c in range(width):
                                    total[c] += share * value[batch, place, head, c]
                            if left + 1 < columns:
                                share = weight * top_share * right_share
                                for c in range(width):
                                    total[c] += share * value[batch, place + 1, head, c]
                        if top + 1 < rows:
                            if left >= 0:
                                share = weight * bottom_share * left_share
                                for c in range(width):
                                    total[c] += share * value[batch, place + columns, head, c]
                            if left + 1 < columns:
                                share = weight * bottom_share * right_share
                                for c in range(width):
                                    total[c] += share * value[batch, place + columns + 1, head, c]
                for c in range(width):
                    output[batch, query, head, c] = total[c]

    @njit(nogil=True, fastmath=True, cache=True)
    def backward(
        value, shapes, starts, locations, weights, grad, grad_value, grad_locations, grad_weights, first, last
    ):
        queries, heads, levels, points = weights.shape[1:]
        for row in range(first, last):  # one row is one head of one picture: no two threads write the same gradient
            batch, head = row // heads, row % heads
            for query in range(queries):
                for level in range(levels):
                    rows, columns, start = shapes[level, 0], shapes[level, 1], starts[level]
                    for point in range(points):
                        x = locations[batch, query, head, level, point, 0] * columns - np.float32(0.5)
                        y = locations[batch, query, head, level, point, 1] * rows - np.float32(0.5)
                        if not (x > -1 and y > -1 and x < columns and y < rows):
                            continue
                        weight = weights[batch, query, head, level, point]
                        left, top = int(np.floor(x)), int(np.floor(y))
                        dx, dy = np.float32(0), np.float32(0)
                        sampled = np.float32(0)
                        for corner in range(4):
                            down, across = corner // 2, corner % 2
                            r, k = top + down, left + across
                            if r < 0 or r >= rows or k < 0 or k >= columns:
                                continue
                            place = start + r * columns + k
                            share_x = x - np.float32(left) if across else np.float32(1) - (x - np.float32(left))
                            share_y = y - np.float32(top) if down else np.float32(1) - (y - np.float32(top))
                            share = weight * share_x * share_y
                            dot = np.float32(0)
                            for c in range(width):
                                g = grad[batch, query, head, c]
                                dot += g * value[batch, place, head, c]
                                grad_value[batch, place, head, c] += share * g
                            sampled += dot * share_x * share_y
                            dx += dot * share_y * (np.float32(1) if across else np.float32(-1))
                            dy += dot * share_x * (np.float32(1) if down else np.float32(-1))
                        grad_weights[batch, query, head, level, point] = sampled
                        grad_locations[batch, query, head, level, point, 0] = weight * dx * columns
                        grad_locations[batch, query, head, level, point, 1] = weight * dy * rows

    return forward, backward


def _run(kernel: Callable[..., None], arrays: list[np.ndarray], rows: int) -> None:
    """The kernel over `rows` rows, in as many pieces as PyTorch has threads."""
    pieces = min(torch.get_num_threads(), rows)
    bounds = [rows * piece // pieces for piece in range(pieces + 1)]
    if pieces <= 1:
        kernel(*arrays, 0, rows)
        return
    for job in [_pool.submit(kernel, *arrays, a, b) for a, b in pairwise(bounds)]:
        job.result()


def _level_arrays(spatial_shapes: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    shapes = np.array(spatial_shapes, np.int64)
    return shapes, np.concatenate([[0], np.cumsum(shapes.prod(1))[:-1]])


class _DeformableAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, spatial_shapes: Any, locations: Tensor, weights: Tensor) -> Tensor:
        value, locations, weights = (x.float().contiguous() for x in (value, locations, weights))
        batch, _, heads, width = value.shape
        queries = locations.shape[1]
        output = value.new_empty(batch, queries, heads, width)
        arrays = [x.detach().numpy() for x in (locations, weights, output)]
        _run(_kernels(width)[0], [value.detach().numpy(), *_level_arrays(spatial_shapes), *arrays], batch * queries)
        ctx.save_for_backward(value, locations, weights)
        ctx.spatial_shapes = spatial_shapes
        return output.flatten(2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        value, locations, weights = ctx.saved_tensors
        batch, _, heads, width = value.shape
        grad = grads[0].float().reshape(batch, -1, heads, width).contiguous()
        results = [torch.zeros_like(x) for x in (value, locations, weights)]
        arrays = [x.detach().numpy() for x in (locations, weights, grad, *results)]
        _run(_kernels(width)[1], [value.detach().numpy(), *_level_arrays(ctx.spatial_shapes), *arrays], batch * heads)
        return results[0], None, results[1], results[2]


def multi_scale_deformable_attention(
    value: Tensor, spatial_shapes: tuple[tuple[int, int], ...], locations: Tensor, weights: Tensor
) -> Tensor:
    """As `reference.multi_scale_deformable_attention`; computes in float32 and returns value's type."""
    return _DeformableAttention.apply(value, spatial_shapes, locations, weights).to(value.dtype)
