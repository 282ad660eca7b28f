"""The segmenter's training: steps that teach, windows that lie anywhere, a plan that can be followed and resumed."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam

from groundingdino.files.weight_files import read_weights
from groundingdino.segmentation.embedded_sam import PHOTOGRAPHIC_BACKBONE, build_embedded_sam, save_embedded_sam
from groundingdino.training.segmenter import train as train_segmenter
from groundingdino.training.segmenter.mask_batches import MaskBatches, Plan, Stage
from groundingdino.training.segmenter.pointing import Pointing
from groundingdino.training.segmenter.train import (
    coverage,
    decode,
    make_optimizer,
    train,
    training_step,
)

PLAN = Plan(
    stages=(
        Stage(steps=1, pictures=2, objects=2, side=64, whole=False, stages_learn=False),
        Stage(steps=30, pictures=2, objects=2, side=64, whole=False, stages_learn=True),
        Stage(steps=1, pictures=1, objects=2, side=96, whole=True, stages_learn=True),
    ),
    warm_up=1,
    enlarged=0.0,
)
SHORT = Plan(stages=(PLAN.stages[0], PLAN.stages[2]), warm_up=1, enlarged=0.0)


def blocks(index: int, size: tuple[int, int]) -> SimpleNamespace:
    """A bright block on noise."""
    rng = np.random.default_rng(index)
    width, height = size
    image = rng.integers(0, 100, (height, width, 3), dtype=np.uint8)
    masks = np.zeros((1, height, width), bool)
    x, y = rng.integers(0, 12, 2)
    masks[0, y : y + 20, x : x + 16] = True
    image[masks[0]] = 255
    return SimpleNamespace(image=image, masks=masks, owners=np.zeros((height, width), np.uint8))


@pytest.fixture(scope="module")
def batch():
    return MaskBatches(blocks, PLAN)[1]


@pytest.fixture
def sam() -> Sam:
    torch.manual_seed(0)
    return build_embedded_sam(128)


def test_coverage_counts_pixels_and_padding():
    masks = torch.zeros(1, 4, 6, dtype=torch.bool)
    masks[0, 0, 0] = masks[0, 2:4, 2:4] = True
    shares, inside = coverage(masks, (8, 8))
    assert shares[0].tolist() == [[0.25, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert inside[0].sum() == 6


def test_a_window_is_decoded_where_it_lies(sam, batch):
    """As `Sam` does at the upper left corner, and elsewhere as it would there."""
    sam.eval()
    pointing = Pointing(batch.masks[0].numpy(), "box", np.random.default_rng(0))
    places = sam.prompt_encoder.get_dense_pe()
    with torch.no_grad():
        features = sam.image_encoder(torch.rand(1, 3, 128, 128))
        points, boxes, masks = pointing.tensors((0, 0))
        sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=masks)
        expected = sam.mask_decoder.predict_masks(features, places, sparse, dense)
        torch.testing.assert_close(decode(sam, features, pointing, places, (0, 0), [1]), expected)
        window = features[..., 4:12, 6:14]
        here = decode(sam, window, pointing, places, (48, 32), [1])
        there = decode(sam, window, pointing, places, (0, 0), [1])
    assert here[0].shape == (1, 4, 32, 32)
    assert not torch.allclose(here[0], there[0], atol=1e-3)


def test_every_weight_learns(sam, batch):
    decoder = sam.mask_decoder
    for corrects_nothing_yet in (decoder.refinement[-1], decoder.colour_model.correct):
        torch.nn.init.normal_(corrects_nothing_yet.weight, std=0.1)
    learning = torch.optim.SGD(sam.parameters(), 0.0)
    expected = {name for name, _ in sam.named_parameters()}
    seen: set[str] = set()
    for step in range(1, 25):  # prompts of all kinds, corrected by clicks of both
        losses = training_step(sam, batch, learning, PLAN, step)
        assert all(np.isfinite(value) for value in losses.values())
        seen |= {name for name, p in sam.named_parameters() if p.grad is not None and p.grad.any()}
        if seen >= expected:
            break
    assert seen == expected


def test_the_detectors_stages_can_stay_as_they_are(sam, batch):
    backbone = sam.image_encoder.backbone
    optimizer = torch.optim.SGD(sam.parameters(), 0.1)
    before = {name: x.clone() for name, x in backbone.state_dict().items()}

    def changed() -> set[str]:
        return {name.split(".")[0] for name, x in backbone.state_dict().items() if not torch.equal(x, before[name])}

    training_step(sam, batch, optimizer, PLAN, 0)
    assert changed() == {"pyramid"}
    training_step(sam, batch, optimizer, PLAN, 1)
    assert changed() == {"pyramid", "stem", "stages"}


def test_proposals_can_learn_alone(sam, batch):
    """With all that they measure; the rest stays as it is, whatever it has learned before."""
    stage = replace(PLAN.stages[2], objects=0, proposals_alone=True)
    plan = replace(PLAN, stages=(stage,))
    optimizer = torch.optim.AdamW(sam.parameters(), 0.1)
    training_step(sam, batch, optimizer, PLAN, 1)
    before = {name: x.clone() for name, x in sam.state_dict().items()}
    losses = training_step(sam, MaskBatches(blocks, plan)[0], optimizer, plan, 0)
    assert {"seen", "on", "reach", "gradient"} == set(losses)
    changed = {name for name, x in sam.state_dict().items() if not torch.equal(x, before[name])}
    assert changed == {name for name in before if name.startswith("image_encoder.objects.")}


@pytest.mark.parametrize("measured", [True, False])
def test_batch_norm_measures_batches_or_uses_what_it_has_measured(sam, batch, measured):
    plan = replace(PLAN, stages=(replace(PLAN.stages[1], measured=measured),))
    means = [x for name, x in sam.named_buffers() if name.endswith("running_mean")]
    before = [x.clone() for x in means]
    training_step(sam, batch, torch.optim.SGD(sam.parameters(), 0.1), plan, 0)
    assert all(torch.equal(x, old) != measured for x, old in zip(means, before, strict=True))


def test_pictures_without_objects_teach_what_is_background(sam):
    def nothing(_, size):
        width, height = size
        return SimpleNamespace(
            image=np.zeros((height, width, 3), np.uint8),
            masks=np.zeros((0, height, width), bool),
            owners=np.zeros((height, width), np.uint8),
        )

    losses = training_step(sam, MaskBatches(nothing, PLAN)[1], torch.optim.SGD(sam.parameters(), 0.0), PLAN, 1)
    assert losses["seen"] > 0
    assert losses["on"] > 0
    assert losses["reach"] == 0
    assert "cross_entropy" not in losses


def test_a_few_steps_learn_a_block(sam, batch):
    optimizer = torch.optim.AdamW(sam.parameters(), 2e-3)
    losses = [training_step(sam, batch, optimizer, PLAN, step) for step in range(1, 25)]
    assert np.mean([step["cross_entropy"] for step in losses[-4:]]) < 0.5 * np.mean(
        [step["cross_entropy"] for step in losses[:4]]
    )


def test_named_weights_stay_as_they_are(sam, batch):
    plan = replace(PLAN, frozen=(".stem.", ".conv2."))
    before = {name: x.clone() for name, x in sam.named_parameters()}
    training_step(sam, batch, torch.optim.SGD(sam.parameters(), 0.1), plan, 1)
    backbone = {name for name in before if ".backbone." in name}
    changed = {name for name, x in sam.named_parameters() if not torch.equal(x, before[name])}
    assert {name for name in backbone if ".stem." in name or ".conv2." in name} == backbone - changed


def test_the_backbones_network_learns_slower_than_all_else(sam):
    optimizer = make_optimizer(sam, PLAN)
    rates = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    slow = {name for name, x in sam.named_parameters() if rates[x] == PLAN.backbone_rate * PLAN.learning_rate}
    assert slow == {name for name, _ in sam.named_parameters() if "backbone.st" in name}


def test_a_run_can_begin_with_a_later_stage(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(train_segmenter, "training_step", lambda *arguments: steps.append(arguments[-1]) or {})
    train(build_embedded_sam(128), blocks, PLAN, tmp_path, workers=0, first_stage=2)
    assert steps == [31]


def test_a_run_can_begin_by_seeing_as_another_does(tmp_path):
    torch.manual_seed(0)
    before, model = build_embedded_sam(128), build_embedded_sam(128, PHOTOGRAPHIC_BACKBONE)
    stage = replace(PLAN.stages[1], steps=12, objects=0, imitates=True)
    plan = replace(PLAN, stages=(stage,), average=0.0, learning_rate=2e-3)
    old = {name: x.clone() for name, x in model.state_dict().items()}
    train(model, blocks, plan, tmp_path, workers=0, before=before.image_encoder)
    changed = {".".join(name.split(".")[:2]) for name, x in model.state_dict().items() if not torch.equal(x, old[name])}
    # Neither the decoder nor the backbone's network, nor what features do not show.
    parts = ("backbone", "neck", "fine_stem", "fine_shallow", "fine_deep", "fine_out")
    assert changed == {f"image_encoder.{part}" for part in parts}
    assert all(torch.equal(x, old[name]) for name, x in model.state_dict().items() if ".features." in name)


def test_training_saves_what_segmenters_load(tmp_path):
    torch.manual_seed(0)
    model = train(build_embedded_sam(128), blocks, SHORT, tmp_path / "run", workers=0)
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    save_embedded_sam(model, tmp_path / "model.safetensors")
    state, _ = read_weights(tmp_path / "model.safetensors")
    assert {name for name, x in state.items() if x.dtype == torch.float16} == set(dict(model.named_parameters()))
    build_embedded_sam().load_state_dict({name: x.float() for name, x in state.items()})
