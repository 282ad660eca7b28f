"""Stop a forward pass that nobody waits for any more, between two of its layers."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

from groundingdino.model import GroundingDINO
from groundingdino.model.backbone import Swin

StopCheck = Callable[[], bool]  # True once the result is not wanted any more

_stop: ContextVar[StopCheck | None] = ContextVar("stop", default=None)


class Stopped(Exception):
    """A computation was given up because its result is not wanted any more."""


@contextmanager
def stopping(stop: StopCheck | None) -> Iterator[None]:
    """Within it, in this thread, a layer of `interrupt_before` raises `Stopped` instead of running once `stop()`."""
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def make_interruptible(model: GroundingDINO) -> None:
    """Ask before each block of the backbone and each layer of enhancer and decoder; costs nothing worth measuring."""
    layers: list[nn.Module] = [*model.enhancer.layers, *model.decoder.layers]
    if isinstance(model.backbone, Swin):
        layers += [block for stage in model.backbone.stages for block in stage.children()]
    interrupt_before(layers)


def interrupt_before(layers: Iterable[nn.Module]) -> None:
    """Ask before each of these layers runs."""
    for layer in layers:
        if _check not in layer._forward_pre_hooks.values():  # two detectors may share a model
            layer.register_forward_pre_hook(_check)


def _check(*_: Any) -> None:
    stop = _stop.get()
    if stop is not None and stop():
        raise Stopped
