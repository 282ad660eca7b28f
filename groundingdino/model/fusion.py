"""Image-to-text and text-to-image attention of the feature enhancer (section 3.2; after GLIP, arXiv 2112.03857)."""

import torch
from torch import Tensor, nn

from groundingdino.model.layers import by_rows, fill, split_heads

# The published model keeps attention scores within this distance of a head's maximum, against overflow in half
# precision.
SCORE_RANGE = 50_000.0


class BiAttention(nn.Module):
    """One matrix of scores between image and text tokens, read along both of its sides."""

    def __init__(self, dim: int, attention_dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.scale = (attention_dim // num_heads) ** -0.5
        self.image_query = nn.Linear(dim, attention_dim)
        self.text_key = nn.Linear(dim, attention_dim)
        self.image_value = nn.Linear(dim, attention_dim)
        self.text_value = nn.Linear(dim, attention_dim)
        self.image_output = nn.Linear(attention_dim, dim)
        self.text_output = nn.Linear(attention_dim, dim)

    def forward(
        self,
        image: Tensor,
        text: Tensor,
        padding_mask: Tensor,
        token_mask: Tensor,
        image_gain: Tensor,
        text_gain: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Image tokens (B, S, C) and text tokens (B, T, C), with gain (C,) times what each takes from the other added.

        As published, but for the order of its products: the three projections of image tokens are multiplied into the
        text tokens, which are few, so that no image tensor is `attention_dim` wide.
        """
        key, text_value = (split_heads(x, self.num_heads) for x in (self.text_key(text), self.text_value(text)))
        grid = key.shape[1:3]  # of (B, H, T, D)
        query_weight, query_bias = self._by_head(self.image_query)  # (H, D, C), (H, 1, D)
        image_key = (key @ query_weight * self.scale).flatten(1, 2).transpose(1, 2)  # (B, C, H * T)
        shift = (key * query_bias).float().sum(-1).flatten(1)[:, None] * self.scale  # (B, 1, H * T)
        width = len(image) * max(image_key.shape[1:])
        scores = by_rows(lambda image: (image @ image_key).float() + shift, image, width=width)  # (B, S, H * T)
        least = scores.amax(1).unflatten(1, grid).amax(2, keepdim=True) - SCORE_RANGE
        least = least.expand(key.shape[:3]).flatten(1)[:, None]  # (B, 1, H * T)

        def take_from_image(scores: Tensor, least: Tensor) -> Tensor:
            """(B, N, S) scores of N text tokens in a head to what each takes from the image tokens, (B, N, C)."""
            shares = fill(torch.maximum(scores, least), padding_mask[:, None], -torch.inf).softmax(-1)
            return shares.to(image_key.dtype) @ image

        columns = scores.transpose(1, 2), least.transpose(1, 2)
        seen = by_rows(take_from_image, *columns, width=len(image) * image.shape[1]).unflatten(1, grid)  # (B, H, T, C)
        value_weight, value_bias = self._by_head(self.image_value)
        text_update = seen @ value_weight.transpose(-2, -1) + value_bias  # (B, H, T, D); the shares sum to one
        text_update = self.text_output(text_update.transpose(1, 2).flatten(2))

        output_weight = self.image_output.weight.unflatten(1, (self.num_heads, -1)).permute(1, 2, 0)  # (H, D, C)
        # The shares of a head sum to one, so that a part of the bias can go with each.
        told = text_value @ output_weight + self.image_output.bias / self.num_heads
        told = (told * image_gain).flatten(1, 2)  # (B, H * T, C)

        def take_from_text(image: Tensor, scores: Tensor) -> Tensor:
            """(B, N, C) image tokens and their scores (B, N, H * T) to the tokens with what they take from the text."""
            scores = fill(torch.maximum(scores, least).unflatten(2, grid), ~token_mask[:, None, None], -torch.inf)
            return image + scores.softmax(-1).flatten(2).to(told.dtype) @ told

        return by_rows(take_from_text, image, scores, width=width), text + text_gain * text_update

    def _by_head(self, projection: nn.Linear) -> tuple[Tensor, Tensor]:
        """Weight (H, D, C) and bias (H, 1, D) of a projection to all heads."""
        return (
            projection.weight.unflatten(0, (self.num_heads, -1)),
            projection.bias.unflatten(0, (self.num_heads, 1, -1)),
        )


class Fusion(nn.Module):
    """Bi-attention added to both sides with a learned gain per channel."""

    def __init__(self, dim: int, attention_dim: int, num_heads: int):
        super().__init__()
        self.image_norm = nn.LayerNorm(dim)
        self.text_norm = nn.LayerNorm(dim)
        self.attention = BiAttention(dim, attention_dim, num_heads)
        self.image_gain = nn.Parameter(torch.full((dim,), 1e-4))
        self.text_gain = nn.Parameter(torch.full((dim,), 1e-4))

    def forward(self, image: Tensor, text: Tensor, padding_mask: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Image tokens (B, S, C) and text tokens (B, T, C) that know of each other."""
        # The residual starts from the normed side.
        image, text = by_rows(self.image_norm, image, width=image.numel() // image.shape[1]), self.text_norm(text)
        return self.attention(image, text, padding_mask, token_mask, self.image_gain, self.text_gain)
