"""Image-to-text and text-to-image attention of the feature enhancer (section 3.2; after GLIP, arXiv 2112.03857)."""

import torch
from torch import Tensor, nn

from groundingdino.model.layers import fill, merge_heads, split_heads

# The published model keeps attention scores within this distance of a head's maximum, against overflow in half
# precision.
SCORE_RANGE = 50_000.0


class BiAttention(nn.Module):
    """One matrix of scores between image and text tokens, read along both of its sides.

    `published` is its definition, `folded` computes the same in another order of products, and `folding_pays` says
    which of them takes fewer: for the published sizes it is always the second.
    """

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
        """What each side takes from the other.

        Args:
            image: (B, S, C) image tokens.
            text: (B, T, C) text tokens.
            padding_mask: (B, S) bool, True on padding, from which the text takes nothing.
            token_mask: (B, T) bool, True on real tokens, which are all that the image takes from.

        Returns:
            Updates of the image tokens (B, S, C) and of the text tokens (B, T, C).
        """
        attend = self.folded if self.folding_pays(text.shape[1]) else self.published
        return attend(image, text, padding_mask, token_mask)

    def folding_pays(self, tokens: int) -> bool:
        """Whether `folded` multiplies less than `published` for each image token, for a text of `tokens` tokens."""
        attention_dim, dim = self.image_query.weight.shape
        return self.num_heads * tokens * dim < attention_dim * (dim + tokens)  # of three products each

    def published(self, image: Tensor, text: Tensor, padding_mask: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides are projected to the attention's width A = H * D first. Arguments and results as `forward`'s."""
        query = split_heads(self.image_query(image) * self.scale, self.num_heads)  # (B, H, S, D)
        key = split_heads(self.text_key(text), self.num_heads)  # (B, H, T, D)
        image_value = split_heads(self.image_value(image), self.num_heads)  # (B, H, S, D)
        text_value = split_heads(self.text_value(text), self.num_heads)  # (B, H, T, D)

        from_text, from_image = attention_weights(query @ key.mT, padding_mask, token_mask)  # (B, H, S, T) both
        image_update = merge_heads(from_text.to(text_value.dtype) @ text_value)  # (B, S, A)
        text_update = merge_heads(from_image.to(image_value.dtype).mT @ image_value)  # (B, T, A)
        return self.image_output(image_update), self.text_output(text_update)

    def folded(self, image: Tensor, text: Tensor, padding_mask: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The image's projections are multiplied into the text, whose tokens are few: none is made of image tokens.

        With W and b for weights and biases, of each head:

            query @ key.T                = image @ (Wq.T @ key.T) + bq @ key.T
            from_image.T @ image_value   = (from_image.T @ image) @ Wv.T + bv    since its weights sum to one
            (from_text @ text_value) @ Wo.T + bo = from_text @ (text_value @ Wo.T + bo / H)    since so do these
        """
        heads = self.num_heads
        key = split_heads(self.text_key(text), heads)  # (B, H, T, D)
        text_value = split_heads(self.text_value(text), heads)  # (B, H, T, D)
        query_weight, query_bias = self.image_query.weight.unflatten(0, (heads, -1)), self.image_query.bias
        value_weight, value_bias = self.image_value.weight.unflatten(0, (heads, -1)), self.image_value.bias
        output_weight = self.image_output.weight.unflatten(1, (heads, -1)).permute(1, 2, 0)  # (H, D, C)

        folded_key = key @ query_weight * self.scale  # (B, H, T, C)
        shift = (key * query_bias.view(heads, 1, -1)).float().sum(-1)[:, :, None] * self.scale  # (B, H, 1, T)
        scores = image @ folded_key.flatten(1, 2).mT  # (B, S, H * T)
        scores = split_heads(scores, heads).float() + shift  # (B, H, S, T)
        from_text, from_image = attention_weights(scores, padding_mask, token_mask)  # (B, H, S, T) both

        context = from_image.to(image.dtype).transpose(2, 3).flatten(1, 2) @ image  # (B, H * T, C)
        context = context.unflatten(1, (heads, -1)) @ value_weight.mT + value_bias.view(heads, 1, -1)  # (B, H, T, D)
        folded_value = text_value @ output_weight + self.image_output.bias / heads  # (B, H, T, C)
        image_update = merge_heads(from_text).to(image.dtype) @ folded_value.flatten(1, 2)  # (B, S, C)
        return image_update, self.text_output(merge_heads(context))


def attention_weights(scores: Tensor, padding_mask: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B, H, S, T) to weights of the text tokens for each image token, and of the image tokens for each text's.

    Returns:
        (B, H, S, T) float32 both; the first sum to one over T, the second over S.
    """
    scores = scores.float()
    scores = torch.maximum(scores, scores.amax((2, 3), keepdim=True) - SCORE_RANGE)
    from_text = fill(scores, ~token_mask[:, None, None], -torch.inf).softmax(3)
    from_image = fill(scores, padding_mask[:, None, :, None], -torch.inf).softmax(2)
    return from_text, from_image


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
        """Image tokens (B, S, C) and text tokens (B, T, C) that know of each other; masks as in `BiAttention`."""
        # As published, the residual starts from what the norms give.
        image, text = self.image_norm(image), self.text_norm(text)
        image_update, text_update = self.attention(image, text, padding_mask, token_mask)
        return torch.addcmul(image, self.image_gain, image_update), text + self.text_gain * text_update
