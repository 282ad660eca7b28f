"""Train the embedded segmenter on synthetic scenes, whose masks are exact.

    python -m groundingdino.training.train_segmenter --output runs/segmenter

trains it from nothing; started again with the same folder, it goes on.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.utils.data import Dataset

from groundingdino.embedded_sam import IMAGE_SIZE, build_embedded_sam, save_embedded_sam
from groundingdino.training.artwork import Artwork
from groundingdino.training.loop import cosine, follow
from groundingdino.training.mask_losses import mask_losses
from groundingdino.training.pointing import click, correction, loose_box, scribble
from groundingdino.training.scenes import Scene, SceneMaker

Source = Callable[[int, tuple[int, int]], Scene]  # index and (width, height)


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one size."""

    steps: int
    pictures: int  # of a step
    objects: int  # of a picture; fewer where it has fewer
    image_size: int  # pixels of the long side


@dataclass(frozen=True)
class Plan:
    """What to train on for how long, and how fast."""

    stages: tuple[Stage, ...]
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    warm_up: int = 100  # steps
    clip: float = 1.0  # norm of all gradients together
    average: float = 0.998  # decay of the averaged weights, which are what is kept
    most_corrections: int = 3  # clicks after the first prompt
    least_area: int = 30  # pixels: fewer are no object one would point at
    seed: int = 0

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage of a step."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        raise IndexError("the plan has fewer steps")


EMBEDDED_PLAN = Plan(
    stages=(
        Stage(steps=1100, pictures=8, objects=6, image_size=192),
        Stage(steps=300, pictures=5, objects=6, image_size=IMAGE_SIZE),
    )
)


class MaskBatch(NamedTuple):
    """Pictures of one step and the objects pointed at in each."""

    pixels: Tensor  # (B, 3, H, W) uint8, H and W up to the stage's size
    masks: list[Tensor]  # per picture (N, H, W) bool


class MaskBatches(Dataset[MaskBatch]):
    """The batch of each step, made of nothing but the step's number."""

    def __init__(self, source: Source, plan: Plan):
        self.source, self.plan = source, plan

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, step: int) -> MaskBatch:
        stage = self.plan.stage_at(step)
        rng = np.random.default_rng([self.plan.seed, step])
        short = round(stage.image_size / float(rng.choice((1.0, 4 / 3, 1.5, 16 / 9))))
        size = (stage.image_size, short) if rng.random() < 0.5 else (short, stage.image_size)
        pixels, masks = [], []
        for picture in range(stage.pictures):
            scene = self.source(step * stage.pictures + picture, size)
            areas = scene.masks.sum((1, 2))
            usable = np.flatnonzero(areas >= self.plan.least_area)
            chosen = rng.permutation(usable)[: stage.objects]
            pixels.append(torch.from_numpy(scene.image.copy()).permute(2, 0, 1))
            masks.append(torch.from_numpy(scene.masks[chosen]))
        return MaskBatch(torch.stack(pixels), masks)


class Pointing:
    """The prompts of one picture's objects, growing from round to round.

    Args:
        masks: (N, H, W) bool, what is pointed at.
    """

    def __init__(self, masks: np.ndarray, rng: np.random.Generator):
        self.masks, self.rng = masks, rng
        kind = rng.random()
        self.boxes = np.stack([loose_box(mask, rng) for mask in masks]) if kind < 0.45 else None
        draw = scribble if kind > 0.85 else lambda mask, rng: click(mask, rng)[None]
        # One kind for all objects of a picture: the prompt encoder takes no mixture.
        self.points = [draw(mask, rng) if self.boxes is None else np.zeros((0, 2), np.float32) for mask in masks]
        self.labels = [np.ones(len(points), np.int64) for points in self.points]
        self.logits: Tensor | None = None  # (N, 1, h, w) of the last round, which the next may start from

    def correct(self, logits: Tensor) -> None:
        """Take in what was predicted, (N, 4, h, w), and click on what is wrong with the best of the first mask."""
        height, width = self.masks.shape[1:]
        side = 2 * logits.shape[-1]
        large = F.interpolate(logits[:, :1].float(), (side, side), mode="bilinear")[:, 0, :height, :width]
        for index, (predicted, mask) in enumerate(zip((large > 0).numpy(), self.masks, strict=True)):
            point, label = correction(predicted, mask, self.rng)
            self.points[index] = np.concatenate([self.points[index], point[None]])
            self.labels[index] = np.append(self.labels[index], label)
        self.logits = logits[:, :1].float().clamp(-32, 32)

    def tensors(self) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None, Tensor | None]:
        """Points and labels, boxes and masks as `PromptEncoder` takes them; label -1 fills up."""
        boxes = None if self.boxes is None else torch.from_numpy(self.boxes)
        most = max(map(len, self.points), default=0)
        if most == 0:
            return None, boxes, self.logits
        points = torch.zeros(len(self.points), most, 2)
        labels = torch.full((len(self.points), most), -1)
        for index, (own, own_labels) in enumerate(zip(self.points, self.labels, strict=True)):
            points[index, : len(own)] = torch.from_numpy(own)
            labels[index, : len(own)] = torch.from_numpy(own_labels)
        return (points, labels), boxes, self.logits


def training_step(
    model: Sam, batch: MaskBatch, optimizer: torch.optim.Optimizer, plan: Plan, image_size: int, step: int
) -> dict[str, float]:
    """One update of the weights; returns the losses and `overlap`, the mean IoU of the first mask by kind of prompt.

    Objects are pointed at once, then corrected zero to `most_corrections` times; the first round and the last teach.
    """
    rng = np.random.default_rng([plan.seed, step, 1])
    resize(model, image_size)
    model.train()
    pointings = [Pointing(masks.numpy(), rng) for masks in batch.masks if len(masks)]
    kept = [index for index, masks in enumerate(batch.masks) if len(masks)]
    with torch.autocast("cpu", torch.bfloat16):
        padded = torch.stack([model.preprocess(picture.float()) for picture in batch.pixels[kept]])
        embeddings = model.image_encoder(padded)
    truths = [coverage(pointing.masks, image_size) for pointing in pointings]
    terms: list[dict[str, Tensor]] = []
    overlaps: dict[str, list[float]] = {}
    corrections = int(rng.integers(plan.most_corrections + 1))
    for turn in range(corrections + 1):
        teaches = turn in (0, corrections)
        with torch.set_grad_enabled(teaches):
            answers = [decode(model, e[None], p) for e, p in zip(embeddings, pointings, strict=True)]
        if teaches:
            logits, qualities = (torch.cat(parts) for parts in zip(*answers, strict=True))
            targets, inside = (torch.cat(parts) for parts in zip(*truths, strict=True))
            terms.append(mask_losses(logits, qualities, targets, inside))
        for pointing, (logits, _), (targets, _) in zip(pointings, answers, truths, strict=True):
            kind = "box" if pointing.boxes is not None else "points"
            reached = overlap(logits[:, :1].detach(), targets)
            overlaps.setdefault(f"{kind}{turn}", []).append(reached)
            if turn < corrections:
                pointing.correct(logits.detach())
    optimizer.zero_grad(set_to_none=True)
    torch.stack([value for term in terms for value in term.values()]).sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
    optimizer.step()
    means = {name: sum(term[name].item() for term in terms) / len(terms) for name in terms[0]}
    return means | {f"overlap/{name}": float(np.mean(values)) for name, values in overlaps.items()}


def decode(model: Sam, embedding: Tensor, pointing: Pointing) -> tuple[Tensor, Tensor]:
    """Logits (N, 4, h, w) and predicted IoU (N, 4) of a picture's objects, float32."""
    points, boxes, masks = pointing.tensors()
    sparse, dense = model.prompt_encoder(points=points, boxes=boxes, masks=masks)
    with torch.autocast("cpu", torch.bfloat16):
        logits, qualities = model.mask_decoder.predict_masks(
            embedding, model.prompt_encoder.get_dense_pe(), sparse, dense
        )
    return logits.float(), qualities.float()


def coverage(masks: np.ndarray, image_size: int) -> tuple[Tensor, Tensor]:
    """(N, H, W) bool to the share of each mask cell that is object, and the cells that are picture; (N, h, w) each."""
    height, width = masks.shape[1:]
    padding = (0, image_size - width, 0, image_size - height)
    shares = F.avg_pool2d(F.pad(torch.from_numpy(masks).float(), padding), 2)
    inside = F.avg_pool2d(F.pad(torch.ones(1, height, width), padding), 2) > 0.5
    return shares, inside.expand_as(shares)


def overlap(logits: Tensor, targets: Tensor) -> float:
    """Mean IoU of masks (N, 1, h, w) with soft targets (N, h, w)."""
    predicted, true = logits[:, 0] > 0, targets > 0.5
    return float(((predicted & true).sum((1, 2)) / (predicted | true).sum((1, 2)).clamp(min=1)).mean())


def resize(model: Sam, image_size: int) -> None:
    """Make a model of the embedded architecture work on another size; its weights stay."""
    other = build_embedded_sam(image_size)
    model.image_encoder.img_size = image_size
    for name in ("image_embedding_size", "input_image_size", "mask_input_size"):
        setattr(model.prompt_encoder, name, getattr(other.prompt_encoder, name))


def train(model: Sam, source: Source, plan: Plan, folder: Path, workers: int = 1) -> Sam:
    """Follow the plan, from the start or from `folder`'s checkpoint; see `loop.follow`."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=plan.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )

    def take_step(step: int, batch: MaskBatch) -> dict[str, float]:
        return training_step(model, batch, optimizer, plan, plan.stage_at(step).image_size, step)

    factor = partial(cosine, first=0, last=plan.steps, warm_up=plan.warm_up)
    return follow(
        model, optimizer, MaskBatches(source, plan), plan.steps, take_step, factor, plan.average, folder, workers
    )


def main() -> None:
    """Train the embedded segmenter on synthetic scenes and write its model file."""
    parser = argparse.ArgumentParser(description="Train the embedded segmenter from nothing.")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/segmenter"), help="folder of checkpoint, log and model"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="of PyTorch; pictures are made in a process of their own"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(EMBEDDED_PLAN.seed)
    model = build_embedded_sam()
    artwork = Artwork()
    artwork.render()
    average = train(model, SceneMaker(artwork, seed=EMBEDDED_PLAN.seed).scene, EMBEDDED_PLAN, arguments.output)
    resize(average, IMAGE_SIZE)
    save_embedded_sam(average, arguments.output / "model.safetensors")


if __name__ == "__main__":
    main()
