"""A training loop that can be stopped and resumed, with averaged weights and a log one can plot."""

import argparse
import json
import math
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from groundingdino.training import processes

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
    training: bool = True,
) -> Model:
    """Take the steps up to `steps`, from the first or from `folder`'s checkpoint.

    Where several processes learn together, the first of them writes.

    Writes `checkpoint.pt` and `log.jsonl` (a line every 25 steps: step, steps_per_second, rate, losses) to the folder,
    and the same for TensorBoard if that is installed. Ctrl-C ends it after a step that is then kept.

    Args:
        batches: indexed by step, so that a resumed run sees what it would have seen.
        take_step: updates the weights with a step's batch; returns its losses.
        rate_factor: what the optimiser's rates are multiplied with at a step.
        decay: of the averaged weights.
        workers: processes that make batches.
        first: the step to begin with where there is no checkpoint: the model has learned before.
        training: whether the model's modules are in training mode: statistics of normalisation move with the batches.

    Returns:
        The model with averaged weights.

    Raises:
        ValueError: one sentence: the checkpoint is damaged, or a loss is no number any more.
        OSError: the checkpoint or the log cannot be written, as on a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, device = folder / "checkpoint.pt", next(model.parameters()).device
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    rates = [group["lr"] for group in optimizer.param_groups]  # before a checkpoint brings those of its step
    step = first
    if checkpoint.exists():
        state = _load(checkpoint, device)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]

    def save() -> None:
        if not processes.is_first():
            return
        state = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
        }
        _save(state, checkpoint)

    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(step, steps),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_ctrl_c if workers else None,
    )
    log = Log(folder / "log.jsonl") if processes.is_first() else None
    model.train(training)
    with _between_steps() as stopped:
        bar = tqdm(loader, initial=step, total=steps, unit="step", smoothing=0.05, disable=log is None)
        for batch in bar:
            factor = rate_factor(step)
            for group, full in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = full * factor
            losses = take_step(step, batch)
            if not all(map(math.isfinite, losses.values())):
                raise ValueError(f"The loss of step {step + 1} is no number any more: learn at a lower rate.")
            average.update_parameters(model)
            step += 1
            if log is not None:
                log.add(step, optimizer.param_groups[0]["lr"], losses)
            if step % checkpoint_every == 0 and step < steps:
                save()
            if step < steps and processes.any_of(stopped()):
                save()
                raise KeyboardInterrupt
        save()
    return cast(Model, average.module)


@contextmanager
def _between_steps() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is asked for rather than raised anywhere, as half a step would be kept; a second one is raised."""
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # as of a program that runs in the background
    if ignored or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed: list[int] = []

    def press(number: int, frame: Any) -> None:
        if pressed:
            signal.default_int_handler(number, frame)
        pressed.append(number)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def _leave_ctrl_c(_: int) -> None:
    """A terminal's Ctrl-C reaches all processes; those that make batches end with the one that learns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _save(state: Mapping[str, Any], path: Path) -> None:
    """A stop while writing leaves the file that was there before, and so does a full disk."""
    partial = path.with_suffix(".tmp")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, RuntimeError):  # PyTorch's writer says nothing of the disk
            raise OSError(None, "the disk may be full", str(path)) from error
        raise
    partial.replace(path)


def _load(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        return torch.load(path, device, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError) as error:
        raise ValueError(f"'{path}' is damaged: remove it to begin anew.") from error


def read_options(parser: argparse.ArgumentParser, stages_of: Callable[[argparse.Namespace], int]) -> argparse.Namespace:
    """The command line of a training by a plan of so many stages; wrong ones end the program with a sentence."""
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--stage", type=int, default=0, help="of the plan to begin with, counted from 0")
    options = parser.parse_args()
    stages = stages_of(options)
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
    processes.average_gradients(model.parameters())
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
        self.board: Any = None
        if find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(path.parent))

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
        if self.board is not None:
            for name, value in {"rate": rate, **means}.items():
                self.board.add_scalar(name, value, step)
            self.board.flush()
        self.rows, self.since = [], time.perf_counter()
