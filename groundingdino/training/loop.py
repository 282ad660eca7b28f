"""A training loop that can be stopped and resumed, with averaged weights and a log one can plot."""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

Model = TypeVar("Model", bound=nn.Module)
CHECKPOINT_EVERY = 250  # steps


class _Steps(Protocol):
    @property
    def steps(self) -> int: ...


S = TypeVar("S", bound=_Steps)


class InStages(Generic[S]):
    """What plans know whose stages are given in steps."""

    stages: tuple[S, ...]

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return self.first_step(len(self.stages))

    def first_step(self, stage: int) -> int:
        """The number of steps before a stage."""
        return sum(earlier.steps for earlier in self.stages[:stage])

    def place_of(self, step: int) -> tuple[int, int]:
        """The index of a step's stage, and the number of steps before it in the stage."""
        for index, stage in enumerate(self.stages):
            if step < stage.steps:
                return index, step
            step -= stage.steps
        raise IndexError("the plan has fewer steps")

    def stage_at(self, step: int) -> S:
        """The stage of a step."""
        return self.stages[self.place_of(step)[0]]


def follow(
    model: Model,
    optimizer: torch.optim.Optimizer,
    batches: Dataset,
    steps: int,
    take_step: Callable[[int, Any], dict[str, float]],
    rate_factor: Callable[[int], float],
    decay: float,
    folder: Path,
    workers: int = 2,
    checkpoint_every: int = CHECKPOINT_EVERY,
    first: int = 0,
) -> Model:
    """Take the steps up to `steps`, from the first or from `folder`'s checkpoint.

    Writes `checkpoint.pt` and `log.jsonl` (a line every 25 steps: step, steps_per_second, rate, losses) to the folder.

    Args:
        batches: indexed by step, so that a resumed run sees what it would have seen.
        take_step: updates the weights with a step's batch; returns its losses.
        rate_factor: what the optimiser's rates are multiplied with at a step.
        decay: of the averaged weights.
        workers: processes that make batches.
        first: the step to begin with where there is no checkpoint: the model has learned before.

    Returns:
        The model with averaged weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, device = folder / "checkpoint.pt", next(model.parameters()).device
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    rates = [group["lr"] for group in optimizer.param_groups]  # before a checkpoint brings those of its step
    step = first
    if checkpoint.exists():
        state = torch.load(checkpoint, device, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
        }
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)  # a stop while writing leaves the one before

    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(step, steps),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=device.type == "cuda",
    )
    log = Log(folder / "log.jsonl")
    model.train()
    for batch in tqdm(loader, initial=step, total=steps, unit="step", smoothing=0.05):
        factor = rate_factor(step)
        for group, full in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = full * factor
        losses = take_step(step, batch)
        average.update_parameters(model)
        step += 1
        log.add(step, optimizer.param_groups[0]["lr"], losses)
        if step % checkpoint_every == 0:
            save()
    save()
    return cast(Model, average.module)


def read_options(parser: argparse.ArgumentParser, stages: int) -> argparse.Namespace:
    """The command line of a training by a plan of that many stages; wrong ones end the program with a sentence."""
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--stage", type=int, default=0, help="of the plan to begin with, counted from 0")
    options = parser.parse_args()
    if not 0 <= options.stage < stages:
        parser.error(f"--stage should be from 0 to {stages - 1}, but is {options.stage}.")
    if (options.start or options.stage) and (options.output / "checkpoint.pt").exists():
        parser.error(
            f"{options.output} holds a run, which goes on without --start and --stage: choose another --output."
        )
    return options


def update(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, clip: float) -> Tensor:
    """One step down a loss; returns the norm of all gradients together before it was clipped."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return norm


def numbers(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Losses to log; a GPU is waited for once, not for each."""
    return dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))


def rate(step: int, restarts: Iterable[int], last: int, warm_up: int) -> float:
    """`cosine` in each stretch between steps at which the rate begins anew (SGDR, arXiv 1608.03983)."""
    edges = [0, *restarts, last]
    first = max(edge for edge in edges[:-1] if edge <= step)
    return cosine(step, first, min((edge for edge in edges if edge > first), default=last), warm_up)


def cosine(step: int, first: int, last: int, warm_up: int) -> float:
    """Warm-up, then a cosine to 1%, between two steps."""
    warmth = min(1.0, (step - first + 1) / warm_up)
    return warmth * (0.01 + 0.99 * (1 + math.cos(math.pi * (step - first) / (last - first))) / 2)


class Log:
    """Means of what happened, a JSON line every few steps."""

    EVERY = 25

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[dict[str, float]] = []
        self.since = time.perf_counter()

    def add(self, step: int, rate: float, losses: dict[str, float]) -> None:
        """Take a step's losses in; every 25th writes the line."""
        self.rows.append(losses)
        if step % self.EVERY:
            return
        names = dict.fromkeys(name for row in self.rows for name in row)
        means = {name: round(float(np.mean([row[name] for row in self.rows if name in row])), 4) for name in names}
        speed = round(len(self.rows) / (time.perf_counter() - self.since), 3)
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "steps_per_second": speed, "rate": rate, **means}) + "\n")
        self.rows, self.since = [], time.perf_counter()
