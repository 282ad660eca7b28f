"""Models that were never trained, for tests of what is around them."""

from pathlib import Path

import torch
from torch import nn

from groundingdino.detection.checkpoints import save_checkpoint
from groundingdino.model import GroundingDINO
from groundingdino.model.config import GroundingDINOConfig, ResNetConfig, TextConfig
from groundingdino.segmentation.embedded_sam import build_embedded_sam, save_embedded_sam

TINY = GroundingDINOConfig(
    backbone=ResNetConfig(channels=(8, 16, 16, 16), depths=(1, 1, 1, 1), stem_width=8),
    text=TextConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32),
    hidden_dim=32,
    num_heads=2,
    ffn_dim=32,
    enhancer_layers=1,
    decoder_layers=1,
    num_queries=5,
    num_levels=3,
    short_side=64,
    long_side=128,
)


def save_detector(path: Path) -> str:
    """One that finds five things in any picture, with some score; the path again."""
    torch.manual_seed(0)
    model = GroundingDINO(TINY)
    last = model.query_selection.box_head.layers[-1]
    assert isinstance(last, nn.Linear)
    last.bias.data[2:] += 3  # boxes so large that they overlap
    save_checkpoint(model, path, title="Tiny", description="", box_threshold=0, text_threshold=0.25)
    return str(path)


def save_segmenter(path: Path) -> str:
    """One that cuts noise out of any picture; the path again."""
    torch.manual_seed(1)  # with others some masks are all of the picture
    save_embedded_sam(build_embedded_sam(), path)
    return str(path)
