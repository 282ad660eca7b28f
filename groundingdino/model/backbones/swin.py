"""Swin Transformer (arXiv 2103.14030): attention inside windows, from timm's parts, in the published order of steps."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from timm.models.swin_transformer import PatchMerging, WindowAttention, window_partition, window_reverse
from torch import Tensor, nn

from groundingdino.model.config import SwinConfig


@lru_cache(maxsize=8)  # the four stages of one size of pictures, twice
@torch.inference_mode(mode=False)  # what is kept may take part in training later
def shifted_window_mask(height: int, width: int, window_size: int, device: torch.device) -> Tensor:
    """What keeps places apart that share a window only because the map was rolled (section 3.2, figure 4).

    A map of 8 x 8 with windows of 4, rolled by 2 to the left and upwards, so that its first two columns and rows are
    now its last. Digits are the regions that were neighbours before; | and - are the windows' edges:

        0 0 0 0 | 1 1 2 2
        0 0 0 0 | 1 1 2 2     The window at the top left is whole. In the one at the top right places of region 1
        0 0 0 0 | 1 1 2 2     see each other, and those of region 2, which were on the map's other side; in the last
        0 0 0 0 | 1 1 2 2     window there are four such parts.
        - - - - + - - - -
        3 3 3 3 | 4 4 5 5
        3 3 3 3 | 4 4 5 5
        6 6 6 6 | 7 7 8 8
        6 6 6 6 | 7 7 8 8

    Args:
        height, width: of the map, padded to whole windows.

    Returns:
        (windows, area, area) float32 to add to attention logits: 0 within a region, -100 between two.
    """
    bands = []  # of rows, then of columns: 0 before the last window, 1 in it, 2 where the map's beginning came to
    for side in (height, width):
        band = torch.zeros(side, device=device)
        band[-window_size:] = 1
        band[-(window_size // 2) :] = 2
        bands.append(band)
    regions = 3 * bands[0][:, None] + bands[1]  # (height, width)
    of_windows = window_partition(regions[None, :, :, None], (window_size, window_size)).flatten(1)  # (windows, area)
    return torch.where(of_windows[:, None] == of_windows[:, :, None], 0.0, -100.0)


class SwinBlock(nn.Module):
    """Attention inside windows, which every second block shifts by half a window."""

    def __init__(self, dim: int, num_heads: int, window_size: int, shift: int):
        super().__init__()
        self.window, self.shift = (window_size, window_size), shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window_size=window_size)
        # scaled_dot_product_attention, which timm leaves off for Swin as untested; final only for its scripts
        self.attn.fused_attn = True  # type: ignore[misc]
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def attend(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        _, height, width, _ = x.shape
        # Padding to whole windows comes before the shift, as published; timm's own block shifts first.
        x = F.pad(x, (0, 0, 0, -width % self.window[1], 0, -height % self.window[0]))  # (B, H', W', C)
        _, padded_height, padded_width, _ = x.shape
        mask = None
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = shifted_window_mask(padded_height, padded_width, self.window[0], x.device)
        windows = window_partition(x, self.window).flatten(1, 2)  # (B * windows, area, C)
        windows = self.attn(windows, mask).unflatten(1, self.window)
        x = window_reverse(windows, self.window, padded_height, padded_width)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]


class Swin(nn.Module):
    """Maps of the last stages, each with a norm of its own."""

    def __init__(self, config: SwinConfig):
        super().__init__()
        dims = [config.embed_dim * 2**stage for stage in range(len(config.depths))]
        shifts = (0, config.window_size // 2)
        self.first_stage = config.first_stage
        self.channels = tuple(dims[config.first_stage :])
        self.patch_embed = nn.Conv2d(3, dims[0], kernel_size=4, stride=4)
        self.patch_norm = nn.LayerNorm(dims[0])
        self.stages = nn.ModuleList(
            nn.Sequential(*(SwinBlock(dim, heads, config.window_size, shifts[block % 2]) for block in range(depth)))
            for dim, depth, heads in zip(dims, config.depths, config.num_heads, strict=True)
        )
        self.downsamples = nn.ModuleList(PatchMerging(dim) for dim in dims[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in self.channels)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to a map of each stage used, such as (B, H / 8, W / 8, C1), ..., (B, H / 32, W / 32, C3).

        The stages' strides are 4, 8, 16 and 32; sizes are rounded up.
        """
        x, maps = self.embed(pixels), []
        for index, stage in enumerate(self.stages):
            x = stage(self.downsamples[index - 1](x) if index else x)
            if index >= self.first_stage:
                maps.append(self.norms[index - self.first_stage](x))
        return maps

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to patches (B, H / 4, W / 4, C), sizes rounded up."""
        pixels = F.pad(pixels, (0, -pixels.shape[3] % 4, 0, -pixels.shape[2] % 4))
        # The convolution as the product that it is: patches do not overlap, and it needs no `convolving`.
        patches = pixels.unflatten(3, (-1, 4)).unflatten(2, (-1, 4)).permute(0, 2, 4, 1, 3, 5)  # (B, h, w, 3, 4, 4)
        weight, bias = self.patch_embed.weight, self.patch_embed.bias
        return self.patch_norm(F.linear(patches.flatten(3), weight.flatten(1), bias))
