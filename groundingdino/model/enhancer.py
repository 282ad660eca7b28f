"""Feature enhancer: image and text tokens made aware of each other and of themselves (paper section 3.2)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from groundingdino.config import GroundingDINOConfig
from groundingdino.model.deformable_attention import DeformableAttention
from groundingdino.model.fusion import Fusion
from groundingdino.model.layers import FeedForward, by_rows, sine_encoding
from groundingdino.model.text_encoder import TextFeatures
from groundingdino.prompt import TextTokens


class ImageFeatures(NamedTuple):
    """A batch of encoded pictures: everything that depends on the picture alone."""

    tokens: Tensor  # (B, S, C), the levels one after the other
    positions: Tensor  # (B, S, C), position and level encodings
    padding_mask: Tensor  # (B, S) bool, True on padding
    spatial_shapes: tuple[tuple[int, int], ...]  # (height, width) of each level
    valid_ratios: Tensor  # (B, L, 2), (width, height) share of each padded level that is picture


class TextLayer(nn.Module):
    """Self-attention among the words of a phrase."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.norm1 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, text: Tensor, positions: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T, C) to the same; `attention_mask` (B, T, T), True where a row may attend a column."""
        query = text + positions
        blocked = (~attention_mask).repeat_interleave(self.self_attn.num_heads, dim=0)
        text = self.norm1(text + self.self_attn(query, query, text, attn_mask=blocked, need_weights=False)[0])
        return self.norm2(self.ffn(text))


class ImageLayer(nn.Module):
    """Deformable self-attention among image tokens."""

    def __init__(self, config: GroundingDINOConfig):
        super().__init__()
        dim = config.hidden_dim
        self.self_attn = DeformableAttention(dim, config.num_heads, config.num_levels, config.num_points)
        self.norm1 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, config.ffn_dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, reference: Tensor, image: ImageFeatures) -> Tensor:
        """(B, S, C) to the same; `reference` (B, S, L, 2) is each token's own place."""
        value = self.self_attn.project(tokens, image.padding_mask)

        def attend(tokens: Tensor, positions: Tensor, reference: Tensor) -> Tensor:
            attended = self.self_attn(tokens + positions, reference, value, image.spatial_shapes)
            return self.norm2(self.ffn(self.norm1(tokens + attended)))

        width = tokens.shape[0] * self.ffn.linear1.out_features
        return by_rows(attend, tokens, image.positions, reference, width=width)


class EnhancerLayer(nn.Module):
    """Fusion first, then each side by itself."""

    def __init__(self, config: GroundingDINOConfig):
        super().__init__()
        dim = config.hidden_dim
        self.fusion = Fusion(dim, config.fusion_dim, config.fusion_heads)
        self.text = TextLayer(dim, config.fusion_heads, config.fusion_dim)
        self.image = ImageLayer(config)

    def forward(
        self,
        image_tokens: Tensor,
        text_tokens: Tensor,
        text_positions: Tensor,
        reference: Tensor,
        image: ImageFeatures,
        tokens: TextTokens,
    ) -> tuple[Tensor, Tensor]:
        """Image tokens (B, S, C) and text tokens (B, T, C) to the same."""
        image_tokens, text_tokens = self.fusion(image_tokens, text_tokens, image.padding_mask, tokens.token_mask)
        text_tokens = self.text(text_tokens, text_positions, tokens.attention_mask)
        return self.image(image_tokens, reference, image), text_tokens


class Enhancer(nn.Module):
    """A stack of enhancer layers."""

    def __init__(self, config: GroundingDINOConfig):
        super().__init__()
        self.layers = nn.ModuleList(EnhancerLayer(config) for _ in range(config.enhancer_layers))

    def forward(self, image: ImageFeatures, text: TextFeatures) -> tuple[ImageFeatures, TextFeatures]:
        """The same records with enhanced tokens and features."""
        reference = token_centres(image)
        image_tokens, text_tokens = image.tokens, text.features
        text_positions = sine_encoding(text.tokens.position_ids, text_tokens.shape[-1]).to(text_tokens.dtype)
        for layer in self.layers:
            image_tokens, text_tokens = layer(image_tokens, text_tokens, text_positions, reference, image, text.tokens)
        return image._replace(tokens=image_tokens), text._replace(features=text_tokens)


def token_centres(image: ImageFeatures) -> Tensor:
    """(B, S, L, 2): the centre of each image token, x and y in [0, 1] of every padded level."""
    centres = []
    for level, (height, width) in enumerate(image.spatial_shapes):
        y, x = torch.meshgrid(
            torch.linspace(0.5, height - 0.5, height, device=image.tokens.device) / height,
            torch.linspace(0.5, width - 0.5, width, device=image.tokens.device) / width,
            indexing="ij",
        )
        centres.append(torch.stack([x, y], -1).view(1, -1, 2) / image.valid_ratios[:, level, None])
    return torch.cat(centres, dim=1)[:, :, None] * image.valid_ratios[:, None]
