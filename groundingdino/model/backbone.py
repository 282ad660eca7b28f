"""Backbones: a picture to three feature maps at strides 8, 16 and 32, channels last."""

import torch
import torch.nn.functional as F
from timm.layers import ConvNormAct, Mlp
from timm.models.resnet import BasicBlock
from timm.models.swin_transformer import PatchMerging, WindowAttention, window_partition, window_reverse
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from groundingdino.config import ResNetConfig, SwinConfig


class SwinBlock(nn.Module):
    """Attention inside windows, which every second block shifts by half a window (arXiv 2103.14030, section 3.2)."""

    def __init__(self, dim: int, num_heads: int, window_size: int, shift: int):
        super().__init__()
        self.window_size, self.shift = window_size, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window_size=window_size)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor, region_mask: Tensor) -> Tensor:
        """(B, H, W, C) to the same; `region_mask` is what `shifted_region_mask` gives."""
        x = x + self._attend(self.norm1(x), region_mask)
        return x + self.mlp(self.norm2(x))

    def _attend(self, x: Tensor, region_mask: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        window = (self.window_size, self.window_size)
        # Padding to whole windows comes before the shift, as published; timm's block shifts first.
        x = F.pad(x, (0, 0, 0, -width % self.window_size, 0, -height % self.window_size))
        padded_height, padded_width = x.shape[1:3]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        windows = window_partition(x, window).flatten(1, 2)  # (B * windows, window area, C)
        windows = self.attn(windows, region_mask if self.shift else None)
        x = window_reverse(windows.unflatten(1, window), window, padded_height, padded_width)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]


def shifted_region_mask(height: int, width: int, window_size: int, device: torch.device) -> Tensor:
    """(windows, area, area): 0 where two places of a shifted window were neighbours before the shift, else -100."""
    rows, columns = (
        torch.zeros(size + -size % window_size, device=device, dtype=torch.long) for size in (height, width)
    )
    for regions in (rows, columns):
        regions[-window_size:] = 1
        regions[-(window_size // 2) :] = 2
    regions = (3 * rows[:, None] + columns)[None, :, :, None]
    regions = window_partition(regions, (window_size, window_size)).flatten(1)  # (windows, area)
    return torch.where(regions[:, None, :] == regions[:, :, None], 0.0, -100.0)


class SwinStage(nn.ModuleList):
    """Blocks on one resolution, every second one shifted."""

    def __init__(self, dim: int, depth: int, num_heads: int, window_size: int):
        super().__init__(
            SwinBlock(dim, num_heads, window_size, shift=index % 2 * (window_size // 2)) for index in range(depth)
        )
        self.window_size = window_size

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        region_mask = shifted_region_mask(x.shape[1], x.shape[2], self.window_size, x.device).to(x.dtype)
        for block in self:
            x = block(x, region_mask)
        return x


class Swin(nn.Module):
    """Swin Transformer (arXiv 2103.14030); maps of its last three stages, each with a norm of its own."""

    def __init__(self, config: SwinConfig):
        super().__init__()
        dims = [config.embed_dim * 2**stage for stage in range(len(config.depths))]
        self.channels = tuple(dims[1:])
        self.patch_embed = nn.Conv2d(3, dims[0], kernel_size=4, stride=4)
        self.patch_norm = nn.LayerNorm(dims[0])
        self.stages = nn.ModuleList(
            SwinStage(dim, depth, heads, config.window_size)
            for dim, depth, heads in zip(dims, config.depths, config.num_heads, strict=True)
        )
        self.downsamples = nn.ModuleList(PatchMerging(dim) for dim in dims[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in self.channels)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to three maps (B, H / 8, W / 8, C1), (B, H / 16, ...), (B, H / 32, ...), sizes rounded up."""
        pixels = F.pad(pixels, (0, -pixels.shape[3] % 4, 0, -pixels.shape[2] % 4))
        x = self.patch_norm(self.patch_embed(pixels).permute(0, 2, 3, 1))
        maps = []
        for index, stage in enumerate(self.stages):
            if index > 0:
                x = self.downsamples[index - 1](x)
            x = stage(x)
            if index > 0:
                maps.append(self.norms[index - 1](x))
        return maps


class ResNet(nn.Module):
    """A small residual network (arXiv 1512.03385) of timm's basic blocks behind a stem of stride 4, with a pyramid."""

    def __init__(self, config: ResNetConfig):
        super().__init__()
        self.channels = (config.pyramid_dim,) * 3
        self.stem = nn.Sequential(
            ConvNormAct(3, config.stem_width, 3, stride=2),
            ConvNormAct(config.stem_width, config.channels[0], 3, stride=2),
        )
        stages, in_channels = [], config.channels[0]
        for index, (channels, depth) in enumerate(zip(config.channels, config.depths, strict=True)):
            blocks = []
            for block in range(depth):
                stride = 2 if index > 0 and block == 0 else 1
                shortcut = None
                if stride > 1 or in_channels != channels:
                    shortcut = nn.Sequential(
                        nn.AvgPool2d(stride, ceil_mode=True), ConvNormAct(in_channels, channels, 1, apply_act=False)
                    )
                blocks.append(BasicBlock(in_channels, channels, stride=stride, downsample=shortcut))
                in_channels = channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.pyramid = FeaturePyramidNetwork(list(config.channels[1:]), config.pyramid_dim, norm_layer=nn.BatchNorm2d)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to three maps (B, H / 8, W / 8, C), (B, H / 16, ...), (B, H / 32, ...), sizes rounded up."""
        x = self.stem(pixels.contiguous(memory_format=torch.channels_last))
        maps = {}
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index > 0:
                maps[str(index)] = x
        return [level.permute(0, 2, 3, 1) for level in self.pyramid(maps).values()]


def build_backbone(config: SwinConfig | ResNetConfig) -> Swin | ResNet:
    """The backbone a configuration asks for."""
    return Swin(config) if isinstance(config, SwinConfig) else ResNet(config)
