"""Threads that each compute some rows of a tensor, where PyTorch's own threads share every single operation.

Those meet after each of a forward's thousand operations and wait for each other spinning. Even on quiet cores that
costs time; where another program takes one of them, each meeting waits for a time slice, and two threads are slower
than one. Here a thread takes the next rows when it is done with its last ones.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import lru_cache
from threading import Barrier, Lock
from typing import NamedTuple, TypeVar

import torch

T = TypeVar("T")


class _Pool(NamedTuple):
    executor: ThreadPoolExecutor
    threads: int


_making = Lock()  # two pools made at once would count each other's threads
_mine: ContextVar[_Pool | None] = ContextVar("mine", default=None)  # the pool whose thread runs a `run`


def run(function: Callable[[], T]) -> T:
    """`function()` in one of as many threads as PyTorch uses here, where `share` gives work to the others as well.

    Each of the threads computes single-threaded, with gradients, inference mode and autocast as in the present one.
    Several callers take turns at them. Where PyTorch uses one thread, or within another `run`, the function is simply
    called.
    """
    if _mine.get() is not None:
        return function()
    with _making:
        threads = torch.get_num_threads()
        pool = _pool(threads) if threads > 1 else None
    if pool is None:
        return function()
    context = copy_context()
    context.run(_mine.set, pool)
    return pool.executor.submit(context.run, _as_here(function)).result()


def prepare() -> None:
    """Makes the threads before anybody needs them.

    While they are made, a thread that uses PyTorch for the first time takes it to have a single one, and keeps to that:
    a server calls this before it has any threads.
    """
    run(bool)


def count() -> int:
    """Among how many threads `share` divides work here: 1 outside `run`."""
    pool = _mine.get()
    return 1 if pool is None else pool.threads


def share(function: Callable[[T], None], items: Iterable[T]) -> None:
    """`function(item)` of each item, in whatever thread is free, all as in the present one; raises what one raised."""
    queue = deque(items)

    def work() -> None:
        while True:
            try:
                item = queue.popleft()
            except IndexError:
                return
            try:
                function(item)
            except BaseException:
                queue.clear()  # nobody needs the rest
                raise

    pool = _mine.get()
    threads = 1 if pool is None else min(pool.threads, len(queue))
    helpers = [pool.executor.submit(_as_here(work)) for _ in range(threads - 1)] if pool is not None else []
    try:
        work()
    finally:
        error = _wait(helpers)
        helpers.clear()
    if error is not None:
        try:
            raise error
        finally:
            del error  # it holds this frame: if the frame held it, both would keep tensors until garbage is collected


def _wait(helpers: list[Future[None]]) -> BaseException | None:
    """What one of them raised, once all have ended; those busy for another caller need not begin any more."""
    errors = [helper.exception() for helper in helpers if not helper.cancel()]
    return next(filter(None, errors), None)


def _as_here(function: Callable[[], T]) -> Callable[[], T]:
    """The function with what PyTorch keeps for each thread as it is in the present one."""
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    dtype, autocast = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

    def run() -> T:
        with (
            torch.inference_mode(inference),
            torch.set_grad_enabled(gradients),
            torch.autocast("cpu", dtype, autocast),
        ):
            return function()

    return run


@lru_cache
def _pool(threads: int) -> _Pool:
    """Threads in each of which PyTorch's operations run single-threaded."""
    executor, all_there = ThreadPoolExecutor(threads, "worker"), Barrier(threads + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first question sets a thread's number to that of all
        torch.set_num_threads(1)
        all_there.wait()

    for _ in range(threads):
        executor.submit(begin)
    all_there.wait()
    torch.set_num_threads(threads)  # the default for new threads, which each worker had set to one
    return _Pool(executor, threads)


def _begin_anew() -> None:
    """In a forked process, which has none of the threads and would wait for them for ever."""
    global _making
    _making = Lock()
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):  # Windows never forks
    os.register_at_fork(after_in_child=_begin_anew)
