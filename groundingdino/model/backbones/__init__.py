"""Backbones: a picture (B, 3, H, W) to feature maps (B, h, w, C) at strides (4,) 8, 16 and 32, one file for each."""

from groundingdino.model.backbones.resnet import ResNet
from groundingdino.model.backbones.swin import Swin
from groundingdino.model.backbones.timm_backbone import TimmBackbone
from groundingdino.model.config import ResNetConfig, SwinConfig, TimmConfig


def build_backbone(config: SwinConfig | ResNetConfig | TimmConfig) -> Swin | ResNet | TimmBackbone:
    """The backbone that a configuration describes."""
    if isinstance(config, SwinConfig):
        return Swin(config)
    return TimmBackbone(config) if isinstance(config, TimmConfig) else ResNet(config)
