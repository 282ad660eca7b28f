"""Train a detector by a plan of stages.

    python -m groundingdino.training.detector.train --photographs DATA --output runs/detector

trains the embedded detector from a backbone that knows ImageNet, on synthetic scenes and on photographs: DATA holds the
folders that `photographs.json` lists, in COCO's layout. Started again with the same folder, it goes on.
"""

import argparse
from collections.abc import Sequence
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
from groundingdino.detection.available_models import MODELS
from groundingdino.detection.checkpoints import LoadedModel, load_pretrained, save_checkpoint
from groundingdino.detection.precision import multiplies_bfloat16
from groundingdino.model import GroundingDINO
from groundingdino.model.backbones import TimmBackbone
from groundingdino.model.config import IMAGENET_MEAN, IMAGENET_STD, PHOTOGRAPHIC
from groundingdino.runtime.allocation import keep_freed_memory
from groundingdino.runtime.devices import find_device
from groundingdino.training import processes
from groundingdino.training.detector.forward import predict_all, predict_proposals
from groundingdino.training.detector.initialise import imagenet_weights, initialise, load_imagenet, transplant
from groundingdino.training.detector.losses import detection_losses
from groundingdino.training.detector.mixture import SETTINGS, photographs, read_settings
from groundingdino.training.detector.targets import Batch, Example, Source, make_batch, mix
from groundingdino.training.detector.vocabulary import PATH as SHIPPED
from groundingdino.training.detector.vocabulary import build
from groundingdino.training.loop import CHECKPOINT_EVERY, InStages, follow, numbers, rate, read_options, update
from groundingdino.training.scenes.scenes import Scene, SceneMaker, draw_scale

UNIT = 32  # pixels, of which the sides of pictures are multiples: the deepest stride
LONG_SIDE = 640  # pixels, at most: what is longer takes a step's time without teaching more
# Width to height; batches are made of one shape so that nothing is padded.
ASPECTS = (0.5, 0.625, 0.75, 1.0, 1.0, 4 / 3, 4 / 3, 1.5, 16 / 9)


@dataclass(frozen=True)
class Stage:
    """A stretch of training on pictures of one source and some sizes."""

    pictures: int
    batch_size: int
    short_sides: tuple[int, ...]  # pixels; each batch takes one of them
    whole: bool  # False: backbone, text and proposals only
    crowded: int = 0  # every so many batches of drawings one shows crowds; 0: none

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.pictures // self.batch_size


@dataclass(frozen=True)
class Plan(InStages[Stage]):
    """What to train on for how long, and how fast."""

    stages: tuple[Stage, ...]
    learning_rate: float = 8e-4
    backbone_rate: float = 0.25  # of the learning rate, for what was learned before; the pyramid has the full one
    offsets_rate: float = 0.2  # of the learning rate: sampling offsets run away at the full one
    weight_decay: float = 0.01
    warm_up: int = 200  # steps
    clip: float = 10.0  # norm of all gradients together
    average: float = 0.998  # decay of the averaged weights, which are what is kept
    noisy_groups: int = 2
    frozen: tuple[str, ...] = ()  # beginnings of names of parameters that stay as they are
    enlarged: float = 0.15  # of the pictures: made smaller and enlarged, as small pictures are for the model
    reduced: float = 0.25  # of the pictures: made larger and reduced, as most pictures are for the model
    seed: int = 0
    restarts: tuple[int, ...] = ()  # stages at whose start the rate begins anew
    text_rate: float = 1.0  # of the learning rate, for BERT
    layer_decay: float = 1.0  # what a layer of backbone or BERT has of the rate of the one above it
    naming: bool = True  # see `losses.detection_losses`
    statistics: bool = True  # of normalisation move with the batches

    def first_picture(self, step: int) -> int:
        """The number of pictures before a step."""
        index, done = self.place_of(step)
        return sum(stage.pictures for stage in self.stages[:index]) + done * self.stages[index].batch_size


EMBEDDED_PLAN = Plan(
    stages=(
        Stage(pictures=40_000, batch_size=16, short_sides=(192, 224), whole=False, crowded=2),
        Stage(pictures=160_000, batch_size=16, short_sides=(192, 224, 256), whole=True, crowded=4),
        Stage(pictures=64_000, batch_size=16, short_sides=(224, 256), whole=True, crowded=5),
        Stage(pictures=32_000, batch_size=16, short_sides=(224, 256, 288), whole=True, crowded=5),
    ),
    restarts=(1,),
    # What ImageNet taught of edges and textures stays as it is: on a CPU it is half of a step's time.
    frozen=tuple(f"backbone.features.{part}." for part in ("conv_stem", "bn1", "blocks.0", "blocks.1")),
)
SCENES_SHARE = 0.4  # of the pictures: drawings, where there are photographs too


class Batches(Dataset[Batch]):
    """The batch of each step, made of nothing but the step's number: a resumed run sees what it would have seen.

    Args:
        share: of several processes that learn together, which this is and how many there are: each has its part.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        tokenizer: BertTokenizerFast,
        plan: Plan,
        long_side: int,
        max_tokens: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        share: tuple[int, int] = (0, 1),
    ):
        self.share = share
        self.sources, self.tokenizer, self.plan = sources, tokenizer, plan
        self.long_side, self.max_tokens, self.mean, self.std = long_side, max_tokens, mean, std

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
        own, all_of_them = self.share
        examples = [
            source(picture + k, (size[0] // UNIT * units[k], size[1] // UNIT * units[k]))
            for k in range(own, len(units), all_of_them)
        ]
        return make_batch(examples, self.tokenizer, short_side, long_side, self.max_tokens, self.mean, self.std)


def train(
    model: GroundingDINO,
    tokenizer: BertTokenizerFast,
    sources: Sequence[Source],
    plan: Plan,
    folder: Path,
    workers: int = 2,
    checkpoint_every: int = CHECKPOINT_EVERY,
    first_stage: int = 0,
    long_side: int = LONG_SIDE,
) -> GroundingDINO:
    """Follow the plan from a stage on, where the rate begins anew, with a source of pictures for each stage.

    See `loop.follow`.
    """
    plan, config = replace(plan, restarts=(*plan.restarts, first_stage)), model.config
    share = processes.number(), processes.count()
    pixels = config.image_mean, config.image_std
    batches = Batches(sources, tokenizer, plan, long_side, config.max_tokens, *pixels, share)
    optimizer = make_optimizer(model, plan)

    def take_step(step: int, batch: Batch) -> dict[str, float]:
        torch.manual_seed(1000003 * plan.seed + step)  # of noisy queries, so that a resumed run has the same
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
        plan.statistics,
    )


def training_step(
    model: GroundingDINO, batch: Batch, optimizer: torch.optim.Optimizer, plan: Plan, whole: bool
) -> dict[str, float]:
    """One update of the weights; returns the losses."""
    device = next(model.parameters()).device
    batch = batch.to(device)
    # On a CPU the backward pass of the fused attention is slower than plain matrices at these sizes.
    with sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext():
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=multiplies_bfloat16(device)):
            if whole:
                predictions, noisy = predict_all(model, batch, plan.noisy_groups)
            else:
                predictions, noisy = predict_proposals(model, batch), None
        losses = detection_losses(predictions, batch, noisy, plan.naming)
        # With the same attention: layers may be computed again in it.
        update(model, optimizer, torch.stack(list(losses.values())).sum(), plan.clip)
    return numbers(losses)


def make_optimizer(model: GroundingDINO, plan: Plan) -> torch.optim.AdamW:
    """AdamW with a rate of its own for the backbone and the sampling offsets, and decay on matrices only."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if name.startswith(plan.frozen):
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        factor = plan.layer_decay ** layers_above(name, model)
        if name.startswith("backbone.") and not name.startswith("backbone.pyramid."):
            factor *= plan.backbone_rate
        elif name.startswith("text_encoder.bert."):
            factor *= plan.text_rate
        elif "sampling_offsets" in name:
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


def layers_above(name: str, model: GroundingDINO) -> int:
    """How many layers of backbone or BERT lie between the one that has a parameter and the last; 0 of all others."""
    for part, layers in (
        ("backbone.", "backbone.stages."),
        ("backbone.", "backbone.features.blocks."),
        ("text_encoder.bert.", "text_encoder.bert.encoder.layer."),
    ):
        if name.startswith(part) and not name.startswith(("backbone.pyramid.", "backbone.norms.")):
            numbers = [
                int(other[len(layers) :].split(".")[0]) for other in model.state_dict() if other.startswith(layers)
            ]
            own = name[len(layers) :].split(".")[0] if name.startswith(layers) else ""
            if numbers:
                return max(numbers) - int(own) if own else max(numbers) + 1
    return 0


def rate_factor(step: int, plan: Plan) -> float:
    """Warm-up, then a cosine to 1% of the learning rate, in each stretch between restarts."""
    return rate(step, map(plan.first_step, plan.restarts), plan.steps, plan.warm_up)


def main() -> None:
    """Train the embedded detector and write its model file."""
    parser = argparse.ArgumentParser(
        prog="python -m groundingdino.training.detector.train", description="Train the embedded detector."
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/detector"), help="folder of checkpoint, log and model"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that make pictures; a GPU empties many")
    parser.add_argument("--start", help="name or path of a detector to go on from, instead of from nothing")
    parser.add_argument(
        "--photographs", type=Path, help="folder of the sets in the settings; without it, drawings alone"
    )
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="what is known of the sets: %(default)s")
    parser.add_argument("--backbone", type=Path, help="ImageNet weights; by default those of the installed package")
    arguments = read_options(parser, lambda _: len(EMBEDDED_PLAN.stages))
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    torch.manual_seed(EMBEDDED_PLAN.seed)
    try:
        settings = read_settings(arguments.settings)
        photos = photographs(arguments.photographs, settings, EMBEDDED_PLAN.seed) if arguments.photographs else None
        loaded = start_from(arguments.start, arguments.backbone)
    except ValueError as error:
        parser.error(str(error))
    loaded.model.to(find_device())
    artwork = Artwork(resolution=320)  # as sharp as the pictures that people bring, and the evaluations
    artwork.render()
    scenes = SceneMaker(artwork, seed=EMBEDDED_PLAN.seed)

    def source(stage: Stage) -> Source:
        """Whole batches of crowds, so that little is padded, and batches of photographs and drawings."""

        def draw(index: int, size: tuple[int, int]) -> Scene:
            return scenes.scene(index, size)

        def draw_crowd(index: int, size: tuple[int, int]) -> Scene:
            return scenes.scene(index, size, crowded=True)

        mixed = mix([(SCENES_SHARE, draw), (1 - SCENES_SHARE, photos)], EMBEDDED_PLAN.seed) if photos else draw
        every = stage.crowded

        def either(index: int, size: tuple[int, int]) -> Example:
            crowd = bool(every) and index // stage.batch_size % every == 0
            return draw_crowd(index, size) if crowd else mixed(index, size)

        return either

    sources = [source(stage) for stage in EMBEDDED_PLAN.stages]
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


def start_from(learned: str | None, backbone: Path | None) -> LoadedModel:
    """The embedded detector before its training.

    Args:
        learned: name or path of a detector to go on from. One of other sizes, as that with another backbone is, gives
            all that fits; the rest is as without one: ImageNet's weights in the backbone, the others fresh.
        backbone: file of ImageNet's weights, by default the installed package's.

    Raises:
        ValueError: one sentence: a file cannot be read or does not fit.
    """
    given = load_pretrained(learned) if learned is not None else None
    if given is not None and given.model.config == PHOTOGRAPHIC:
        return given
    model = GroundingDINO(PHOTOGRAPHIC)
    initialise(model)
    if given is not None:
        transplant(given.model, model)
    assert isinstance(model.backbone, TimmBackbone)
    load_imagenet(model.backbone, backbone or imagenet_weights())
    words = build(SHIPPED.read_text(encoding="utf-8").split())
    tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(words)})
    return LoadedModel(model, tokenizer, MODELS["embedded"])


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
