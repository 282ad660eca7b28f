"""Stop what nobody waits for any more: a forward pass between two of its layers, or many masks between two passes."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from torch import nn

T = TypeVar("T")
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


def unless_stopped(compute: Callable[[], T], stop: StopCheck | None) -> T:
    """`compute()`, given up once `stop()`; what somebody else began, was waited for and is given up is begun again.

    Raises:
        Stopped: `stop()` is true.
    """
    while True:
        try:
            with stopping(stop):
                return compute()
        except Stopped:
            if stop is not None and stop():
                raise


def interrupt_before(layers: Iterable[nn.Module]) -> None:
    """Ask before each of these layers runs."""
    for layer in layers:
        if raise_if_stopped not in layer._forward_pre_hooks.values():  # two detectors may share a model
            layer.register_forward_pre_hook(raise_if_stopped)


def raise_if_stopped(*_: Any) -> None:
    """Raises `Stopped` where what is computed in this thread, within `stopping`, is not wanted any more."""
    raise_if(_stop.get())


def raise_if(stop: StopCheck | None) -> None:
    """Raises `Stopped` once `stop()`."""
    if stop is not None and stop():
        raise Stopped
