"""A start from which a whole model learns from nothing; published weights need none of this."""

import math

import torch
from torch import nn

from groundingdino.model import GroundingDINO
from groundingdino.model.enhancer import EnhancerLayer

# Of the two vectors whose dot product is a token's score. Both come out of a LayerNorm: with gains of 1 the scores of a
# fresh model would spread by sqrt(width) and the focal loss would start in the thousands.
SCORE_GAIN = 0.3
SCORE_PRIOR = 0.02  # a fresh model's score for anything
RESIDUAL_GAIN = 0.2  # the enhancer starts close to passing its input on, so that proposals learned without it stay good
FUSION_GAIN = 0.1


@torch.no_grad()
def initialise(model: GroundingDINO) -> None:
    """Set scales that PyTorch's defaults leave unfit for training from nothing."""
    width = model.config.hidden_dim
    offset = math.sqrt(math.log((1 - SCORE_PRIOR) / SCORE_PRIOR) / width)
    layers = [layer for layer in model.enhancer.layers if isinstance(layer, EnhancerLayer)]
    for norm, sign in ((model.decoder.norm, 1), (model.query_selection.norm, 1), (layers[-1].text.norm2, -1)):
        norm.weight.fill_(SCORE_GAIN)
        norm.bias.fill_(sign * offset)
    model.text_encoder.projection.bias.fill_(-offset)  # where proposals are learned without the enhancer
    nn.init.normal_(model.text_encoder.projection.weight, std=SCORE_GAIN / math.sqrt(model.config.text.hidden_size))
    for head in (model.decoder.box_head, model.query_selection.box_head):
        for parameter in head.layers[-1].parameters():
            parameter.zero_()
    for layer in layers:
        layer.fusion.image_gain.fill_(FUSION_GAIN)
        layer.fusion.text_gain.fill_(FUSION_GAIN)
        outputs = (
            layer.text.self_attn.out_proj,
            layer.text.ffn.linear2,
            layer.image.self_attn.output_proj,
            layer.image.ffn.linear2,
        )
        for output in outputs:
            output.weight.mul_(RESIDUAL_GAIN)
