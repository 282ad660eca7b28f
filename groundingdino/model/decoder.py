"""Cross-modality decoder: queries look at each other, at the text and at the image, and refine boxes (section 3.4)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from groundingdino.model.config import GroundingDINOConfig
from groundingdino.model.deformable_attention import DeformableAttention
from groundingdino.model.layers import MLP, Attention, FeedForward, box_positions, by_rows, logit
from groundingdino.model.neck import ImageFeatures
from groundingdino.model.query_selection import Queries, token_logits
from groundingdino.model.text_encoder import TextFeatures


class Output(NamedTuple):
    """Detections of a batch, before any threshold."""

    logits: Tensor  # (B, Q, T), -inf on text padding
    boxes: Tensor  # (B, Q, 4), cxcywh in [0, 1] of the picture without its padding


class DecoderLayer(nn.Module):
    """Self-attention, text cross-attention, image cross-attention, perceptron, each with residual and norm."""

    def __init__(self, config: GroundingDINOConfig):
        super().__init__()
        dim, heads = config.hidden_dim, config.num_heads
        self.self_attn = Attention(dim, heads)
        self.self_norm = nn.LayerNorm(dim)
        self.text_attn = Attention(dim, heads)
        self.text_norm = nn.LayerNorm(dim)
        self.image_attn = DeformableAttention(dim, heads, config.num_levels, config.num_points)
        self.image_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, config.ffn_dim)
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        reference: Tensor,
        image: ImageFeatures,
        text: TextFeatures,
        blocked: Tensor | None,
    ) -> Tensor:
        """(B, Q, C) to the same.

        `positions` (B, Q, C) encodes the boxes, `reference` (B, Q, L, 4) is them on each padded level; `blocked`
        (Q, Q) bool is True where a query must not see another.
        """
        projected = by_rows(self.project, x, positions, width=3 * len(x) * x.shape[2])
        query, key, content = projected.chunk(3, dim=-1)
        text_key, text_content = self.text_attn.project(text.features, "key", "value")
        token_mask = text.tokens.token_mask[:, None, None]
        value = self.image_attn.project(image.tokens, image.padding_mask)

        def decode(
            x: Tensor, positions: Tensor, query: Tensor, reference: Tensor, blocked: Tensor | None = None
        ) -> Tensor:
            x = self.self_norm(x + self.self_attn(query, key, content, None if blocked is None else ~blocked[0]))
            (text_query,) = self.text_attn.project(x + positions, "query")
            x = self.text_norm(x + self.text_attn(text_query, text_key, text_content, token_mask))
            x = self.image_norm(x + self.image_attn(x + positions, reference, value, image.spatial_shapes))
            return self.ffn_norm(self.ffn(x))

        inputs = [x, positions, query, reference]
        if blocked is not None:
            inputs.append(blocked[None])
        return by_rows(decode, *inputs, width=len(x) * self.ffn.linear1.out_features)

    def project(self, x: Tensor, positions: Tensor) -> Tensor:
        """(B, Q, C) to what self-attention asks, is asked and answers with, (B, Q, 3 * C)."""
        asking = self.self_attn.project(x + positions, "query", "key")
        return torch.cat([*asking, *self.self_attn.project(x, "value")], dim=-1)


class Decoder(nn.Module):
    """A stack of decoder layers; one box head, shared by all of them as published."""

    def __init__(self, config: GroundingDINOConfig):
        super().__init__()
        dim = config.hidden_dim
        self.logit_eps = config.logit_eps
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(dim)
        self.position_head = MLP(2 * dim, dim, dim, num_layers=2)
        self.box_head = MLP(dim, dim, 4, num_layers=3)

    def forward(
        self, queries: Queries, image: ImageFeatures, text: TextFeatures, blocked: Tensor | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """Hidden states (B, Q, C), before the norm, and the boxes (B, Q, 4) they refine, for each layer."""
        ratios = torch.cat([image.valid_ratios, image.valid_ratios], -1)[:, None]  # (B, 1, L, 4)
        x, boxes = queries.content.to(image.tokens.dtype), queries.boxes.sigmoid()
        states, start = [], boxes
        for index, layer in enumerate(self.layers):
            reference = boxes[:, :, None] * ratios
            positions = by_rows(self.place, reference, width=2 * x.shape[0] * x.shape[2]).to(x.dtype)
            x = layer(x, positions, reference, image, text, blocked)
            states.append((x, start))
            if index < len(self.layers) - 1:
                # Refinement reads the state before the norm, the output heads after it, as published. Without the
                # next layer's gradient nothing would teach it ("look forward twice", arXiv 2203.03605, section 3.5).
                start = by_rows(self.refine, x, boxes, width=x.shape[0] * x.shape[2])
                boxes = start.detach()
        return states

    def place(self, reference: Tensor) -> Tensor:
        """Encodings (B, Q, C) of boxes (B, Q, L, 4) on the finest level."""
        encoding = box_positions(reference[:, :, 0], self.norm.normalized_shape[0])
        return self.position_head(encoding.to(self.norm.weight.dtype))

    def refine(self, x: Tensor, boxes: Tensor) -> Tensor:
        """Boxes (B, Q, 4) in [0, 1] moved by what the states (B, Q, C) say."""
        return (self.box_head(x).float() + logit(boxes, self.logit_eps)).sigmoid()

    def predict(self, state: tuple[Tensor, Tensor], text: TextFeatures) -> Output:
        """Token scores and boxes of one layer."""
        hidden, boxes = self.norm(state[0]), state[1]
        return Output(token_logits(hidden, text), self.refine(hidden, boxes))
