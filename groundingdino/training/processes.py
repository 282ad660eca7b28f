"""Several processes that learn together, each on a device of its own, as `accelerate launch` starts them.

Each takes its share of every batch, and the gradients' mean moves the weights, which so stay the same in all. The first
alone writes. Of a single process all of this is nothing.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from groundingdino.runtime.extras import missing


def count() -> int:
    """How many learn together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def number() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this is the one that writes."""
    return number() == 0


def device() -> torch.device | None:
    """The device of this process, if there are others; they meet here for the first time.

    Raises:
        ValueError: one sentence: accelerate is not installed.
    """
    return _state().device if count() > 1 else None


@contextmanager
def first_alone() -> Iterator[None]:
    """What one process prepares and notes, and the others then find."""
    if count() == 1:
        yield
        return
    with _state().main_process_first():
        yield


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """The mean over all processes becomes the gradient in each; one that a process has not is nought there."""
    if count() == 1:
        return
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    flat = torch.cat(
        [
            torch.zeros_like(parameter).flatten() if parameter.grad is None else parameter.grad.flatten()
            for parameter in learning
        ]
    )
    torch.distributed.all_reduce(flat)
    parts = (flat / count()).split([parameter.numel() for parameter in learning])
    for parameter, part in zip(learning, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def any_of(here: bool) -> bool:
    """Whether something holds in any of them."""
    if count() == 1:
        return here
    flag = torch.tensor([here], dtype=torch.float32, device=_state().device)
    torch.distributed.all_reduce(flag)
    return bool(flag.item())


def _state() -> Any:
    if sentence := missing("Learning in several processes", "train", "accelerate"):
        raise ValueError(sentence)
    from accelerate import PartialState

    return PartialState()
