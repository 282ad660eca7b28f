"""Any convolutional network of timm, pretrained on ImageNet, as a backbone."""

import timm
import torch
from timm.models import FeatureInfo
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from groundingdino.model.config import TimmConfig
from groundingdino.model.layers import convolving


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

    @property
    def network(self) -> list[nn.Module]:
        """What lies in front of the pyramid."""
        return [self.features]

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
