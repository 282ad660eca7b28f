"""The segmenter's training: prompts that grow, steps that teach, a plan that can be followed and resumed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from groundingdino.embedded_sam import build_embedded_sam, save_embedded_sam
from groundingdino.training.train_segmenter import (
    MaskBatches,
    Plan,
    Pointing,
    Stage,
    coverage,
    decode,
    resize,
    train,
    training_step,
)
from groundingdino.weight_files import read_weights

PLAN = Plan(
    stages=(
        Stage(steps=2, pictures=2, objects=2, image_size=64),
        Stage(steps=1, pictures=1, objects=2, image_size=96),
    ),
    warm_up=1,
)


def blocks(index: int, size: tuple[int, int]) -> SimpleNamespace:
    """A bright block on noise, and a dot too small to be pointed at."""
    rng = np.random.default_rng(index)
    width, height = size
    image = rng.integers(0, 100, (height, width, 3), dtype=np.uint8)
    masks = np.zeros((2, height, width), bool)
    x, y = rng.integers(0, 12, 2)
    masks[0, y : y + 20, x : x + 16] = True
    masks[1, -2:, -2:] = True
    image[masks.any(0)] = 255
    return SimpleNamespace(image=image, masks=masks)


@pytest.fixture(scope="module")
def batch():
    return MaskBatches(blocks, PLAN)[0]


def test_batches_depend_on_their_step_alone(batch):
    again = MaskBatches(blocks, PLAN)
    assert len(again) == 3
    assert torch.equal(batch.pixels, again[0].pixels)
    assert max(batch.pixels.shape[2:]) == 64
    assert [len(masks) for masks in batch.masks] == [1, 1]  # the dot is left out
    assert max(again[2].pixels.shape[2:]) == 96


def test_a_plan_ends():
    with pytest.raises(IndexError):
        PLAN.stage_at(3)


def test_prompts_grow_by_clicks_on_mistakes(batch):
    masks = np.concatenate([masks.numpy() for masks in batch.masks])
    kinds = set()
    for seed in range(12):
        pointing = Pointing(masks, np.random.default_rng(seed))
        points, boxes, logits = pointing.tensors()
        assert (points is None) == (boxes is not None)
        assert logits is None
        before = 0 if points is None else points[1].shape[1]
        kinds.add("box" if boxes is not None else "click" if before == 1 else "scribble")
        pointing.correct(torch.full((2, 4, 32, 32), -5.0))  # nothing was found
        (coordinates, labels), _, logits = pointing.tensors()
        assert coordinates.shape == (2, before + 1, 2)
        assert logits.shape == (2, 1, 32, 32)
        for mask, place, label in zip(masks, coordinates, labels, strict=True):
            x, y = place[label >= 0][-1].int().tolist()
            assert mask[y, x]
    assert kinds == {"box", "click", "scribble"}


def test_coverage_counts_pixels_and_padding():
    masks = np.zeros((1, 4, 6), bool)
    masks[0, 0, 0] = masks[0, 2:4, 2:4] = True
    shares, inside = coverage(masks, 8)
    assert shares[0].tolist() == [[0.25, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert inside[0].sum() == 6


def test_the_same_weights_work_at_every_size(batch):
    torch.manual_seed(0)
    model = build_embedded_sam(64)
    resize(model, 96)
    other = build_embedded_sam(96)
    other.load_state_dict(model.state_dict())
    pointing = Pointing(batch.masks[0].numpy(), np.random.default_rng(0))
    pixels = torch.rand(1, 3, 96, 96)
    answers = [decode(sam.eval(), sam.image_encoder(pixels), pointing) for sam in (model, other)]
    assert answers[0][0].shape == (1, 4, 48, 48)
    torch.testing.assert_close(answers[0], answers[1])


def test_every_weight_that_answers_learns(batch):
    torch.manual_seed(0)
    model = build_embedded_sam(64)
    learning = torch.optim.SGD(model.parameters(), 0.0)
    seen = set()
    for step in range(6):  # prompts of all kinds
        losses = training_step(model, batch, learning, PLAN, 64, step)
        assert all(np.isfinite(value) for value in losses.values())
        seen |= {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {name for name, _ in model.named_parameters()} == seen


def test_a_few_steps_learn_a_block(batch):
    torch.manual_seed(0)
    model = build_embedded_sam(64)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = [training_step(model, batch, optimizer, PLAN, 64, step) for step in range(24)]
    assert np.mean([step["focal"] for step in losses[-4:]]) < 0.5 * np.mean([step["focal"] for step in losses[:4]])


def test_training_saves_what_segmenters_load(tmp_path):
    torch.manual_seed(0)
    model = train(build_embedded_sam(64), blocks, PLAN, tmp_path / "run", workers=0)
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    save_embedded_sam(model, tmp_path / "model.safetensors")
    state, _ = read_weights(tmp_path / "model.safetensors")
    assert {name for name, x in state.items() if x.dtype == torch.float16} == set(dict(model.named_parameters())) | {
        name for name, x in model.named_buffers() if x.is_floating_point() and name in state
    }
    build_embedded_sam().load_state_dict({name: x.float() for name, x in state.items()})
