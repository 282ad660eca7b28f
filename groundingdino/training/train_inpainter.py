"""Train the embedded inpainter's UNet, and go on with its text encoder, on latents of edits.

    python -m groundingdino.training.train_autoencoder --output runs/autoencoder
    python -m groundingdino.training.train_text_encoder --output runs/text_encoder
    python -m groundingdino.training.train_inpainter --output runs/inpainter

trains it from what the two before it wrote; each, started again with the same folder, goes on.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm
from transformers import BertTokenizerFast, CLIPTextModel

from groundingdino.artwork.drawings import MAIN_STYLE, Artwork
from groundingdino.training.edit_scenes import EditMaker
from groundingdino.training.inpainter_model import (
    HoleConv,
    build_scheduler,
    build_tokenizer,
    build_unet,
    save_pipeline,
)
from groundingdino.training.loop import cosine, follow, update
from groundingdino.training.train_autoencoder import to_signed

ENCODED_AT_ONCE = 16  # pictures
REDUCTION = 4  # pixels of a latent along each side


@dataclass(frozen=True)
class Plan:
    """What to train on for how long, and how fast."""

    steps: int = 3000
    pictures: int = 24  # of a step
    edits: int = 7560  # encoded once, then seen again and again under other noise: encoding costs as much as a step
    learning_rate: float = 1e-3
    weight_decay: float = 0.001
    warm_up: int = 60  # steps
    clip: float = 1.0  # norm of all gradients together
    average: float = 0.995  # decay of the averaged weights, which are what is kept
    # This part of the pictures has no signal left: what is drawn is decided there, and hardly later.
    blank_rate: float = 0.6
    kept: float = 0.1  # weight of errors outside the mask, where an editor puts the old pixels back
    seed: int = 0


EMBEDDED_PLAN = Plan()


class Pool(NamedTuple):
    """Encoded edits, or a batch of them."""

    latents: Tensor  # (N, 4, h, w), scaled
    kept: Tensor  # (N, 4, h, w): latents of the picture with a gray hole, scaled
    masks: Tensor  # (N, 1, h, w) bool, nearest pixel as the pipeline takes it
    tokens: Tensor  # (N, T) int64


class Batches(Dataset[Pool]):
    """The edits of each step: all in turn, each time in another order."""

    def __init__(self, pool: Pool, plan: Plan):
        self.pool, self.plan = pool, plan

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, step: int) -> Pool:
        count = len(self.pool.latents)
        places = np.arange(step * self.plan.pictures, (step + 1) * self.plan.pictures)
        chosen = [
            np.random.default_rng([self.plan.seed, int(turn)]).permutation(count)[
                places[places // count == turn] % count
            ]
            for turn in np.unique(places // count)
        ]
        index = torch.from_numpy(np.concatenate(chosen))
        return Pool(*(part[index] for part in self.pool))


class Editor(nn.Module):
    """What is trained: words and noisy latents to velocities."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel):
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet
        self.unet.conv_in = HoleConv(unet.conv_in)

    def forward(self, noisy: Tensor, timesteps: Tensor, batch: Pool) -> Tensor:
        """Latents (B, 4, h, w) at timesteps (B,) to velocities (B, 4, h, w)."""
        x = torch.cat([noisy, batch.masks.float(), batch.kept.float()], dim=1)
        words = self.text_encoder(batch.tokens)[0]
        return self.unet(x.to(memory_format=torch.channels_last), timesteps, words).sample


@torch.no_grad()
def encode(
    autoencoder: AutoencoderKL, edits: EditMaker, tokenizer: BertTokenizerFast, indices: Sequence[int], seed: int
) -> Pool:
    """Latents of the edits of these indices."""
    torch.manual_seed(seed)
    scale = autoencoder.config["scaling_factor"]
    parts: list[Pool] = []
    for start in tqdm(range(0, len(indices), ENCODED_AT_ONCE), desc="encoding", unit="batch"):
        some = [edits.edit(index) for index in indices[start : start + ENCODED_AT_ONCE]]
        pictures = torch.stack([to_signed(edit.image) for edit in some]).to(memory_format=torch.channels_last)
        masks = torch.stack([torch.from_numpy(edit.mask) for edit in some])[:, None]
        texts = [edit.prompt for edit in some]
        latents = autoencoder.encode(pictures).latent_dist.mean * scale
        kept = autoencoder.encode(pictures * ~masks).latent_dist.sample() * scale
        tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
        parts.append(Pool(latents.half(), kept.half(), masks[..., ::REDUCTION, ::REDUCTION], tokens))
    return Pool(*(torch.cat(part) for part in zip(*parts, strict=True)))


def training_step(
    editor: Editor, scheduler: DDIMScheduler, batch: Pool, optimizer: torch.optim.Optimizer, plan: Plan, step: int
) -> dict[str, float]:
    """One update of the weights; returns the loss inside the masks, of blank pictures and of the others."""
    generator = torch.Generator().manual_seed(plan.seed + step)
    latents = batch.latents.float()
    count = len(latents)
    noise = torch.randn(latents.shape, generator=generator)
    last = scheduler.config["num_train_timesteps"] - 1
    # One draw in each of equal stretches, so that every step sees all noise levels; the high ones are more.
    draws = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    timesteps = ((1 - draws.square()) * last).long()
    timesteps = torch.where(torch.rand(count, generator=generator) < plan.blank_rate, last, timesteps)
    predicted = editor(scheduler.add_noise(latents, noise, timesteps), timesteps, batch)
    errors = (predicted - scheduler.get_velocity(latents, noise, timesteps)).square().mean(1)
    # A latent is repainted where any of its pixels is, and the nearest pixel need not be one.
    repainted = F.max_pool2d(batch.masks.float(), 3, stride=1, padding=1)[:, 0]
    weights = plan.kept + (1 - plan.kept) * repainted
    loss = (errors * weights).sum() / weights.sum()
    update(editor, optimizer, loss, plan.clip)
    inside = (errors.detach() * repainted).sum((1, 2)) / repainted.sum((1, 2)).clamp(min=1)
    blank = timesteps == last
    parts = {"blank": inside[blank], "noisy": inside[~blank]}
    return {name: part.mean().item() for name, part in parts.items() if len(part)}


def train(editor: Editor, pool: Pool, plan: Plan, folder: Path) -> Editor:
    """Follow the plan, from the start or from `folder`'s checkpoint; see `loop.follow`."""
    optimizer = torch.optim.AdamW(
        editor.parameters(),
        lr=plan.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=plan.weight_decay,
        fused=True,
    )
    scheduler = build_scheduler()

    def take_step(step: int, batch: Pool) -> dict[str, float]:
        return training_step(editor, scheduler, batch, optimizer, plan, step)

    factor = partial(cosine, first=0, last=plan.steps, warm_up=plan.warm_up)
    return follow(
        editor, optimizer, Batches(pool, plan), plan.steps, take_step, factor, plan.average, folder, workers=0
    )


def main() -> None:
    """Train the embedded inpainter and write it in diffusers' layout."""
    parser = argparse.ArgumentParser(description="Train the embedded inpainter's UNet and text encoder.")
    parser.add_argument("--output", type=Path, default=Path("runs/inpainter"), help="folder of checkpoint, log, model")
    parser.add_argument(
        "--autoencoder", type=Path, default=Path("runs/autoencoder/model"), help="what train_autoencoder wrote"
    )
    parser.add_argument(
        "--text-encoder", type=Path, default=Path("runs/text_encoder/model"), help="what train_text_encoder wrote"
    )
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    arguments = parser.parse_args()
    for part in (arguments.autoencoder, arguments.text_encoder):
        if not os.path.isdir(part):
            parser.error(f"There is no folder '{part}': train that part first, or name another folder.")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(EMBEDDED_PLAN.seed)
    tokenizer = build_tokenizer()
    autoencoder = AutoencoderKL.from_pretrained(arguments.autoencoder).to(memory_format=torch.channels_last)
    cache = arguments.output / "edits.pt"
    if not cache.is_file():
        arguments.output.mkdir(parents=True, exist_ok=True)
        edits = EditMaker(Artwork((MAIN_STYLE,)), seed=EMBEDDED_PLAN.seed)
        pool = encode(autoencoder, edits, tokenizer, range(EMBEDDED_PLAN.edits), EMBEDDED_PLAN.seed)
        torch.save(tuple(pool), cache)
    pool = Pool(*torch.load(cache, weights_only=True))
    editor = Editor(CLIPTextModel.from_pretrained(arguments.text_encoder), build_unet())
    editor.unet.to(memory_format=torch.channels_last)
    average = train(editor, pool, EMBEDDED_PLAN, arguments.output)
    save_pipeline(autoencoder, tokenizer, average.text_encoder, average.unet, arguments.output / "model")


if __name__ == "__main__":
    main()
