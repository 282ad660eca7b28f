"""Image-to-text and text-to-image attention of the feature enhancer (section 3.2; after GLIP, arXiv 2112.03857)."""

import torch
from torch import Tensor, nn

# The published model keeps attention scores within this distance of their maximum, against overflow in half precision.
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

    def forward(self, image: Tensor, text: Tensor, padding_mask: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """What each image token takes from the text, (B, S, C), and each text token from the image, (B, T, C).

        As published, but for the order of its products: the three projections of image tokens are multiplied into the
        text tokens, which are few, so that no image tensor is `attention_dim` wide.
        """
        key, text_value = self._heads(self.text_key(text)), self._heads(self.text_value(text))  # (B, H, T, D)
        query_weight, query_bias = self._by_head(self.image_query)  # (H, D, C), (H, 1, D)
        image_key = (key @ query_weight * self.scale).flatten(1, 2)  # (B, H * T, C)
        shift = (key * query_bias).float().sum(-1) * self.scale  # (B, H, T)
        scores = (image_key @ image.transpose(1, 2)).float().unflatten(1, key.shape[1:3]) + shift[..., None]

        # (B, H, T, S)
        scores = (scores - scores.amax(dim=(-2, -1), keepdim=True)).clamp(min=-SCORE_RANGE)
        to_image = scores.masked_fill(~token_mask[:, None, :, None], -torch.inf).softmax(-2)
        scores = (scores - scores.amax(dim=-1, keepdim=True)).clamp(min=-SCORE_RANGE)
        to_text = scores.masked_fill(padding_mask[:, None, None, :], -torch.inf).softmax(-1)

        seen = (to_text.flatten(1, 2).to(image_key.dtype) @ image).unflatten(1, key.shape[1:3])  # (B, H, T, C)
        value_weight, value_bias = self._by_head(self.image_value)
        text_update = seen @ value_weight.transpose(-2, -1) + value_bias  # (B, H, T, D); the weights sum to one
        output_weight = self.image_output.weight.unflatten(1, (self.num_heads, -1)).permute(1, 2, 0)  # (H, D, C)
        told = (text_value @ output_weight).flatten(1, 2)  # (B, H * T, C)
        image_update = to_image.flatten(1, 2).transpose(1, 2).to(told.dtype) @ told + self.image_output.bias
        return image_update, self.text_output(text_update.transpose(1, 2).flatten(2))

    def _by_head(self, projection: nn.Linear) -> tuple[Tensor, Tensor]:
        """Weight (H, D, C) and bias (H, 1, D) of a projection to all heads."""
        return (
            projection.weight.unflatten(0, (self.num_heads, -1)),
            projection.bias.unflatten(0, (self.num_heads, 1, -1)),
        )

    def _heads(self, x: Tensor) -> Tensor:
        """(B, N, H * D) -> (B, H, N, D)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


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
        image, text = self.image_norm(image), self.text_norm(text)  # the residual starts from the normed side
        image_update, text_update = self.attention(image, text, padding_mask, token_mask)
        return image + self.image_gain * image_update, text + self.text_gain * text_update
