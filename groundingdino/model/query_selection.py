"""Language-guided query selection: the image tokens that answer the text best become queries (section 3.3)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from groundingdino.model.layers import MLP
from groundingdino.model.neck import ImageFeatures
from groundingdino.model.text_encoder import TextFeatures


class Proposals(NamedTuple):
    """A prediction from every image token, before any is selected."""

    features: Tensor  # (B, S, C), what is compared with the text
    logits: Tensor  # (B, S, T), -inf on text padding
    box_logits: Tensor  # (B, S, 4); their sigmoid is cxcywh in [0, 1] of the picture


class Queries(NamedTuple):
    """What the decoder starts from."""

    content: Tensor  # (B, Q, C)
    box_logits: Tensor  # (B, Q, 4); their sigmoid is cxcywh in [0, 1] of the picture


class ClassHead(nn.Module):
    """Contrastive scores: dot products of features with text tokens.

    Args:
        dim: C, of both.
        scaled: the products are divided by sqrt(C), and a learned bias is added (arXiv 2401.02361);
            without it the head has no parameters.
    """

    bias: nn.Parameter | None

    def __init__(self, *, dim: int, scaled: bool):
        super().__init__()
        self.scale = dim**-0.5
        # At the start the bias says 1% for anything.
        self.register_parameter("bias", nn.Parameter(torch.tensor(-math.log(99))) if scaled else None)

    def forward(self, features: Tensor, text: TextFeatures) -> Tensor:
        """(B, N, T) logits of features (B, N, C) for each text token, -inf on text padding."""
        # In bfloat16 a score of 60 has neighbours 0.25 away: of 900 queries all but a few would tie with others.
        scores = features.float() @ text.features.float().mT  # (B, N, T)
        scores = scores.float()  # in training autocast narrows them all the same
        if self.bias is not None:
            scores = scores * self.scale + self.bias.float()
        return scores.masked_fill(~text.tokens.token_mask[:, None], -torch.inf)


class QuerySelection(nn.Module):
    """Scores and boxes for every image token; the best `num_queries` are selected.

    Args:
        dim: C, of image and text tokens.
        queries: how many of the tokens are selected, at most.
        scaled_scores: as `ClassHead` has it.
    """

    def __init__(self, *, dim: int, queries: int, scaled_scores: bool = False):
        super().__init__()
        self.num_queries = queries
        self.output = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.class_head = ClassHead(dim=dim, scaled=scaled_scores)
        self.box_head = MLP(dim, dim, 4, num_layers=3)
        self.content = nn.Embedding(queries, dim)  # mixed selection: content is learned, not taken

    def forward(self, image: ImageFeatures, text: TextFeatures) -> Queries:
        """The queries of the tokens that answer best.

        As `select(propose(image, text))`, which training needs because its losses look at every proposal. Here the box
        head runs for the selected tokens alone: of a picture's 18,000 for 900.
        """
        features = self.project(image)  # (B, S, C)
        best = self._best(self.class_head(features, text))  # (B, Q, 1)
        features, anchors = (x.gather(1, best.expand(-1, -1, x.shape[2])) for x in (features, image.anchors))
        return self._queries(self.box_head(features).float() + anchors)

    def propose(self, image: ImageFeatures, text: TextFeatures) -> Proposals:
        """A score for each text token and a box from every image token."""
        features = self.project(image)  # (B, S, C)
        box_logits = self.box_head(features).float() + image.anchors
        return Proposals(features, self.class_head(features, text), box_logits)

    def project(self, image: ImageFeatures) -> Tensor:
        """Image tokens to what is compared with the text, (B, S, C)."""
        return self.norm(self.output(image.tokens.masked_fill(~image.usable, 0)))

    def select(self, proposals: Proposals) -> Queries:
        """The queries of the best proposals; a picture with fewer tokens than queries gives as many as it has."""
        best = self._best(proposals.logits)  # (B, Q, 1)
        return self._queries(proposals.box_logits.gather(1, best.expand(-1, -1, 4)))

    def _best(self, logits: Tensor) -> Tensor:
        """(B, Q, 1): which of the image tokens, by the best of each one's scores (B, S, T), best first."""
        scores = logits.amax(-1)  # (B, S)
        return scores.topk(min(self.num_queries, scores.shape[1]), dim=1).indices[..., None]

    def _queries(self, box_logits: Tensor) -> Queries:
        content = self.content.weight[: box_logits.shape[1]]  # (Q, C)
        return Queries(content.expand(len(box_logits), -1, -1), box_logits.detach())
