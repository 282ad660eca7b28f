"""Language-guided query selection: the image tokens that answer the text best become queries (section 3.3)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from groundingdino.config import GroundingDINOConfig
from groundingdino.model.enhancer import ImageFeatures, TextFeatures
from groundingdino.model.layers import MLP, by_rows


class Proposals(NamedTuple):
    """What every image token says of itself, before any is selected."""

    features: Tensor  # (B, S, C), what is compared with the text
    logits: Tensor  # (B, S, T), -inf on text padding
    boxes: Tensor  # (B, S, 4), logits of cxcywh in the picture


class Queries(NamedTuple):
    """What the decoder starts from."""

    content: Tensor  # (B, Q, C)
    boxes: Tensor  # (B, Q, 4), logits of cxcywh in the picture


def token_logits(features: Tensor, text: TextFeatures) -> Tensor:
    """(B, N, T) contrastive scores: dot products of features (B, N, C) with text tokens, -inf on text padding."""
    scores = (features @ text.features.transpose(-2, -1)).float()
    return scores.masked_fill(~text.tokens.token_mask[:, None], -torch.inf)


class QuerySelection(nn.Module):
    """Scores and boxes for every image token; the best `num_queries` are selected."""

    def __init__(self, config: GroundingDINOConfig):
        super().__init__()
        dim = config.hidden_dim
        self.num_queries = config.num_queries
        self.output = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.box_head = MLP(dim, dim, 4, num_layers=3)
        self.content = nn.Embedding(config.num_queries, dim)  # mixed selection: content is learned, not taken

    def forward(self, image: ImageFeatures, text: TextFeatures) -> Queries:
        """`select(propose(image, text))`, for which boxes of the selected tokens are enough."""
        anchors, usable = anchor_boxes(image)

        def score(tokens: Tensor, usable: Tensor) -> Tensor:
            return token_logits(self.describe(tokens, usable), text).amax(-1)

        width = image.tokens.shape[0] * image.tokens.shape[2]
        best = self._best(by_rows(score, image.tokens, usable, width=width))
        tokens, anchors, usable = (
            x.gather(1, best.expand(-1, -1, x.shape[2])) for x in (image.tokens, anchors, usable)
        )
        return self._queries(self.box_head(self.describe(tokens, usable)).float() + anchors)

    def propose(self, image: ImageFeatures, text: TextFeatures) -> Proposals:
        """A score for each text token and a box from every image token."""
        anchors, usable = anchor_boxes(image)
        features = self.describe(image.tokens, usable)
        return Proposals(features, token_logits(features, text), self.box_head(features).float() + anchors)

    def describe(self, tokens: Tensor, usable: Tensor) -> Tensor:
        """(B, S, C) image tokens to what is compared with the text; `usable` is of `anchor_boxes`."""
        return self.norm(self.output(tokens.masked_fill(~usable, 0)))

    def select(self, proposals: Proposals) -> Queries:
        """The queries of the best proposals; a picture with fewer tokens than queries gives as many as it has."""
        best = self._best(proposals.logits.amax(-1))
        return self._queries(proposals.boxes.gather(1, best.expand(-1, -1, 4)))

    def _best(self, scores: Tensor) -> Tensor:
        """(B, Q, 1): which of the tokens, by their scores (B, S), best first."""
        return scores.topk(min(self.num_queries, scores.shape[1]), dim=1).indices[..., None]

    def _queries(self, boxes: Tensor) -> Queries:
        return Queries(self.content.weight[: boxes.shape[1]].expand(boxes.shape[0], -1, -1), boxes.detach())


def anchor_boxes(image: ImageFeatures) -> tuple[Tensor, Tensor]:
    """A square around each image token as logits of cxcywh (B, S, 4), and which of them can be used (B, S, 1) bool.

    The square is 0.05 of the picture on the finest level and doubles with each; squares that touch the picture's edge
    or its padding are not used (inf), as in Deformable DETR's two-stage variant.
    """
    batch, device = image.tokens.shape[0], image.tokens.device
    areas = [height * width for height, width in image.spatial_shapes]
    anchors = []
    for level, ((height, width), mask) in enumerate(
        zip(image.spatial_shapes, image.padding_mask.split(areas, dim=1), strict=True)
    ):
        valid = ~mask.view(batch, height, width)
        valid_size = torch.stack([valid[:, 0, :].sum(-1), valid[:, :, 0].sum(-1)], -1)  # (B, 2) width, height
        y, x = torch.meshgrid(
            torch.arange(height, dtype=torch.float32, device=device),
            torch.arange(width, dtype=torch.float32, device=device),
            indexing="ij",
        )
        centre = (torch.stack([x, y], -1) + 0.5).view(1, -1, 2) / valid_size[:, None]
        anchors.append(torch.cat([centre, torch.full_like(centre, 0.05 * 2**level)], -1))
    boxes = torch.cat(anchors, dim=1)
    usable = ((boxes > 0.01) & (boxes < 0.99)).all(-1, keepdim=True) & ~image.padding_mask[..., None]
    return torch.log(boxes / (1 - boxes)).masked_fill(~usable, torch.inf), usable
