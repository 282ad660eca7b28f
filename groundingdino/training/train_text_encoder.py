"""Train the embedded inpainter's text encoder to sketch what a prompt names, before any diffusion.

    python -m groundingdino.training.train_text_encoder --output runs/text_encoder

trains it from nothing; started again with the same folder, it goes on. `train_inpainter` comes after it. Learning
names by heart is the larger part of drawing them, and costs a tenth here of what it costs through a UNet.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import CLIPTextModel

from groundingdino.artwork.drawings import MAIN_STYLE, Artwork
from groundingdino.training.edit_scenes import EditMaker
from groundingdino.training.inpainter_model import (
    SKETCH,
    TEXT_DIM,
    WORDS,
    build_text_encoder,
    build_tokenizer,
)
from groundingdino.training.loop import cosine, follow, update

CELL = 5  # pixels of a sketch's cell along each side


@dataclass(frozen=True)
class Plan:
    """What to train on for how long, and how fast."""

    steps: int = 3600
    prompts: int = 32  # of a step
    learning_rate: float = 1e-3
    warm_up: int = 100  # steps
    clip: float = 1.0  # norm of all gradients together
    average: float = 0.998  # decay of the averaged weights, which are what is kept
    empty_rate: float = 0.02  # of the prompts: nothing is sketched
    seed: int = 0


EMBEDDED_PLAN = Plan()


class SketchBatch(NamedTuple):
    """Prompts of one step and what each asks for."""

    tokens: Tensor  # (B, T) int64
    sketches: Tensor  # (B, SKETCH ** 2, CELL ** 2 * 4) in [0, 1]


class SketchBatches(Dataset[SketchBatch]):
    """The prompts of each step, made of nothing but the step's number."""

    def __init__(self, edits: EditMaker, plan: Plan):
        self.edits, self.plan = edits, plan
        self.tokenizer = build_tokenizer()

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, step: int) -> SketchBatch:
        rng = np.random.default_rng([self.plan.seed, step])
        texts, sketches = [], []
        for _ in range(self.plan.prompts):
            text, sprite = self.edits.say(int(rng.integers(len(self.edits.names))), rng)
            cells = to_cells(sprite)
            if rng.random() < self.plan.empty_rate:
                text, cells = "", torch.zeros_like(cells)
            texts.append(text)
            sketches.append(cells)
        tokens = self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
        return SketchBatch(tokens, torch.stack(sketches))


def to_cells(sprite: Image.Image) -> Tensor:
    """A drawing, stretched to a square, as (SKETCH ** 2, CELL ** 2 * 4) premultiplied RGBA in [0, 1]."""
    small = sprite.resize((SKETCH * CELL, SKETCH * CELL), Image.Resampling.BOX)
    pixels = torch.from_numpy(np.asarray(small).astype(np.float32)) / 255
    pixels[..., :3] *= pixels[..., 3:]
    return pixels.view(SKETCH, CELL, SKETCH, CELL, 4).transpose(1, 2).reshape(SKETCH**2, -1)


class Sketcher(nn.Module):
    """A text encoder, and the pixels that its paddings stand for."""

    def __init__(self, text_encoder: CLIPTextModel):
        super().__init__()
        self.text_encoder = text_encoder
        self.pixels = nn.Linear(TEXT_DIM, CELL**2 * 4)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) to sketches (B, SKETCH ** 2, CELL ** 2 * 4)."""
        return self.pixels(self.text_encoder(tokens)[0][:, WORDS:])


def training_step(
    sketcher: Sketcher, batch: SketchBatch, optimizer: torch.optim.Optimizer, plan: Plan
) -> dict[str, float]:
    """One update of the weights; returns the loss."""
    loss = (sketcher(batch.tokens) - batch.sketches).square().mean()
    update(sketcher, optimizer, loss, plan.clip)
    return {"sketch": loss.item()}


def train(sketcher: Sketcher, edits: EditMaker, plan: Plan, folder: Path, workers: int = 1) -> Sketcher:
    """Follow the plan, from the start or from `folder`'s checkpoint; see `loop.follow`."""
    optimizer = torch.optim.AdamW(
        sketcher.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.001, fused=True
    )

    def take_step(_: int, batch: SketchBatch) -> dict[str, float]:
        return training_step(sketcher, batch, optimizer, plan)

    factor = partial(cosine, first=0, last=plan.steps, warm_up=plan.warm_up)
    return follow(
        sketcher, optimizer, SketchBatches(edits, plan), plan.steps, take_step, factor, plan.average, folder, workers
    )


def main() -> None:
    """Train the embedded inpainter's text encoder and write it in transformers' layout."""
    parser = argparse.ArgumentParser(description="Train the embedded inpainter's text encoder from nothing.")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/text_encoder"), help="folder of checkpoint, log and model"
    )
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch; prompts are made in a process of their own")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(EMBEDDED_PLAN.seed)
    edits = EditMaker(Artwork((MAIN_STYLE,)), seed=EMBEDDED_PLAN.seed)
    sketcher = Sketcher(build_text_encoder(build_tokenizer()))
    average = train(sketcher, edits, EMBEDDED_PLAN, arguments.output)
    average.text_encoder.save_pretrained(arguments.output / "model")


if __name__ == "__main__":
    main()
