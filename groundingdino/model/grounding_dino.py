"""Grounding DINO (arXiv 2303.05499), the whole model: figure 3 of the paper, top to bottom."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from groundingdino.model.backbones import build_backbone
from groundingdino.model.config import GroundingDINOConfig
from groundingdino.model.decoder import Decoder, Output
from groundingdino.model.enhancer import Enhancer
from groundingdino.model.neck import ImageFeatures, Neck
from groundingdino.model.query_selection import QuerySelection
from groundingdino.model.text_encoder import TextEncoder, TextFeatures
from groundingdino.model.text_tokens import TextTokens


class GroundingDINO(nn.Module):
    """Open-set detector: a picture and a caption to boxes with a score for each token of the caption."""

    def __init__(self, config: GroundingDINOConfig):
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone)
        self.neck = Neck(self.backbone.channels, dim=config.hidden_dim, levels=config.num_levels)
        self.text_encoder = TextEncoder(config.text, dim=config.hidden_dim)
        self.enhancer = Enhancer(
            layers=config.enhancer_layers,
            dim=config.hidden_dim,
            heads=config.num_heads,
            ffn_dim=config.ffn_dim,
            fusion_dim=config.fusion_dim,
            fusion_heads=config.fusion_heads,
            levels=config.num_levels,
            points=config.num_points,
        )
        self.query_selection = QuerySelection(
            dim=config.hidden_dim, queries=config.num_queries, scaled_scores=config.scaled_scores
        )
        self.decoder = Decoder(
            layers=config.decoder_layers,
            dim=config.hidden_dim,
            heads=config.num_heads,
            ffn_dim=config.ffn_dim,
            levels=config.num_levels,
            points=config.num_points,
            logit_eps=config.logit_eps,
            own_heads=config.own_heads,
            scaled_scores=config.scaled_scores,
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights of the prompt's side, in which it computes; `precision.in_bfloat16` narrows them all alike."""
        return self.decoder.norm.weight.dtype

    def forward(self, pixels: Tensor, padding_mask: Tensor, tokens: TextTokens) -> Output:
        """Pictures and captions to scores and boxes; see `encode_image`, `encode_text` and `ground`."""
        return self.ground(self.encode_image(pixels, padding_mask), self.encode_text(tokens))

    def encode_image(self, pixels: Tensor, padding_mask: Tensor) -> ImageFeatures:
        """The part that does not depend on the prompt.

        Args:
            pixels: (B, 3, H, W), RGB, normalised with ImageNet's mean and standard deviation, 0 on padding.
            padding_mask: (B, H, W) bool, True on padding, which is at the right and the bottom.
        """
        # In a model kept in bfloat16 sums of the image side stay in float32: there most of bfloat16's error comes from.
        narrow = self.dtype == torch.bfloat16
        with torch.autocast(pixels.device.type, torch.bfloat16) if narrow else nullcontext():
            return self.neck(self.backbone(pixels), padding_mask)

    def encode_text(self, tokens: TextTokens) -> TextFeatures:
        """The part that does not depend on the picture."""
        return self.text_encoder(tokens)

    def ground(self, image: ImageFeatures, text: TextFeatures) -> Output:
        """Token scores (B, Q, T) and boxes (B, Q, 4) of the `num_queries` places that answer the text best."""
        return self.describe(image, text)[1]

    def describe(self, image: ImageFeatures, text: TextFeatures) -> tuple[Tensor, Output]:
        """States of the places, (B, Q, C), before the last norm, and the scores and boxes `ground` makes of them."""
        image, text = self.enhancer(image, text)
        state = self.decoder(self.query_selection(image, text), image, text)[-1]
        return state.hidden, self.decoder.predict(state, text)
