"""What an embedded segmenter knows before its training: the backbone of a detector, and what another one learned."""

import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from torch import nn

from groundingdino.detection.checkpoints import load_pretrained
from groundingdino.detection.precision import multiplies_bfloat16
from groundingdino.model.config import ResNetConfig, TimmConfig
from groundingdino.segmentation.embedded_encoder import ImageEncoder, split_features
from groundingdino.segmentation.embedded_sam import build_embedded_sam
from groundingdino.segmentation.segmenter_models import load_segmenter
from groundingdino.training.loop import numbers, update
from groundingdino.training.segmenter.mask_batches import MaskBatch, Plan


def start_from(learned: str | None, detector: str = "embedded") -> tuple[Sam, Sam]:
    """An embedded segmenter before its training, and the one whose image encoder it is to imitate first.

    Args:
        learned: name or path of one to go on from; where it has another backbone than the detector, the new one takes
            over all else. None: all else is fresh.
        detector: name of the embedded detector whose backbone it begins with, which knows the things already.

    Raises:
        ValueError: one sentence: a file cannot be read, or is of another kind.
    """
    backbone = load_pretrained(detector, local_files_only=True).model
    config = backbone.config.backbone
    assert isinstance(config, ResNetConfig | TimmConfig)
    model = build_embedded_sam(backbone=config)
    model.image_encoder.backbone.load_state_dict(backbone.backbone.state_dict())
    if learned is None:
        return model, model
    before, _ = load_segmenter(learned, local_files_only=True)
    if not isinstance(before.image_encoder, ImageEncoder):
        raise ValueError(f"--start should be a segmenter of the embedded kind, but {learned} is Meta's.")
    if before.state_dict().keys() == model.state_dict().keys():
        return before, before
    transplant(before, model)
    return model, before


@torch.no_grad()
def transplant(learned: nn.Module, model: nn.Module) -> None:
    """What a segmenter has learned into one with another backbone: all else, as far as shapes agree."""
    old = learned.state_dict()
    for name, value in model.state_dict().items():
        if name in old and old[name].shape == value.shape and ".backbone." not in name:
            value.copy_(old[name])


def imitation_step(
    sam: Sam, before: nn.Module, batch: MaskBatch, optimizer: torch.optim.Optimizer, plan: Plan
) -> dict[str, float]:
    """One update of all of the image encoder that is behind the backbone's network; returns what it was wrong by.

    Args:
        before: whose features it is to give, so that the mask decoder, which knows these, goes on from there.
    """
    batch = batch.to(sam.device)
    sam.requires_grad_(False)
    sam.image_encoder.train().requires_grad_()
    for part in sam.image_encoder.backbone.network:
        part.eval().requires_grad_(False)
    pixels = (batch.pixels.float() - sam.pixel_mean) / sam.pixel_std
    with torch.autocast(sam.device.type, torch.bfloat16, enabled=multiplies_bfloat16(sam.device)):
        with torch.no_grad():
            wanted = before(pixels)
        features = sam.image_encoder(pixels)
    losses = {}
    for name, own, others in zip(
        ("embedding", "fine"), split_features(features.float()), split_features(wanted.float()), strict=False
    ):
        losses[name] = F.mse_loss(own, others) / others.var()
    norm = update(sam, optimizer, torch.stack(list(losses.values())).sum(), plan.clip)
    return numbers(losses | {"gradient": norm})
