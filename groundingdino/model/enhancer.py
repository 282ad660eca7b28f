"""Feature enhancer: image and text tokens made aware of each other and of themselves (paper section 3.2)."""

from torch import Tensor, nn

from groundingdino.model.deformable_attention import DeformableAttention
from groundingdino.model.fusion import Fusion
from groundingdino.model.layers import Attention, FeedForward
from groundingdino.model.neck import ImageFeatures
from groundingdino.model.text_encoder import TextFeatures


class TextLayer(nn.Module):
    """Self-attention among the words of a phrase."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int):
        super().__init__()
        self.self_attn = Attention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Text tokens (B, T, C) to the same, with positions and mask of `text`."""
        query = key = x + text.positions
        x = self.norm1(x + self.self_attn(query, key, x, text.tokens.attention_mask[:, None]))
        return self.norm2(self.ffn(x))


class ImageLayer(nn.Module):
    """Deformable self-attention among image tokens."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, num_levels: int, num_points: int):
        super().__init__()
        self.self_attn = DeformableAttention(dim, num_heads, num_levels, num_points)
        self.norm1 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, image: ImageFeatures) -> Tensor:
        """Image tokens (B, S, C) to the same, with places and padding of `image`: each samples around its own place."""
        value = self.self_attn.project(x, image.padding_mask)  # (B, S, H, D)
        x = self.norm1(x + self.self_attn(x + image.positions, image.centres, value, image.spatial_shapes))
        return self.norm2(self.ffn(x))


class EnhancerLayer(nn.Module):
    """Fusion first, then each side by itself."""

    def __init__(self, fusion: Fusion, text: TextLayer, image: ImageLayer):
        super().__init__()
        self.fusion, self.text, self.image = fusion, text, image

    def forward(self, image: ImageFeatures, text: TextFeatures) -> tuple[ImageFeatures, TextFeatures]:
        """The same records with other tokens and features."""
        image_tokens, words = self.fusion(image.tokens, text.features, image.padding_mask, text.tokens.token_mask)
        return image._replace(tokens=self.image(image_tokens, image)), text._replace(features=self.text(words, text))


class Enhancer(nn.Module):
    """A stack of enhancer layers.

    Args:
        dim: C, of image and text tokens.
        heads: of deformable attention; fusion and text layers have `fusion_heads`.
        ffn_dim: hidden width of the image's feed-forward; attention of fusion and the text's feed-forward have
            `fusion_dim`.
        levels, points: L and P of deformable attention.
    """

    def __init__(
        self,
        *,
        layers: int,
        dim: int,
        heads: int,
        ffn_dim: int,
        fusion_dim: int,
        fusion_heads: int,
        levels: int,
        points: int,
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            EnhancerLayer(
                Fusion(dim, fusion_dim, fusion_heads),
                TextLayer(dim, fusion_heads, ffn_dim=fusion_dim),
                ImageLayer(dim, heads, ffn_dim, levels, points),
            )
            for _ in range(layers)
        )

    def forward(self, image: ImageFeatures, text: TextFeatures) -> tuple[ImageFeatures, TextFeatures]:
        """The same records with enhanced tokens (B, S, C) and features (B, T, C)."""
        for layer in self.layers:
            image, text = layer(image, text)
        return image, text
