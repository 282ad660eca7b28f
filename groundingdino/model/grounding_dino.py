"""Grounding DINO (arXiv 2303.05499), the whole model: figure 3 of the paper, top to bottom."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundingdino.config import GroundingDINOConfig
from groundingdino.model.backbone import build_backbone
from groundingdino.model.decoder import Decoder, Output
from groundingdino.model.enhancer import Enhancer, ImageFeatures
from groundingdino.model.layers import convolving, image_positions
from groundingdino.model.query_selection import QuerySelection
from groundingdino.model.text_encoder import TextEncoder, TextFeatures
from groundingdino.prompt import TextTokens


class GroundingDINO(nn.Module):
    """Open-set detector: a picture and a caption to boxes with a score for each token of the caption."""

    def __init__(self, config: GroundingDINOConfig):
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone)
        self.neck = Neck(self.backbone.channels, config.hidden_dim, config.num_levels)
        self.text_encoder = TextEncoder(config.text, config.hidden_dim)
        self.enhancer = Enhancer(config)
        self.query_selection = QuerySelection(config)
        self.decoder = Decoder(config)

    def forward(self, pixels: Tensor, padding_mask: Tensor, tokens: TextTokens) -> Output:
        """Pictures and captions to scores and boxes; see `encode_image`, `encode_text` and `ground`."""
        return self.ground(self.encode_image(pixels, padding_mask), self.encode_text(tokens))

    def encode_image(self, pixels: Tensor, padding_mask: Tensor) -> ImageFeatures:
        """The part that does not depend on the prompt.

        Args:
            pixels: (B, 3, H, W), RGB, normalised with ImageNet's mean and standard deviation, 0 on padding.
            padding_mask: (B, H, W) bool, True on padding, which is at the right and the bottom.
        """
        return self.neck(self.backbone(pixels), padding_mask)

    def encode_text(self, tokens: TextTokens) -> TextFeatures:
        """The part that does not depend on the picture."""
        return self.text_encoder(tokens)

    def ground(self, image: ImageFeatures, text: TextFeatures) -> Output:
        """Token scores (B, Q, T) and boxes (B, Q, 4) of the `num_queries` places that answer the text best."""
        image, text = self.enhancer(image, text)
        states = self.decoder(self.query_selection(image, text), image, text)
        return self.decoder.predict(states[-1], text)


class Neck(nn.Module):
    """Feature maps to image tokens: one projection per level; levels beyond the backbone's are strided convolutions."""

    def __init__(self, channels: tuple[int, ...], dim: int, num_levels: int):
        super().__init__()
        convolutions = [nn.Conv2d(count, dim, kernel_size=1) for count in channels]
        for level in range(num_levels - len(channels)):
            count = dim if level else channels[-1]
            convolutions.append(nn.Conv2d(count, dim, kernel_size=3, stride=2, padding=1))
        for convolution in convolutions:
            nn.init.xavier_uniform_(convolution.weight)
        self.projections = nn.ModuleList(nn.Sequential(conv, nn.GroupNorm(32, dim)) for conv in convolutions)
        self.level_embed = nn.Parameter(torch.randn(num_levels, dim))

    def forward(self, maps: list[Tensor], padding_mask: Tensor) -> ImageFeatures:
        """Maps (B, H, W, C) of rising stride and the picture's padding mask (B, H, W) to one record of tokens."""
        tokens, positions, masks, shapes = [], [], [], []
        device = padding_mask.device
        with convolving(device):
            projected = self.project(maps)
        if device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # Each of the enhancer's products would narrow the tokens anew.
            projected = [x.to(torch.get_autocast_dtype("cpu")) for x in projected]
        for level, level_map in enumerate(projected):
            mask = F.interpolate(padding_mask[:, None].float(), size=level_map.shape[-2:])[:, 0] > 0.5
            encoding = image_positions(mask, level_map.shape[1]) + self.level_embed[level]
            tokens.append(level_map.flatten(2).transpose(1, 2))
            positions.append(encoding.flatten(1, 2).to(level_map.dtype))
            masks.append(mask)
            shapes.append((level_map.shape[2], level_map.shape[3]))
        return ImageFeatures(
            tokens=torch.cat(tokens, dim=1),
            positions=torch.cat(positions, dim=1),
            padding_mask=torch.cat([mask.flatten(1) for mask in masks], dim=1),
            spatial_shapes=tuple(shapes),
            valid_ratios=torch.stack([valid_ratio(mask) for mask in masks], dim=1),
        )

    def project(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (B, H, W, C) to one of each level, (B, C', H', W')."""
        levels: list[Tensor] = []
        for level, projection in enumerate(self.projections):
            # The first level beyond the backbone's starts from its last map, each other one from the level before.
            x = levels[-1] if level > len(maps) else maps[min(level, len(maps) - 1)].permute(0, 3, 1, 2)
            levels.append(projection(x.to(next(projection.parameters()).dtype)))
        return levels


def valid_ratio(mask: Tensor) -> Tensor:
    """(B, 2): the share of width and height of a padding mask (B, H, W) that is picture."""
    height, width = mask.shape[1:]
    return torch.stack([(~mask[:, 0, :]).sum(-1) / width, (~mask[:, :, 0]).sum(-1) / height], dim=-1)
