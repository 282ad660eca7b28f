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
