"""Several maps of a picture, of finer cells each, as one tensor: `SamPredictor` keeps one."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pack(coarse: Tensor, *finer: Tensor) -> Tensor:
    """Maps (B, C, n h, n w) of pictures as one tensor (B, D, h, w), each n a whole number."""
    return torch.cat([coarse, *(F.pixel_unshuffle(one, one.shape[2] // coarse.shape[2]) for one in finer)], dim=1)


def unpack(features: Tensor, *finer: tuple[int, int]) -> tuple[Tensor, ...]:
    """What `pack` packed, the coarse map first.

    Args:
        finer: (C, n) of each finer map: its channels, and its cells along a side of one of the coarse map.
    """
    sizes = [channels * n * n for channels, n in finer]
    coarse, *packed = features.split([features.shape[1] - sum(sizes), *sizes], dim=1)
    return (coarse, *(F.pixel_shuffle(one, n) for one, (_, n) in zip(packed, finer, strict=True)))
