"""Threads that share a forward: who computes what, with which settings, and what comes of errors."""

import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

import pytest
import torch

from groundingdino.detection.text_tokens import tokenize_captions
from groundingdino.model import GroundingDINO, Output, layers
from groundingdino.runtime import workers


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def share_between_two() -> set[str]:
    """The names of the threads that two items went to, each of which waits for the other."""
    names, both = set(), threading.Barrier(2, timeout=30)

    def item(_: int) -> None:
        names.add(threading.current_thread().name)
        both.wait()

    workers.share(item, range(2))
    return names


def share_and_fail(count: int, helper: bool, done: list[int]) -> None:
    """Many items that take some time, of which the first one of the helper, or of the present thread, fails."""
    caller, both = threading.current_thread(), threading.Barrier(2, timeout=30)

    def item(number: int) -> None:
        if number < 2:
            both.wait()
            if (threading.current_thread() is not caller) == helper:
                raise ValueError("a thread's first")
        time.sleep(0.01)
        done.append(number)

    workers.share(item, range(count))


@pytest.mark.usefixtures("two_threads")
def test_work_is_shared_by_single_threaded_threads():
    caller = threading.current_thread().name
    names = workers.run(share_between_two)
    assert len(names) == 2
    assert caller not in names
    assert workers.run(torch.get_num_threads) == 1
    assert workers.run(workers.count) == 2
    assert torch.get_num_threads() == 2
    assert ThreadPoolExecutor(1).submit(torch.get_num_threads).result() == 2  # a thread that begins later


@pytest.mark.usefixtures("one_thread")
def test_one_thread_needs_no_other():
    assert workers.run(threading.current_thread) is threading.current_thread()
    assert workers.run(workers.count) == 1


@pytest.mark.usefixtures("two_threads")
def test_outside_a_run_nothing_is_shared():
    seen = []
    workers.share(lambda item: seen.append((item, threading.current_thread())), range(3))
    assert seen == [(item, threading.current_thread()) for item in range(3)]
    assert workers.count() == 1


@pytest.mark.usefixtures("two_threads")
def test_a_run_within_a_run_is_part_of_it():
    assert workers.run(lambda: workers.run(threading.current_thread) is threading.current_thread())


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("inference", "dtype"), [(True, torch.float32), (True, torch.bfloat16), (False, torch.float32)]
)
def test_the_modes_of_a_run_hold_in_all_threads(inference, dtype):
    both, seen = threading.Barrier(2, timeout=30), []

    def item(_: int) -> None:
        both.wait()
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        seen.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled(), product.dtype))

    def forward() -> None:
        workers.share(item, range(2))

    autocast = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    with torch.inference_mode(inference), torch.no_grad(), autocast:
        workers.run(forward)
    assert seen == [(inference, False, dtype)] * 2


@pytest.mark.usefixtures("two_threads")
def test_gradients_are_those_of_the_caller():
    x = torch.ones(2, requires_grad=True)
    workers.run(lambda: (3 * x).sum()).backward()
    assert x.grad.tolist() == [3, 3]


@pytest.mark.usefixtures("two_threads")
def test_what_the_caller_set_for_itself_holds_in_a_run():
    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    variable.set("something")
    assert workers.run(variable.get) == "something"


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("helper", [True, False])
def test_an_error_reaches_the_caller_and_ends_the_rest(helper):
    done = []

    with pytest.raises(ValueError, match="a thread's first"):
        workers.run(lambda: share_and_fail(1000, helper, done))
    assert len(done) < 990
    assert workers.run(lambda: "still there") == "still there"


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("helper", [True, False])
def test_an_error_keeps_nothing_of_the_forward(helper):
    class Activations: ...

    held = []

    def forward() -> None:
        activations = Activations()
        held.append(weakref.ref(activations))
        share_and_fail(2, helper, [])

    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            workers.run(forward)
        deadline = time.monotonic() + 30
        while held[0]() is not None and time.monotonic() < deadline:  # the helper has told, but not left yet
            time.sleep(0.01)
        assert held[0]() is None
    finally:
        gc.enable()


@pytest.mark.usefixtures("two_threads")
def test_more_callers_than_threads_all_get_their_answer():
    def forward(number: int) -> int:
        found: list[int] = []
        workers.share(lambda item: found.append(item * number), range(20))
        return sum(found)

    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(lambda number: workers.run(lambda: forward(number)), range(30)))
    assert answers == [190 * number for number in range(30)]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("numbers", "alone", "shared"),
    [
        (layers.LEAST_PIECE, 1, 1),  # too few to share
        (2 * layers.LEAST_PIECE, 1, 2),
        (layers.PIECE, 1, 2),
        (3 * layers.PIECE, 3, 4),  # as many for each
        (20 * layers.PIECE, 20, 20),
    ],
)
def test_how_many_pieces_rows_are_cut_into(numbers, alone, shared):
    assert layers.number_of_pieces(numbers) == alone
    assert workers.run(lambda: layers.number_of_pieces(numbers)) == shared


@pytest.mark.usefixtures("two_threads")
def test_rows_shared_are_the_rows():
    x = torch.randn(1, 999, 300)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return layers.by_rows(lambda rows: rows * 2, x, width=300)

    assert torch.equal(workers.run(forward), x * 2)


@pytest.mark.usefixtures("two_threads")
def test_a_forward_that_is_shared_finds_the_same(mini_config, tokenizer, monkeypatch):
    torch.manual_seed(0)
    model = GroundingDINO(mini_config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    pixels, padding_mask = torch.randn(2, 3, 96, 128), torch.zeros(2, 96, 128, dtype=torch.bool)
    padding_mask[1, :, 100:] = True
    tokens = tokenize_captions(["cat . remote control .", "sofa ."], tokenizer)

    def forward() -> Output:
        with torch.inference_mode():
            return model(pixels, padding_mask, tokens)

    torch.set_num_threads(1)
    expected = forward()
    monkeypatch.setattr(layers, "PIECE", 2**14)
    monkeypatch.setattr(layers, "LEAST_PIECE", 1)
    in_pieces = forward()
    torch.set_num_threads(2)
    for output in (in_pieces, workers.run(forward)):
        torch.testing.assert_close(output.boxes, expected.boxes, rtol=0, atol=1e-5)
        torch.testing.assert_close(output.logits, expected.logits, rtol=1e-4, atol=1e-4)


FORKED = """
import os, signal, torch
from groundingdino import kernels
from groundingdino.runtime import workers

torch.set_num_threads(2)

def work():
    shapes, points = ((4, 4),), torch.rand(1, 6, 2, 1, 3, 2)
    kernels.deformable_attention(torch.rand(1, 16, 2, 8), shapes, points, torch.rand(1, 6, 2, 1, 3))
    return workers.run(workers.count)

assert work() == 2
child = os.fork()
if not child:
    signal.alarm(60)  # one that waits for threads it does not have would wait for ever
    os._exit(work() - 2)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_makes_threads_of_its_own():
    """As servers do that load first and then multiply."""
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=300, cwd=Path(__file__).parents[2])
