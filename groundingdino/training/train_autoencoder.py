"""Train the embedded inpainter's autoencoder on pieces of pictures, some with a gray hole as its encoder will see them.

    python -m groundingdino.training.train_autoencoder --output runs/autoencoder

trains it from nothing; started again with the same folder, it goes on. `train_inpainter` comes after it.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.utils.data import Dataset

from groundingdino.artwork.drawings import MAIN_STYLE, Artwork
from groundingdino.detector import Detector
from groundingdino.image import IMAGENET_MEAN, IMAGENET_STD
from groundingdino.model.backbone import ResNet
from groundingdino.training.edit_scenes import EditMaker
from groundingdino.training.inpainter_model import build_autoencoder
from groundingdino.training.loop import InStages, cosine, follow, numbers, update


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one size."""

    steps: int
    pictures: int  # of a step
    side: int  # pixels of the squares cut from them


@dataclass(frozen=True)
class Plan(InStages[Stage]):
    """What to train on for how long, how fast, and towards what."""

    stages: tuple[Stage, ...]
    learning_rate: float = 7e-4
    warm_up: int = 60  # steps
    clip: float = 1.0  # norm of all gradients together
    average: float = 0.995  # decay of the averaged weights, which are what is kept
    hole_rate: float = 0.3  # of the pictures
    perceptual: float = 1.0  # weight of the detector's view of the difference
    divergence: float = 2e-4  # weight of the latents' divergence from a unit normal distribution
    seed: int = 0


EMBEDDED_PLAN = Plan(stages=(Stage(steps=580, pictures=12, side=48), Stage(steps=100, pictures=4, side=96)))


class Pieces(Dataset[Tensor]):
    """The pictures of each step, (B, 3, side, side) in [-1, 1], made of nothing but the step's number."""

    def __init__(self, edits: EditMaker, plan: Plan):
        self.edits, self.plan = edits, plan

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, step: int) -> Tensor:
        stage = self.plan.stage_at(step)
        rng = np.random.default_rng([self.plan.seed, step])
        pieces = []
        for index in range(step * stage.pictures, (step + 1) * stage.pictures):
            edit = self.edits.edit(index)
            pixels = to_signed(edit.image)
            if rng.random() < self.plan.hole_rate:
                pixels = pixels * torch.from_numpy(~edit.mask)
            # Towards the middle, where the objects are.
            x, y = (round(float(rng.beta(2, 2)) * (pixels.shape[1] - stage.side)) for _ in range(2))
            pieces.append(pixels[:, y : y + stage.side, x : x + stage.side])
        return torch.stack(pieces)


def to_signed(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 127.5 - 1


class DetectorView(nn.Module):
    """How different two pictures look to the embedded detector (as arXiv 1801.03924 does with other networks)."""

    def __init__(self, backbone: ResNet):
        super().__init__()
        self.stem, self.stages = backbone.stem, backbone.stages[:3]
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor, others: Tensor) -> Tensor:
        """Mean squared difference of unit features at strides 2 to 16; pictures (B, 3, H, W) in [-1, 1]."""
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        features = ((torch.cat([pictures, others]) + 1) / 2 - mean) / std
        terms = []
        for layer in (*self.stem, *self.stages):
            features = layer(features)
            mine, theirs = F.normalize(features, dim=1).chunk(2)
            terms.append((mine - theirs).square().sum(1).mean())
        return torch.stack(terms).mean()


def training_step(
    autoencoder: AutoencoderKL, view: DetectorView, pictures: Tensor, optimizer: torch.optim.Optimizer, plan: Plan
) -> dict[str, float]:
    """One update of the weights; returns the losses."""
    pictures = pictures.to(memory_format=torch.channels_last)
    latents = autoencoder.encode(pictures).latent_dist
    restored = autoencoder.decode(latents.sample()).sample
    losses = {
        "difference": (restored - pictures).abs().mean(),
        "perceptual": plan.perceptual * view(restored, pictures),
        "divergence": plan.divergence * latents.kl().mean() / latents.mean[0].numel(),
    }
    update(autoencoder, optimizer, torch.stack(list(losses.values())).sum(), plan.clip)
    return numbers(losses)


def train(
    autoencoder: AutoencoderKL, view: DetectorView, edits: EditMaker, plan: Plan, folder: Path, workers: int = 1
) -> AutoencoderKL:
    """Follow the plan, from the start or from `folder`'s checkpoint; see `loop.follow`."""
    optimizer = torch.optim.AdamW(
        autoencoder.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.001, fused=True
    )

    def take_step(_: int, pictures: Tensor) -> dict[str, float]:
        return training_step(autoencoder, view, pictures, optimizer, plan)

    factor = partial(cosine, first=0, last=plan.steps, warm_up=plan.warm_up)
    average = follow(
        autoencoder, optimizer, Pieces(edits, plan), plan.steps, take_step, factor, plan.average, folder, workers
    )
    with torch.no_grad():
        pieces = torch.stack([to_signed(edits.edit(index).image) for index in range(32)])
        average.register_to_config(scaling_factor=1 / average.encode(pieces).latent_dist.mean.std().item())
    return average


def main() -> None:
    """Train the embedded inpainter's autoencoder and write it in diffusers' layout."""
    parser = argparse.ArgumentParser(description="Train the embedded inpainter's autoencoder from nothing.")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/autoencoder"), help="folder of checkpoint, log and model"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="of PyTorch; pictures are made in a process of their own"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(EMBEDDED_PLAN.seed)
    backbone = Detector.from_pretrained("embedded", device="cpu").model.backbone
    assert isinstance(backbone, ResNet)
    edits = EditMaker(Artwork((MAIN_STYLE,)), seed=EMBEDDED_PLAN.seed)
    autoencoder = build_autoencoder().to(memory_format=torch.channels_last)
    average = train(autoencoder, DetectorView(backbone), edits, EMBEDDED_PLAN, arguments.output)
    average.save_pretrained(arguments.output / "model")


if __name__ == "__main__":
    main()
