"""The text encoder's training: sketches and back, prompts that are learned by heart."""

import numpy as np
import pytest
import torch
from PIL import Image

from groundingdino.training import train_text_encoder
from groundingdino.training.inpainter_model import SKETCH, build_text_encoder, build_tokenizer
from groundingdino.training.train_text_encoder import (
    CELL,
    Plan,
    SketchBatches,
    Sketcher,
    to_cells,
    train,
    training_step,
)

PLAN = Plan(steps=3, prompts=4, warm_up=1)


class Colours:
    """Three names, each a plain colour."""

    names = ("cat", "dog", "bird")

    def say(self, label: int, _rng: np.random.Generator) -> tuple[str, Image.Image]:
        colour = ((255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 128))[label]
        return self.names[label], Image.new("RGBA", (20, 40), colour)


def test_sketches_are_cells_of_a_square_picture():
    side = SKETCH * CELL
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 4), np.uint8)
    cells = to_cells(Image.fromarray(pixels))
    assert cells.shape == (SKETCH**2, CELL**2 * 4)
    expected = pixels / 255 * np.where(np.arange(4) < 3, pixels[..., 3:] / 255, 1)
    for index, cell in enumerate(cells.view(-1, CELL, CELL, 4)):
        top, left = CELL * (index // SKETCH), CELL * (index % SKETCH)
        np.testing.assert_allclose(cell, expected[top : top + CELL, left : left + CELL], atol=1e-6)


@pytest.mark.parametrize(("rate", "empty"), [(0.0, False), (1.0, True)])
def test_nothing_is_sketched_for_an_empty_prompt(rate, empty):
    batch = SketchBatches(Colours(), Plan(steps=1, prompts=8, empty_rate=rate))[0]
    assert batch.tokens.shape == (8, build_tokenizer().model_max_length)
    assert bool((batch.sketches == 0).all()) is empty
    assert bool((batch.tokens[:, 2:] == 0).all()) is empty  # [CLS], [SEP] and paddings


def test_names_are_learned_by_heart():
    torch.manual_seed(0)
    sketcher = Sketcher(build_text_encoder(build_tokenizer()))
    optimizer = torch.optim.AdamW(sketcher.parameters(), 2e-3)
    batch = SketchBatches(Colours(), Plan(steps=1, prompts=12))[0]
    losses = [training_step(sketcher, batch, optimizer, PLAN)["sketch"] for _ in range(25)]
    assert losses[-1] < 0.2 * losses[0]
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for name, parameter in sketcher.named_parameters()
        if "k_proj.bias" not in name  # moves all scores of a query alike
    )


def test_training_goes_on_where_it_was(tmp_path, monkeypatch):
    def fresh():
        torch.manual_seed(0)
        return Sketcher(build_text_encoder(build_tokenizer()))

    whole = train(fresh(), Colours(), PLAN, tmp_path / "run", workers=0)
    monkeypatch.setattr(train_text_encoder, "training_step", lambda *_: pytest.fail("trained again"))
    again = train(fresh(), Colours(), PLAN, tmp_path / "run", workers=0)
    assert torch.equal(whole.pixels.weight, again.pixels.weight)
    assert not torch.equal(whole.pixels.weight, fresh().pixels.weight)
