"""A small residual network (arXiv 1512.03385), cheap enough to train on a CPU."""

import torch
from timm.layers import ConvNormAct
from timm.models.resnet import BasicBlock
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from groundingdino.model.config import ResNetConfig
from groundingdino.model.layers import convolving


class ResNet(nn.Module):
    """timm's basic blocks behind a stem of stride 4, with a pyramid."""

    def __init__(self, config: ResNetConfig):
        super().__init__()
        self.channels = (config.pyramid_dim,) * 3
        self.level_channels = (config.stem_width, *config.channels)
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

    @property
    def network(self) -> list[nn.Module]:
        """What lies in front of the pyramid."""
        return [self.stem, self.stages]

    def levels(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to five maps (B, C, H / 2, W / 2), ..., (B, C, H / 32, W / 32), sizes rounded up."""
        half = self.stem[0](pixels.contiguous(memory_format=torch.channels_last))
        maps, x = [half], self.stem[1](half)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def merge_levels(self, levels: list[Tensor]) -> list[Tensor]:
        """What `levels` gives to the pyramid's three maps (B, C, H / 8, W / 8), (B, C, H / 16, W / 16), ..."""
        return list(self.pyramid({str(index): level for index, level in enumerate(levels[2:])}).values())

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to three maps (B, H / 8, W / 8, C), (B, H / 16, ...), (B, H / 32, ...), sizes rounded up."""
        with convolving(pixels.device):
            return [level.permute(0, 2, 3, 1) for level in self.merge_levels(self.levels(pixels))]
