"""The model's forward with everything that losses look at: all decoder layers, all proposals, noisy queries."""

from typing import NamedTuple

import torch
from torch import Tensor

from groundingdino.model import GroundingDINO, Output
from groundingdino.model.query_selection import Queries
from groundingdino.training.detector.denoising import NoisyQueries, attention_blocks, noisy_queries
from groundingdino.training.detector.targets import Batch


class Predictions(NamedTuple):
    """Scores and boxes, all cxcywh in [0, 1]."""

    proposals: Output  # of every image token, (B, S, ...)
    layers: tuple[Output, ...]  # of the selected queries after each decoder layer, (B, Q, ...)
    noisy_layers: tuple[Output, ...]  # of the noisy queries likewise, (B, N, ...); empty without any
    naming: tuple[Tensor, Tensor]  # features of image tokens (B, S, C) and text tokens (B, T, C), before fusion


def predict_proposals(model: GroundingDINO, batch: Batch) -> Predictions:
    """Backbone, text and proposals only, without fusion: where a fresh model learns names twice as fast."""
    image = model.encode_image(batch.pixels, batch.padding_mask)
    text = model.encode_text(batch.tokens)
    proposals = model.query_selection.propose(image, text)
    return Predictions(
        Output(proposals.logits, proposals.box_logits.sigmoid()), (), (), naming=(proposals.features, text.features)
    )


def predict_all(model: GroundingDINO, batch: Batch, groups: int) -> tuple[Predictions, NoisyQueries | None]:
    """The whole model, with `groups` groups of noisy queries."""
    image = model.encode_image(batch.pixels, batch.padding_mask)
    text = model.encode_text(batch.tokens)
    naming = (model.query_selection.project(image), text.features)
    image, text = model.enhancer(image, text)
    proposals = model.query_selection.propose(image, text)
    queries = model.query_selection.select(proposals)
    noisy = noisy_queries(batch.targets, model.query_selection.content.weight, groups) if groups else None
    blocked, count = None, 0
    if noisy is not None:
        count = noisy.queries.box_logits.shape[1]
        blocked = attention_blocks(noisy, queries.box_logits.shape[1])
        queries = Queries(*(torch.cat(pair, dim=1) for pair in zip(noisy.queries, queries, strict=True)))
    outputs = [model.decoder.predict(state, text) for state in model.decoder(queries, image, text, blocked)]
    return Predictions(
        proposals=Output(proposals.logits, proposals.box_logits.sigmoid()),
        layers=tuple(Output(output.logits[:, count:], output.boxes[:, count:]) for output in outputs),
        noisy_layers=tuple(Output(output.logits[:, :count], output.boxes[:, :count]) for output in outputs)
        if noisy is not None
        else (),
        naming=naming,
    ), noisy
