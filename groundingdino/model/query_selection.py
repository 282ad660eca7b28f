"""Language-guided query selection: the image tokens that answer the text best become queries (section 3.3)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from groundingdino.model.config import GroundingDINOConfig
from groundingdino.model.layers import MLP, by_rows
from groundingdino.model.neck import ImageFeatures
from groundingdino.model.text_encoder import TextFeatures


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
    # In bfloat16 a score of 60 has neighbours 0.25 away: of 900 queries all but a few would tie with others.
    scores = features.float() @ text.features.float().transpose(-2, -1)
    scores = scores.float()  # in training autocast narrows them all the same
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

        def score(tokens: Tensor, usable: Tensor) -> Tensor:
            return token_logits(self.describe(tokens, usable), text).amax(-1)

        width = image.tokens.shape[0] * image.tokens.shape[2]
        best = self._best(by_rows(score, image.tokens, image.usable, width=width))
        tokens, anchors, usable = (
            x.gather(1, best.expand(-1, -1, x.shape[2])) for x in (image.tokens, image.anchors, image.usable)
        )
        return self._queries(self.box_head(self.describe(tokens, usable)).float() + anchors)

    def propose(self, image: ImageFeatures, text: TextFeatures) -> Proposals:
        """A score for each text token and a box from every image token."""
        features = self.describe(image.tokens, image.usable)
        return Proposals(features, token_logits(features, text), self.box_head(features).float() + image.anchors)

    def describe(self, tokens: Tensor, usable: Tensor) -> Tensor:
        """(B, S, C) image tokens to what is compared with the text; `usable` (B, S, 1) as the picture's."""
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
