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
        """What each image token takes from the text, (B, S, C), and each text token from the image, (B, T, C)."""
        query = self._heads(self.image_query(image) * self.scale)  # (B, H, S, D)
        key = self._heads(self.text_key(text))  # (B, H, T, D)
        scores = (query @ key.transpose(-2, -1)).float()  # (B, H, S, T)
        scores = (scores - scores.amax(dim=(-2, -1), keepdim=True)).clamp(min=-SCORE_RANGE)
        columns = scores.transpose(-2, -1)  # (B, H, T, S)
        columns = (columns - columns.amax(dim=-1, keepdim=True)).clamp(min=-SCORE_RANGE)
        to_text = columns.masked_fill(padding_mask[:, None, None, :], -torch.inf).softmax(-1)
        to_image = scores.masked_fill(~token_mask[:, None, None, :], -torch.inf).softmax(-1)
        text_value, image_value = self._heads(self.text_value(text)), self._heads(self.image_value(image))
        image_update = (to_image.to(text_value.dtype) @ text_value).transpose(1, 2).flatten(2)
        text_update = (to_text.to(image_value.dtype) @ image_value).transpose(1, 2).flatten(2)
        return self.image_output(image_update), self.text_output(text_update)

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
