"""Cross-modality decoder: queries look at each other, at the text and at the image, and refine boxes (section 3.4)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from groundingdino.model.deformable_attention import DeformableAttention
from groundingdino.model.layers import MLP, Attention, FeedForward, box_positions, logit
from groundingdino.model.neck import ImageFeatures
from groundingdino.model.query_selection import ClassHead, Queries
from groundingdino.model.text_encoder import TextFeatures


class Output(NamedTuple):
    """Detections of a batch, before any threshold."""

    logits: Tensor  # (B, Q, T), -inf on text padding
    boxes: Tensor  # (B, Q, 4), cxcywh in [0, 1] of the picture without its padding


class State(NamedTuple):
    """What a decoder layer gives."""

    hidden: Tensor  # (B, Q, C), before the norm
    boxes: Tensor  # (B, Q, 4), that it refines
    layer: int


class DecoderLayer(nn.Module):
    """Self-attention, text cross-attention, image cross-attention, feed-forward, each with residual and norm."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, num_levels: int, num_points: int):
        super().__init__()
        self.self_attn = Attention(dim, num_heads)
        self.self_norm = nn.LayerNorm(dim)
        self.text_attn = Attention(dim, num_heads)
        self.text_norm = nn.LayerNorm(dim)
        self.image_attn = DeformableAttention(dim, num_heads, num_levels, num_points)
        self.image_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim)
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
        """Queries (B, Q, C) to the same.

        Args:
            positions: (B, Q, C), encodings of the boxes.
            reference: (B, Q, L, 4), the boxes on each padded level.
            blocked: (Q, Q) bool, True where a query must not attend to another.
        """
        query = key = x + positions
        x = self.self_norm(x + self.self_attn(query, key, x, None if blocked is None else ~blocked))

        words, token_mask = text.features, text.tokens.token_mask[:, None, None]
        x = self.text_norm(x + self.text_attn(x + positions, words, words, token_mask))

        value = self.image_attn.project(image.tokens, image.padding_mask)  # (B, S, H, D)
        x = self.image_norm(x + self.image_attn(x + positions, reference, value, image.spatial_shapes))
        return self.ffn_norm(self.ffn(x))


class Decoder(nn.Module):
    """A stack of decoder layers, with heads for boxes and scores: one for all layers, as published, or one for each.

    Args:
        dim: C, of queries, image and text tokens.
        heads: of all attention.
        ffn_dim: hidden width of the feed-forward.
        levels, points: L and P of deformable attention.
        logit_eps: how near to 0 and 1 a box's numbers may come before refinement takes their logits.
        own_heads: whether each layer has heads of its own.
        scaled_scores: as `ClassHead` has it.
    """

    def __init__(
        self,
        *,
        layers: int,
        dim: int,
        heads: int,
        ffn_dim: int,
        levels: int,
        points: int,
        logit_eps: float,
        own_heads: bool = False,
        scaled_scores: bool = False,
    ):
        super().__init__()
        self.logit_eps = logit_eps
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, ffn_dim, levels, points) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.position_head = MLP(2 * dim, dim, dim, num_layers=2)
        # Of the last layer, and of every other that has none among the earlier ones.
        self.box_head = MLP(dim, dim, 4, num_layers=3)
        self.class_head = ClassHead(dim=dim, scaled=scaled_scores)
        earlier = range(layers - 1 if own_heads else 0)
        self.earlier_box_heads = nn.ModuleList(MLP(dim, dim, 4, num_layers=3) for _ in earlier)
        self.earlier_class_heads = nn.ModuleList(ClassHead(dim=dim, scaled=scaled_scores) for _ in earlier)

    def forward(
        self, queries: Queries, image: ImageFeatures, text: TextFeatures, blocked: Tensor | None = None
    ) -> list[State]:
        """What each layer gives.

        `blocked` (Q, Q) bool is True where a query must not attend to another; training has such.
        """
        ratios = torch.cat([image.valid_ratios, image.valid_ratios], -1)[:, None]  # (B, 1, L, 4)
        x, boxes = queries.content.to(image.tokens.dtype), queries.box_logits.sigmoid()
        states, start = [], boxes
        for index, layer in enumerate(self.layers):
            reference = boxes[:, :, None] * ratios  # (B, Q, L, 4)
            encoding = box_positions(reference[:, :, 0], x.shape[2])  # (B, Q, 2 * C), on the finest level
            positions = self.position_head(encoding.to(self.norm.weight.dtype)).to(x.dtype)  # (B, Q, C)
            x = layer(x, positions, reference, image, text, blocked)
            states.append(State(x, start, index))
            if index < len(self.layers) - 1:
                # Refinement reads the state before the norm, the output heads after it, as published. Without the
                # next layer's gradient nothing would teach it ("look forward twice", arXiv 2203.03605, section 3.5).
                start = self.refine(x, boxes, index)
                boxes = start.detach()
        return states

    def refine(self, x: Tensor, boxes: Tensor, layer: int) -> Tensor:
        """Boxes (B, Q, 4) in [0, 1] moved by what the states (B, Q, C) of a layer say."""
        box_head = self.earlier_box_heads[layer] if layer < len(self.earlier_box_heads) else self.box_head
        return (box_head(x).float() + logit(boxes, self.logit_eps)).sigmoid()

    def predict(self, state: State, text: TextFeatures) -> Output:
        """Token scores and boxes of one layer."""
        hidden, layer = self.norm(state.hidden), state.layer
        class_head = self.earlier_class_heads[layer] if layer < len(self.earlier_class_heads) else self.class_head
        return Output(class_head(hidden, text), self.refine(hidden, state.boxes, layer))
