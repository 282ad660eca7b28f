"""Feature enhancer: image and text tokens made aware of each other and of themselves (paper section 3.2)."""

from torch import Tensor, nn

from groundingdino.model.config import GroundingDINOConfig
from groundingdino.model.deformable_attention import DeformableAttention
from groundingdino.model.fusion import Fusion
from groundingdino.model.layers import Attention, FeedForward, by_rows, sine_encoding
from groundingdino.model.neck import ImageFeatures
from groundingdino.model.text_encoder import TextFeatures
from groundingdino.model.text_tokens import TextTokens


class TextLayer(nn.Module):
    """Self-attention among the words of a phrase."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int):
        super().__init__()
        self.self_attn = Attention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, text: Tensor, positions: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T, C) to the same; `attention_mask` (B, T, T), True where a row may attend a column."""
        query, key = self.self_attn.project(text + positions, "query", "key")
        (value,) = self.self_attn.project(text, "value")
        text = self.norm1(text + self.self_attn(query, key, value, attention_mask[:, None]))
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

    def forward(self, tokens: Tensor, image: ImageFeatures) -> Tensor:
        """(B, S, C) to the same; each token looks around its own place."""
        value = self.self_attn.project(tokens, image.padding_mask)

        def attend(tokens: Tensor, positions: Tensor, reference: Tensor) -> Tensor:
            attended = self.self_attn(tokens + positions, reference, value, image.spatial_shapes)
            return self.norm2(self.ffn(self.norm1(tokens + attended)))

        width = tokens.shape[0] * self.ffn.linear1.out_features
        return by_rows(attend, tokens, image.positions, image.centres, width=width)


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
        image: ImageFeatures,
        tokens: TextTokens,
    ) -> tuple[Tensor, Tensor]:
        """Image tokens (B, S, C) and text tokens (B, T, C) to the same."""
        image_tokens, text_tokens = self.fusion(image_tokens, text_tokens, image.padding_mask, tokens.token_mask)
        text_tokens = self.text(text_tokens, text_positions, tokens.attention_mask)
        return self.image(image_tokens, image), text_tokens


class Enhancer(nn.Module):
    """A stack of enhancer layers."""

    def __init__(self, config: GroundingDINOConfig):
        super().__init__()
        self.layers = nn.ModuleList(EnhancerLayer(config) for _ in range(config.enhancer_layers))

    def forward(self, image: ImageFeatures, text: TextFeatures) -> tuple[ImageFeatures, TextFeatures]:
        """The same records with enhanced tokens and features."""
        image_tokens, text_tokens = image.tokens, text.features
        text_positions = sine_encoding(text.tokens.position_ids, text_tokens.shape[-1]).to(text_tokens.dtype)
        for layer in self.layers:
            image_tokens, text_tokens = layer(image_tokens, text_tokens, text_positions, image, text.tokens)
        return image._replace(tokens=image_tokens), text._replace(features=text_tokens)
