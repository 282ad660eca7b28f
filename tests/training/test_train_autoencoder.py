"""The autoencoder's training: pieces, the detector's view, steps that teach, a plan that can be resumed."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from groundingdino.config import EMBEDDED, ResNetConfig
from groundingdino.model.backbone import ResNet
from groundingdino.training import train_autoencoder
from groundingdino.training.inpainter_model import build_autoencoder
from groundingdino.training.train_autoencoder import DetectorView, Pieces, Plan, Stage, to_signed, train, training_step

PLAN = Plan(stages=(Stage(steps=2, pictures=2, side=32), Stage(steps=1, pictures=1, side=48)), warm_up=1)


class Blocks:
    """A red block on noise, which is repainted."""

    def edit(self, index: int) -> SimpleNamespace:
        rng = np.random.default_rng(index)
        image = rng.integers(0, 100, (48, 48, 3), dtype=np.uint8)
        mask = np.zeros((48, 48), bool)
        x, y = rng.integers(4, 16, 2)
        mask[y : y + 24, x : x + 24] = True
        image[mask] = 250, 20, 20
        return SimpleNamespace(image=image, mask=mask)


@pytest.fixture(scope="module")
def view():
    torch.manual_seed(0)
    assert isinstance(EMBEDDED.backbone, ResNetConfig)
    return DetectorView(ResNet(EMBEDDED.backbone))


def test_pixels_become_signed():
    signed = to_signed(np.array([[[0, 255, 51]]], np.uint8))
    torch.testing.assert_close(signed, torch.tensor([-1.0, 1.0, -0.6]).view(3, 1, 1))


def test_pieces_depend_on_their_step_alone():
    pieces = Pieces(Blocks(), PLAN)
    assert len(pieces) == 3
    assert pieces[0].shape == (2, 3, 32, 32)
    assert pieces[2].shape == (1, 3, 48, 48)
    assert torch.equal(pieces[1], Pieces(Blocks(), PLAN)[1])
    with pytest.raises(IndexError):
        PLAN.stage_at(3)


@pytest.mark.parametrize(("rate", "grey"), [(0.0, False), (1.0, True)])
def test_holes_are_gray(rate, grey):
    pieces = Pieces(Blocks(), replace(PLAN, hole_rate=rate))[2]
    assert bool((pieces == 0).all(1).any()) is grey


def test_the_view_sees_differences(view):
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    assert view(pictures, pictures).item() == pytest.approx(0, abs=1e-6)
    assert view(pictures, pictures.flip(3)).item() > 0.01
    assert not any(parameter.requires_grad for parameter in view.parameters())


def test_a_few_steps_learn_a_block(view):
    torch.manual_seed(0)
    autoencoder = build_autoencoder()
    optimizer = torch.optim.AdamW(autoencoder.parameters(), 5e-4)
    pictures = Pieces(Blocks(), replace(PLAN, hole_rate=0.0))[0]
    losses = [training_step(autoencoder, view, pictures, optimizer, PLAN) for _ in range(20)]
    assert all(parameter.grad is not None for parameter in autoencoder.parameters())
    assert losses[-1]["difference"] < 0.6 * losses[0]["difference"]
    assert losses[-1]["perceptual"] < losses[0]["perceptual"]


def test_training_scales_latents_and_goes_on(view, tmp_path, monkeypatch):
    def fresh():
        torch.manual_seed(0)
        return build_autoencoder()

    whole = train(fresh(), view, Blocks(), PLAN, tmp_path / "run", workers=0)
    pieces = torch.stack([to_signed(Blocks().edit(index).image) for index in range(32)])
    with torch.no_grad():
        spread = whole.encode(pieces).latent_dist.mean.std().item()
    assert whole.config["scaling_factor"] == pytest.approx(1 / spread, rel=1e-3)
    monkeypatch.setattr(train_autoencoder, "training_step", lambda *_: pytest.fail("trained again"))
    again = train(fresh(), view, Blocks(), PLAN, tmp_path / "run", workers=0)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
