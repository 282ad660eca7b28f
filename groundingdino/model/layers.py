"""Small parts that several blocks share: attention, a perceptron, sine position encodings, the clamped logit."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolving(device: torch.device) -> AbstractContextManager[object]:
    """Autocast off on a CPU, around convolutions.

    Where a processor has AMX, strided bfloat16 convolutions with a result one pixel wide read what was never written
    (torch 2.14): NaN for narrow pictures. Of a Swin Transformer's work they are a small share.
    """
    return torch.autocast("cpu", enabled=False) if device.type == "cpu" else nullcontext()


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, N, H * D) to (B, H, N, D)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, N, D) to (B, N, H * D)."""
    return x.transpose(1, 2).flatten(2)


def fill(x: Tensor, mask: Tensor, value: float) -> Tensor:
    """`x.masked_fill(mask, value)`; on a CPU `x` itself where the mask, which is smaller, is empty."""
    # To ask is cheap on a CPU; on a GPU it would make the host wait, and an exported graph is for any mask.
    asks = mask.device.type == "cpu" and not torch.compiler.is_exporting()
    return x if asks and not mask.any() else x.masked_fill(mask, value)


class Attention(nn.Module):
    """Attention of several heads (arXiv 1706.03762, section 3.2.2), with the parameters of `nn.MultiheadAttention`.

    That module would also copy each mask for every head and average weights that nobody reads.
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """What queries take from values, (B, N, C).

        Args:
            query: (B, N, C), before its projection; `key` and `value` (B, M, C) likewise.
            mask: bool, broadcast to (B, H, N, M), True where a query may attend to a key; None where each may to all.
        """
        projections = zip(self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        query, key, value = (
            split_heads(F.linear(x, weight, bias), self.num_heads)  # (B, H, N, D)
            for x, (weight, bias) in zip((query, key, value), projections, strict=True)
        )
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # (B, H, N, D)
        return self.out_proj(merge_heads(attended))


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
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def sine_encoding(x: Tensor, dim: int, temperature: float = 10000.0) -> Tensor:
    """Sine and cosine of `x` at `dim / 2` frequencies, interleaved (arXiv 1706.03762, section 3.5).

    Args:
        x: any shape; one turn of the fastest frequency is 1.

    Returns:
        (*x.shape, dim) float32.
    """
    angles = x.float()[..., None] * (2 * math.pi) / wavelengths(dim, temperature, x.device)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


@lru_cache(maxsize=8)
@torch.inference_mode(mode=False)  # what is kept may take part in training later
def wavelengths(dim: int, temperature: float, device: torch.device) -> Tensor:
    """(dim / 2,) float32 from 1 to nearly `temperature`."""
    return temperature ** (2 * torch.arange(dim // 2, dtype=torch.float32, device=device) / dim)


def image_positions(padding_masks: Sequence[Tensor], dim: int) -> Tensor:
    """Position encodings of feature maps (arXiv 2005.12872, appendix A.4), rows first, temperature 20 as published.

    Args:
        padding_masks: (B, H, W) bool of each map, True on padding; positions run over 0..1 of what is not padding.

    Returns:
        (B, S, dim) float32, the maps one after the other.
    """
    places: tuple[list[Tensor], list[Tensor]] = ([], [])  # along the height, along the width
    for mask in padding_masks:
        valid = (~mask).float()
        for axis, of_maps in enumerate(places, start=1):
            count = valid.cumsum(axis)
            of_maps.append((count / (count.narrow(axis, -1, 1) + 1e-6)).flatten(1))
    return torch.cat([sine_encoding(torch.cat(of_maps, dim=1), dim // 2, 20.0) for of_maps in places], dim=-1)


def box_positions(boxes: Tensor, dim: int) -> Tensor:
    """Encoding of boxes as DAB-DETR's anchors (arXiv 2201.12329, section 4.2).

    Args:
        boxes: (..., 4), cxcywh in [0, 1].

    Returns:
        (..., 2 * dim): y, x, w, h with dim / 2 numbers each.
    """
    x, y, size = boxes[..., :1], boxes[..., 1:2], boxes[..., 2:]
    return sine_encoding(torch.cat([y, x, size], -1), dim // 2).flatten(-2)
