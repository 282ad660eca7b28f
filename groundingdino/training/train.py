"""Train a detector by a plan of stages.

    python -m groundingdino.training.train --output runs/detector

trains the embedded detector from nothing on synthetic scenes; started again with the same folder, it goes on.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import Dataset
from transformers import BertTokenizerFast

from groundingdino.artwork.drawings import Artwork
from groundingdino.checkpoints import LoadedModel, load_pretrained, save_checkpoint
from groundingdino.config import EMBEDDED
from groundingdino.model import GroundingDINO
from groundingdino.model_cards import MODELS
from groundingdino.precision import multiplies_bfloat16
from groundingdino.training.forward import predict_all, predict_proposals
from groundingdino.training.initialise import initialise
from groundingdino.training.loop import CHECKPOINT_EVERY, InStages, follow, numbers, rate, read_options, update
from groundingdino.training.losses import detection_losses
from groundingdino.training.scenes import SceneMaker, draw_scale
from groundingdino.training.targets import Batch, Example, make_batch
from groundingdino.training.vocabulary import PATH as VOCABULARY
from groundingdino.weight_files import find_device

Source = Callable[[int, tuple[int, int]], Example]  # index and (width, height) -> a labelled picture, always the same


@dataclass(frozen=True)
class Stage:
    """A stretch of training on pictures of one source and some sizes."""

    pictures: int
    batch_size: int
    short_sides: tuple[int, ...]  # pixels; each batch takes one of them
    whole: bool  # False: backbone, text and proposals only

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.pictures // self.batch_size


@dataclass(frozen=True)
class Plan(InStages[Stage]):
    """What to train on for how long, and how fast."""

    stages: tuple[Stage, ...]
    learning_rate: float = 1.2e-3
    backbone_rate: float = 0.6  # of the learning rate
    offsets_rate: float = 0.2  # of the learning rate: sampling offsets run away at the full one
    weight_decay: float = 0.01
    warm_up: int = 200  # steps
    clip: float = 10.0  # norm of all gradients together
    average: float = 0.998  # decay of the averaged weights, which are what is kept
    noisy_groups: int = 2
    enlarged: float = 0.15  # of the pictures: made smaller and enlarged, as small pictures are for the model
    reduced: float = 0.25  # of the pictures: made larger and reduced, as most pictures are for the model
    seed: int = 0
    restarts: tuple[int, ...] = ()  # stages at whose start the rate begins anew

    def first_picture(self, step: int) -> int:
        """The number of pictures before a step."""
        index, done = self.place_of(step)
        return sum(stage.pictures for stage in self.stages[:index]) + done * self.stages[index].batch_size


EMBEDDED_PLAN = Plan(
    stages=(
        Stage(pictures=20_000, batch_size=16, short_sides=(192, 224), whole=False),  # crowds
        Stage(pictures=22_000, batch_size=16, short_sides=(192, 224), whole=True),
        Stage(pictures=38_000, batch_size=16, short_sides=(160, 192, 224), whole=True),
        Stage(pictures=8_992, batch_size=16, short_sides=(160, 192, 224), whole=True),
        Stage(pictures=8_000, batch_size=16, short_sides=(256, 288, 320), whole=True),
        Stage(pictures=14_400, batch_size=16, short_sides=(160, 192, 224, 256), whole=True),
        Stage(pictures=6_880, batch_size=16, short_sides=(192, 224, 256), whole=True),
        Stage(pictures=3_440, batch_size=16, short_sides=(256, 288), whole=True),
        Stage(pictures=8_800, batch_size=16, short_sides=(256, 288, 320), whole=True),
        Stage(pictures=4_080, batch_size=12, short_sides=(320, 352, 384), whole=True),
        Stage(pictures=15_000, batch_size=20, short_sides=(256, 288, 320), whole=True),
        Stage(pictures=4_960, batch_size=16, short_sides=(320, 352, 384), whole=True),
        Stage(pictures=44_096, batch_size=64, short_sides=(288, 320, 352, 384, 384), whole=True),
    ),
    restarts=(2, 5, 8, 10, 12),
)
# Of how many batches of a stage one shows crowds; 0: none.
CROWDED = (1, 0, 0, 2, 2, 3, 4, 4, 4, 4, 5, 5, 5)

UNIT = 32  # pixels, of which the sides of pictures are multiples: the deepest stride
LONG_SIDE = 640  # pixels, at most: what is longer takes a step's time without teaching more
# Width to height; batches are made of one shape so that nothing is padded.
ASPECTS = (0.5, 0.625, 0.75, 1.0, 1.0, 4 / 3, 4 / 3, 1.5, 16 / 9)


class Batches(Dataset[Batch]):
    """The batch of each step, made of nothing but the step's number: a resumed run sees what it would have seen."""

    def __init__(
        self,
        sources: Sequence[Source],
        tokenizer: BertTokenizerFast,
        plan: Plan,
        long_side: int,
        max_tokens: int,
    ):
        self.sources, self.tokenizer, self.plan = sources, tokenizer, plan
        self.long_side, self.max_tokens = long_side, max_tokens

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, step: int) -> Batch:
        stage, source = self.plan.stage_at(step), self.sources[self.plan.place_of(step)[0]]
        picture = self.plan.first_picture(step)
        choice = np.random.default_rng([self.plan.seed, step])
        short_side = int(choice.choice(stage.short_sides))
        aspect = float(choice.choice(ASPECTS))
        long_side = min(round(short_side * max(aspect, 1 / aspect) / UNIT) * UNIT, self.long_side)
        size = (long_side, short_side) if aspect >= 1 else (short_side, long_side)
        # Whole steps of both sides, so that all pictures of a batch have one size once they are scaled.
        scales = [draw_scale(choice, self.plan.enlarged, self.plan.reduced) for _ in range(stage.batch_size)]
        units = [round(UNIT * scale) for scale in scales]
        examples = [
            source(picture + k, (size[0] // UNIT * unit, size[1] // UNIT * unit)) for k, unit in enumerate(units)
        ]
        return make_batch(examples, self.tokenizer, short_side, long_side, self.max_tokens)


def train(
    model: GroundingDINO,
    tokenizer: BertTokenizerFast,
    sources: Sequence[Source],
    plan: Plan,
    folder: Path,
    workers: int = 2,
    checkpoint_every: int = CHECKPOINT_EVERY,
    first_stage: int = 0,
) -> GroundingDINO:
    """Follow the plan from a stage on, where the rate begins anew, with a source of pictures for each stage.

    See `loop.follow`.
    """
    plan = replace(plan, restarts=(*plan.restarts, first_stage))
    batches = Batches(sources, tokenizer, plan, LONG_SIDE, model.config.max_tokens)
    optimizer = make_optimizer(model, plan)

    def take_step(step: int, batch: Batch) -> dict[str, float]:
        return training_step(model, batch, optimizer, plan, plan.stage_at(step).whole)

    return follow(
        model,
        optimizer,
        batches,
        plan.steps,
        take_step,
        partial(rate_factor, plan=plan),
        plan.average,
        folder,
        workers,
        checkpoint_every,
        plan.first_step(first_stage),
    )


def training_step(
    model: GroundingDINO, batch: Batch, optimizer: torch.optim.Optimizer, plan: Plan, whole: bool
) -> dict[str, float]:
    """One update of the weights; returns the losses."""
    device = next(model.parameters()).device
    batch = batch.to(device)
    # On a CPU the backward pass of the fused attention is slower than plain matrices at these sizes.
    attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    with attention, torch.autocast(device.type, dtype=torch.bfloat16, enabled=multiplies_bfloat16(device)):
        if whole:
            predictions, noisy = predict_all(model, batch, plan.noisy_groups)
        else:
            predictions, noisy = predict_proposals(model, batch), None
    losses = detection_losses(predictions, batch, noisy)
    update(model, optimizer, torch.stack(list(losses.values())).sum(), plan.clip)
    return numbers(losses)


def make_optimizer(model: GroundingDINO, plan: Plan) -> torch.optim.AdamW:
    """AdamW with a rate of its own for the backbone and the sampling offsets, and decay on matrices only."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        factor = plan.backbone_rate if name.startswith("backbone.") else 1.0
        if "sampling_offsets" in name:
            factor = plan.offsets_rate
        decay = plan.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": plan.learning_rate * factor, "weight_decay": decay}
            for (factor, decay), parameters in groups.items()
        ],
        betas=(0.9, 0.98),
        fused=True,
    )


def rate_factor(step: int, plan: Plan) -> float:
    """Warm-up, then a cosine to 1% of the learning rate, in each stretch between restarts."""
    return rate(step, map(plan.first_step, plan.restarts), plan.steps, plan.warm_up)


def main() -> None:
    """Train the embedded detector on synthetic scenes and write its model file."""
    parser = argparse.ArgumentParser(description="Train the embedded detector.")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/detector"), help="folder of checkpoint, log and model"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that make pictures; a GPU empties many")
    parser.add_argument("--start", help="name or path of a detector to go on from, instead of from nothing")
    arguments = read_options(parser, len(EMBEDDED_PLAN.stages))
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(EMBEDDED_PLAN.seed)
    if arguments.start is None:
        tokenizer = BertTokenizerFast(vocab=str(VOCABULARY))
        loaded = LoadedModel(GroundingDINO(EMBEDDED), tokenizer, MODELS["embedded"])
        initialise(loaded.model)
    else:
        try:
            loaded = load_pretrained(arguments.start)
        except ValueError as error:
            parser.error(str(error))
    loaded.model.to(find_device())
    artwork = Artwork(resolution=320)  # as sharp as the pictures that people bring, and the evaluations
    artwork.render()
    scenes = SceneMaker(artwork, seed=EMBEDDED_PLAN.seed)

    def source(stage: Stage, every: int) -> Source:
        """Whole batches of crowds, so that little is padded."""
        return lambda index, size: scenes.scene(index, size, bool(every) and index // stage.batch_size % every == 0)

    sources = [source(*pair) for pair in zip(EMBEDDED_PLAN.stages, CROWDED, strict=True)]
    average = train(
        loaded.model,
        loaded.tokenizer,
        sources,
        EMBEDDED_PLAN,
        arguments.output,
        workers=arguments.workers,
        first_stage=arguments.stage,
    )
    save_trained(loaded._replace(model=average), arguments.output)


def save_trained(trained: LoadedModel, folder: Path) -> None:
    """Write `model.safetensors`, with the words and thresholds of the model's card, and its `vocab.txt` to a folder."""
    card, words = trained.card, trained.tokenizer.get_vocab()
    save_checkpoint(
        trained.model,
        folder / "model.safetensors",
        card.title,
        card.description,
        card.box_threshold,
        card.text_threshold,
    )
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in sorted(words, key=words.__getitem__)))


if __name__ == "__main__":
    main()
