"""Small parts that several blocks share: sine position encodings, a perceptron, the clamped logit."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundingdino import workers

PIECE = 2**20  # numbers; 512 rows of a hidden layer of 2048: as fast as any size, and in the third cache or nearer
LEAST_PIECE = 2**16  # numbers; to hand fewer to another thread costs more than computing them


def by_rows(function: Callable[..., Tensor], *inputs: Tensor, width: int) -> Tensor:
    """`function(*inputs)`, which treats each of N rows by itself; on a CPU some rows at a time.

    What is computed between the first input and the result then stays in the processor's cache, and the pieces are
    shared among `workers`. With gradients, which need it all, and on a GPU, which few rows leave idle, everything is
    computed at once.

    Args:
        function: of inputs (..., N', ...) with N' rows in the second dimension to (B, N', ...), for any N'.
        inputs: (B or 1, N, ...) each.
        width: numbers that one row takes, over all of a batch, where it is widest.
    """
    rows = inputs[0].shape[1]
    pieces = min(number_of_pieces(rows * width), rows)
    if pieces == 1 or torch.is_grad_enabled() or inputs[0].device.type != "cpu":
        return function(*inputs)
    results: list[Tensor] = []
    lock = Lock()

    def compute(part: slice) -> None:
        computed = function(*(each[:, part] for each in inputs))
        with lock:
            if not results:
                results.append(computed.new_empty(computed.shape[0], rows, *computed.shape[2:]))
        results[0][:, part] = computed

    workers.share(compute, (slice(rows * i // pieces, rows * (i + 1) // pieces) for i in range(pieces)))
    return results[0]


def number_of_pieces(numbers: int) -> int:
    """As few as `PIECE` allows, but enough for all workers, and as many for each."""
    threads = min(workers.count(), max(1, numbers // LEAST_PIECE))
    return -(-numbers // (PIECE * threads)) * threads


def convolving(device: torch.device) -> AbstractContextManager[object]:
    """Autocast off on a CPU, around convolutions.

    Where a processor has AMX, strided bfloat16 convolutions with a result one pixel wide read what was never written
    (torch 2.14): NaN for narrow pictures. Of a Swin Transformer's work they are a small share.
    """
    return torch.autocast("cpu", enabled=False) if device.type == "cpu" else nullcontext()


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, N, H * D) to (B, H, N, D)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def fill(x: Tensor, mask: Tensor, value: float) -> Tensor:
    """`x.masked_fill(mask, value)`; on a CPU `x` itself where the mask, which is smaller, is empty."""
    # To ask is cheap on a CPU; on a GPU it would make the host wait.
    return x if mask.device.type == "cpu" and not mask.any() else x.masked_fill(mask, value)


class MLP(nn.Module):
    """Linear layers with ReLU between them, as DETR's box head."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, num_layers: int):
        super().__init__()
        dims = [in_dim] + [hidden_dim] * (num_layers - 1) + [out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(dims))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


class FeedForward(nn.Module):
    """The two linear layers of a transformer block with its residual; the norm is the caller's."""

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        # A hidden layer that no gradient needs is not written a second time.
        return x + self.linear2(F.relu(self.linear1(x), inplace=not torch.is_grad_enabled()))


def logit(x: Tensor, eps: float) -> Tensor:
    """Inverse of the sigmoid for x in [0, 1], clamped so that the result stays within about +-log(1/eps)."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def sine_encoding(x: Tensor, dim: int, temperature: float = 10000.0) -> Tensor:
    """Sine and cosine of `x` at `dim / 2` frequencies, interleaved (arXiv 1706.03762, section 3.5).

    Args:
        x: any shape; one turn of the slowest frequency is 1.

    Returns:
        (*x.shape, dim) float32.
    """
    index = torch.arange(dim // 2, dtype=torch.float32, device=x.device)
    angles = x.float()[..., None] * (2 * math.pi) / temperature ** (2 * index / dim)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def image_positions(padding_mask: Tensor, dim: int) -> Tensor:
    """Position encoding of one feature map (arXiv 2005.12872, appendix A.4), rows first, temperature 20 as published.

    Args:
        padding_mask: (B, H, W) bool, True on padding; positions run over 0..1 of the part that is not padding.

    Returns:
        (B, H, W, dim) float32.
    """
    valid = (~padding_mask).float()
    rows, columns = valid.cumsum(1), valid.cumsum(2)
    rows = rows / (rows[:, -1:, :] + 1e-6)
    columns = columns / (columns[:, :, -1:] + 1e-6)
    return torch.cat([sine_encoding(rows, dim // 2, 20.0), sine_encoding(columns, dim // 2, 20.0)], dim=-1)


def box_positions(boxes: Tensor, dim: int) -> Tensor:
    """Encoding of boxes as DAB-DETR's anchors (arXiv 2201.12329, section 4.2).

    Args:
        boxes: (..., 4), cxcywh in [0, 1].

    Returns:
        (..., 2 * dim): y, x, w, h with dim / 2 numbers each.
    """
    x, y, size = boxes[..., :1], boxes[..., 1:2], boxes[..., 2:]
    return sine_encoding(torch.cat([y, x, size], -1), dim // 2).flatten(-2)
