"""The UNet's training: encoded edits in turn, steps that teach, a plan that can be resumed."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from groundingdino.training import train_inpainter
from groundingdino.training.inpainter_model import (
    build_autoencoder,
    build_scheduler,
    build_text_encoder,
    build_tokenizer,
    build_unet,
)
from groundingdino.training.train_inpainter import Batches, Editor, Plan, Pool, encode, train, training_step

PLAN = Plan(steps=3, pictures=2, edits=3, warm_up=1)


class Colours:
    """A cat is red, a dog is blue."""

    def edit(self, index: int) -> SimpleNamespace:
        image = np.full((96, 96, 3), 128, np.uint8)
        mask = np.zeros((96, 96), bool)
        mask[16:81, 8:88] = True
        image[mask] = (230, 20, 20) if index % 2 else (20, 20, 230)
        return SimpleNamespace(image=image, mask=mask, prompt="cat" if index % 2 else "dog")


@pytest.fixture(scope="module")
def pool():
    torch.manual_seed(0)
    autoencoder = build_autoencoder()
    autoencoder.register_to_config(scaling_factor=2.0)
    return encode(autoencoder, Colours(), build_tokenizer(), range(3), seed=0)


@pytest.fixture
def editor():
    torch.manual_seed(0)
    return Editor(build_text_encoder(build_tokenizer()), build_unet())


def test_edits_are_encoded_with_and_without_what_is_repainted(pool):
    assert pool.latents.shape == pool.kept.shape == (3, 4, 24, 24)
    assert pool.masks.shape == (3, 1, 24, 24)
    assert pool.masks[0, 0, 4:21, 2:22].all()  # the nearest pixel decides: 80 belongs to the mask, 81 does not
    assert int(pool.masks[0].sum()) == 17 * 20
    assert torch.equal(pool.tokens[0], pool.tokens[2])
    inside = (..., slice(8, 16), slice(6, 18))
    assert (pool.latents[0] - pool.latents[1])[inside].abs().max() > 1
    assert (pool.kept[0] - pool.kept[1])[inside].abs().max() < 1


def test_all_edits_come_in_turn(pool):
    numbered = pool._replace(tokens=torch.arange(3)[:, None])
    batches = Batches(numbered, PLAN)
    seen = [number for step in range(3) for number in batches[step].tokens[:, 0].tolist()]
    assert Counter(seen) == {0: 2, 1: 2, 2: 2}
    assert sorted(seen[:3]) == [0, 1, 2]
    assert torch.equal(batches[1].latents, Batches(numbered, PLAN)[1].latents)


def test_every_weight_learns(editor, pool):
    learning = torch.optim.SGD(editor.parameters(), 0.0)
    losses = training_step(editor, build_scheduler(), Batches(pool, PLAN)[0], learning, PLAN, 0)
    assert all(np.isfinite(value) for value in losses.values())
    for name, parameter in editor.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize(("rate", "seen"), [(0.0, {"noisy"}), (1.0, {"blank"})])
def test_blank_pictures_are_as_many_as_the_plan_says(editor, pool, rate, seen):
    learning = torch.optim.SGD(editor.parameters(), 0.0)
    batch = Batches(pool, PLAN)[0]
    losses = training_step(editor, build_scheduler(), batch, learning, replace(PLAN, blank_rate=rate), 0)
    assert set(losses) == seen


def test_a_few_steps_learn_what_a_word_looks_like(editor, pool):
    plan = replace(PLAN, blank_rate=1.0)
    optimizer = torch.optim.AdamW(editor.parameters(), 1e-3)
    pair = Pool(*(part[:2] for part in pool))
    losses = [training_step(editor, build_scheduler(), pair, optimizer, plan, step)["blank"] for step in range(25)]
    assert np.mean(losses[-3:]) < 0.3 * losses[0]


def test_training_goes_on_where_it_was(pool, tmp_path, monkeypatch):
    def fresh():
        torch.manual_seed(0)
        return Editor(build_text_encoder(build_tokenizer()), build_unet())

    whole = train(fresh(), pool, PLAN, tmp_path / "run")
    monkeypatch.setattr(train_inpainter, "training_step", lambda *_: pytest.fail("trained again"))
    again = train(fresh(), pool, PLAN, tmp_path / "run")
    assert torch.equal(whole.unet.conv_out.weight, again.unet.conv_out.weight)
    assert not torch.equal(whole.unet.conv_out.weight, fresh().unet.conv_out.weight)
