"""Backbones: a picture to three feature maps at strides 8, 16 and 32, channels last."""

from functools import lru_cache
from typing import NamedTuple

import timm
import torch
import torch.nn.functional as F
from timm.layers import ConvNormAct, Mlp
from timm.models import FeatureInfo
from timm.models.resnet import BasicBlock
from timm.models.swin_transformer import PatchMerging, WindowAttention, window_partition
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from groundingdino.model.config import ResNetConfig, SwinConfig, TimmConfig
from groundingdino.model.layers import by_rows, convolving, fill


class Windows(NamedTuple):
    """How the places of a map are dealt out to windows, perhaps shifted ones."""

    places: Tensor  # (1, windows, area), index of each place of a window among the map's H * W
    padding: Tensor  # (1, windows, area, 1) bool, True where a window reaches beyond the map
    region_mask: Tensor  # (1, windows, area, area), 0 where places were neighbours before the shift, else -100
    order: Tensor  # (1, H * W), index of each place of the map among those of all windows


@lru_cache(maxsize=8)  # four stages, shifted and not, of one size of pictures
@torch.inference_mode(mode=False)  # what is kept may take part in training later
def deal_windows(height: int, width: int, window_size: int, shift: int, device: torch.device) -> Windows:
    """Windows of a map of height x width, which is padded at its bottom and right, then rolled by `shift`."""
    window = (window_size, window_size)
    padded = (height + -height % window_size, width + -width % window_size)
    numbers = torch.arange(1, height * width + 1, device=device).view(height, width)
    # Padding to whole windows comes before the shift, as published; timm's block shifts first.
    numbers = F.pad(numbers, (0, padded[1] - width, 0, padded[0] - height)).roll((-shift, -shift), dims=(0, 1))
    places = window_partition(numbers[None, :, :, None], window).flatten(1)  # (windows, area), 0 on padding
    order = places.flatten().argsort()[padded[0] * padded[1] - height * width :]

    regions = [torch.zeros(size, device=device, dtype=torch.long) for size in padded]
    for axis in regions:
        axis[-window_size:] = 1
        axis[-(window_size // 2) :] = 2
    region = window_partition((3 * regions[0][:, None] + regions[1])[None, :, :, None], window).flatten(1)
    apart = (region[:, None, :] != region[:, :, None]) if shift else torch.zeros((), dtype=torch.bool, device=device)
    region_mask = torch.where(apart, -100.0, 0.0).expand(len(places), places.shape[1], places.shape[1])
    return Windows((places - 1).clamp(min=0)[None], (places == 0)[None, ..., None], region_mask[None], order[None])


class SwinBlock(nn.Module):
    """Attention inside windows, which every second block shifts by half a window (arXiv 2103.14030, section 3.2)."""

    def __init__(self, dim: int, num_heads: int, window_size: int, shift: int):
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window_size=window_size)
        # scaled_dot_product_attention, which timm leaves off for Swin as untested; final only for its scripts
        self.attn.fused_attn = True  # type: ignore[misc]
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        """(B, H * W, C) to the same; `windows` is what `deal_windows` gives for this block's shift."""
        batch, _, dim = x.shape
        area = windows.places.shape[2]

        def attend(places: Tensor, padding: Tensor, region_mask: Tensor) -> Tensor:
            inside = fill(self.norm1(x[:, places[0]]), padding, 0).flatten(0, 1)  # (B * windows, area, C)
            return self.attn(inside, region_mask[0] if self.shift else None).unflatten(0, (batch, -1))

        attended = by_rows(attend, *windows[:3], width=3 * batch * area * dim).flatten(1, 2)

        def transform(x: Tensor, order: Tensor) -> Tensor:
            x = x + attended[:, order[0]]
            return x + self.mlp(self.norm2(x))

        return by_rows(transform, x, windows.order, width=4 * batch * dim)


class SwinStage(nn.ModuleList):
    """Blocks on one resolution, every second one shifted."""

    def __init__(self, dim: int, depth: int, num_heads: int, window_size: int):
        super().__init__(
            SwinBlock(dim, num_heads, window_size, shift=index % 2 * (window_size // 2)) for index in range(depth)
        )
        self.window_size = window_size

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        height, width = x.shape[1:3]
        windows = [deal_windows(height, width, self.window_size, s, x.device) for s in (0, self.window_size // 2)]
        x = x.flatten(1, 2)
        for index, block in enumerate(self):
            x = block(x, windows[index % 2])
        return x.unflatten(1, (height, width))


def merge(merging: nn.Module, x: Tensor) -> Tensor:
    """timm's `PatchMerging` of a map (B, H, W, C) to (B, H / 2, W / 2, 2 C), by pairs of the map's rows."""
    x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
    batch, _, width, dim = x.shape
    pairs = x.unflatten(1, (-1, 2))  # (B, H / 2, 2, W, C)
    return by_rows(lambda pairs: merging(pairs.flatten(1, 2)), pairs, width=batch * 2 * width * dim)


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

    def embed(self, patches: Tensor) -> Tensor:
        """(B, h, w, 3, 4, 4) to (B, h, w, C)."""
        return self.patch_norm(F.linear(patches.flatten(3), self.patch_embed.weight.flatten(1), self.patch_embed.bias))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to three maps (B, H / 8, W / 8, C1), (B, H / 16, ...), (B, H / 32, ...), sizes rounded up."""
        pixels = F.pad(pixels, (0, -pixels.shape[3] % 4, 0, -pixels.shape[2] % 4))
        # The convolution of patches beside each other is one product, rows of which can be shared.
        patches = pixels.unflatten(3, (-1, 4)).unflatten(2, (-1, 4)).permute(0, 2, 4, 1, 3, 5)  # (B, h, w, 3, 4, 4)
        x = by_rows(self.embed, patches, width=len(pixels) * patches.shape[2] * self.patch_embed.out_channels)
        maps = []
        for index, stage in enumerate(self.stages):
            if index > 0:
                x = merge(self.downsamples[index - 1], x)
            x = stage(x)
            if index > 0:
                flat = x.flatten(1, 2)
                maps.append(by_rows(self.norms[index - 1], flat, width=len(x) * x.shape[3]).view(x.shape))
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
        with convolving(pixels.device):
            x = self.stem(pixels.contiguous(memory_format=torch.channels_last))
            maps = {}
            for index, stage in enumerate(self.stages):
                x = stage(x)
                if index > 0:
                    maps[str(index)] = x
            return [level.permute(0, 2, 3, 1) for level in self.pyramid(maps).values()]


class TimmBackbone(nn.Module):
    """A convolutional network of timm with a feature pyramid (arXiv 1612.03144).

    The network's batch norms keep ImageNet's statistics in training too: a batch of drawings and photographs has others
    than either has alone, and small batches, as people tune with, have none worth keeping.
    """

    def __init__(self, config: TimmConfig):
        super().__init__()
        self.channels = (config.pyramid_dim,) * 3
        self.features = timm.create_model(config.name, features_only=True, pretrained=False)
        maps: FeatureInfo = self.features.feature_info  # type: ignore[assignment]  # timm keeps it on a module
        self.level_channels, strides = tuple(maps.channels()), maps.reduction()
        if strides != [2, 4, 8, 16, 32]:
            raise ValueError(
                f"The backbone '{config.name}' has maps of strides {strides}: choose one of timm's networks with 2, 4, "
                "8, 16 and 32."
            )
        self.pyramid = FeaturePyramidNetwork(
            list(self.level_channels[2:]), config.pyramid_dim, norm_layer=nn.BatchNorm2d
        )

    def train(self, mode: bool = True) -> "TimmBackbone":
        super().train(mode)
        self.features.eval()
        return self

    @property
    def stages(self) -> list[nn.Module]:
        """The network's stages, each of several blocks."""
        return list(self.features.get_submodule("blocks").children())

    def levels(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to five maps (B, C, H / 2, W / 2), ..., (B, C, H / 32, W / 32), sizes rounded up."""
        return self.features(pixels.contiguous(memory_format=torch.channels_last))

    def merge_levels(self, levels: list[Tensor]) -> list[Tensor]:
        """What `levels` gives to the pyramid's three maps (B, C, H / 8, W / 8), (B, C, H / 16, W / 16), ..."""
        return list(self.pyramid({str(index): level for index, level in enumerate(levels[2:])}).values())

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to three maps (B, H / 8, W / 8, C), (B, H / 16, ...), (B, H / 32, ...), sizes rounded up."""
        with convolving(pixels.device):
            return [level.permute(0, 2, 3, 1) for level in self.merge_levels(self.levels(pixels))]


def build_backbone(config: SwinConfig | ResNetConfig | TimmConfig) -> Swin | ResNet | TimmBackbone:
    """The backbone a configuration asks for."""
    if isinstance(config, SwinConfig):
        return Swin(config)
    return TimmBackbone(config) if isinstance(config, TimmConfig) else ResNet(config)
