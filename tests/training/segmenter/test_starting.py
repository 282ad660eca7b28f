"""What a segmenter knows before its training: a detector's backbone, what another one learned, how that one sees."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from groundingdino.detection.checkpoints import load_pretrained
from groundingdino.segmentation.embedded_sam import PHOTOGRAPHIC_BACKBONE, build_embedded_sam, save_embedded_sam
from groundingdino.segmentation.segmenter_models import load_segmenter
from groundingdino.training.segmenter.mask_batches import MaskBatches, Plan, Stage
from groundingdino.training.segmenter.plans import PLANS
from groundingdino.training.segmenter.starting import imitation_step, start_from

STAGE = Stage(steps=40, pictures=2, objects=0, side=64, whole=False, stages_learn=False, imitates=True)


def noise(index: int, size: tuple[int, int]) -> SimpleNamespace:
    width, height = size
    image = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
    nothing = np.zeros((0, height, width), bool)
    return SimpleNamespace(image=image, masks=nothing, owners=np.zeros((height, width), np.uint8))


def test_what_is_not_learned_yet_is_the_detectors_backbone():
    model, before = start_from(None)
    assert model is before
    learned = load_pretrained("embedded").model.backbone.state_dict()
    for name, value in model.image_encoder.backbone.state_dict().items():
        assert torch.equal(value, learned[name]), name


def test_with_another_backbone_all_else_is_kept():
    assert PLANS["embedded-photos"].follows == "embedded"
    model, before = start_from("embedded", "embedded-photos")
    known, _ = load_segmenter("embedded")
    assert all(torch.equal(value, known.state_dict()[name]) for name, value in before.state_dict().items())
    detector = load_pretrained("embedded-photos").model.backbone.state_dict()
    for name, value in model.state_dict().items():
        if ".backbone." in name:
            assert torch.equal(value, detector[name.removeprefix("image_encoder.backbone.")]), name
        elif not name.startswith(("image_encoder.fine_stem.conv", "image_encoder.fine_shallow.conv")):
            assert torch.equal(value, known.state_dict()[name]), name


def test_one_of_the_same_kind_goes_on_as_it_is(tmp_path):
    learned = build_embedded_sam(backbone=PHOTOGRAPHIC_BACKBONE)
    save_embedded_sam(learned, tmp_path / "mine.safetensors")
    model, _ = start_from(str(tmp_path / "mine.safetensors"), "embedded-photos")
    weight = "image_encoder.backbone.features.conv_stem.weight"
    torch.testing.assert_close(model.state_dict()[weight], learned.state_dict()[weight], rtol=1e-3, atol=1e-5)


def test_it_goes_on_from_its_own_kind_alone(monkeypatch):
    from groundingdino.training.segmenter import starting

    monkeypatch.setattr(starting, "load_segmenter", lambda *_, **__: (SimpleNamespace(image_encoder=object()), None))
    with pytest.raises(ValueError, match="--start should be a segmenter of the embedded kind, but vit_b is Meta's"):
        start_from("vit_b")


def test_another_backbone_learns_to_see_as_the_one_before():
    torch.manual_seed(0)
    before, model = build_embedded_sam(128), build_embedded_sam(128, PHOTOGRAPHIC_BACKBONE)
    plan = Plan(stages=(STAGE,), enlarged=0.0)
    batches = MaskBatches(noise, plan)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = [imitation_step(model, before.image_encoder, batches[0], optimizer, plan) for _ in range(10)]
    for part in ("embedding", "fine"):
        assert losses[-1][part] < 0.7 * losses[0][part]
