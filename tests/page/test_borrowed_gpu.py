"""Calls in a forked process: what goes there and comes back, what does not, and what is said where there is no GPU."""

import os
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from groundingdino.page import borrowed_gpu
from groundingdino.page.borrowed_gpu import BorrowedGpu
from groundingdino.page.jobs import Jobs
from groundingdino.runtime.interruption import Stopped, raise_if_stopped, stopping
from tests.fake_spaces import Platform, error


class Pair(NamedTuple):
    first: Tensor
    second: tuple[Tensor, int]


class Unreadable(Exception):
    def __init__(self, first: str, second: str):
        super().__init__(f"{first} {second}")


class Worker:
    """What computes there."""

    loads = 0

    def __init__(self, name: str, device: str):
        Worker.loads += 1
        self.name, self.device, self.calls = name, device, 0

    def double(self, pair: Pair) -> Pair:
        assert pair.first.device.type == self.device
        return Pair(pair.first * 2, (pair.second[0] * 2, pair.second[1]))

    def count(self) -> tuple[int, int, int]:
        self.calls += 1
        return self.calls, Worker.loads, os.getpid()

    def paint(self, steps: int, report: Callable[[int], None], stop: Callable[[], bool]) -> str:
        for step in range(steps):
            if stop():
                raise Stopped
            report(step)
            sleep(0.05)
        return "painted"

    def never_ends(self) -> None:
        while True:
            raise_if_stopped()
            sleep(0.01)

    def fail(self, error: type[Exception], *words: str) -> None:
        raise error(*words)

    def give(self) -> Any:
        return lambda: None


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def gpu(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> BorrowedGpu:
    monkeypatch.setattr(Worker, "loads", 0)
    return BorrowedGpu(platform.GPU, "cpu")


def test_tensors_come_back_whole(gpu: BorrowedGpu, platform: Platform):
    pair = Pair(torch.arange(6.0).view(2, 3), (torch.ones(2, dtype=torch.bfloat16), 7))
    doubled = gpu.run(Worker, "one", "double", pair, seconds=2.1)
    assert isinstance(doubled, Pair)
    torch.testing.assert_close(doubled.first, 2 * pair.first, rtol=0, atol=0)
    torch.testing.assert_close(doubled.second[0], 2 * pair.second[0], rtol=0, atol=0)
    assert doubled.second[1] == 7
    assert platform.seconds == [3]  # whole ones, as the platform counts


def test_the_other_process_forgets_but_has_what_was_loaded_here(gpu: BorrowedGpu):
    for _ in range(2):
        calls, loads, process = gpu.run(Worker, "late", "count", seconds=1)
        assert (calls, loads) == (1, 1)
        assert process != os.getpid()
    assert Worker.loads == 0
    gpu.keep(Worker, "early")
    assert gpu.run(Worker, "early", "count", seconds=1)[:2] == (1, 1)  # not loaded a second time there
    assert Worker.loads == 1


def test_a_process_that_is_used_again_keeps_two_models_beside_those_from_here(gpu: BorrowedGpu):
    gpu.keep(Worker, "kept")
    for name in ("one", "two", "one", "three", "one", "kept", "two"):
        gpu._model(Worker, name)
    assert [name for _, name in gpu._loaded] == ["one", "two"]
    assert Worker.loads == 5  # kept, one, two, three, and two again


def test_steps_are_told_as_they_come(gpu: BorrowedGpu):
    told: list[int] = []
    assert gpu.run(Worker, "one", "paint", 3, seconds=9, report=told.append) == "painted"
    assert told == [0, 1, 2]


def test_who_stops_between_two_steps_ends_the_work(gpu: BorrowedGpu):
    told: list[int] = []
    started = monotonic()
    with pytest.raises(Stopped):
        gpu.run(Worker, "one", "paint", 2000, seconds=999, report=told.append, stop=lambda: len(told) > 1)
    assert told == [0, 1]
    assert monotonic() - started < 30  # 100 seconds of steps were left


def test_what_is_not_wanted_borrows_nothing(gpu: BorrowedGpu, platform: Platform):
    with pytest.raises(Stopped):
        gpu.run(Worker, "one", "count", seconds=1, stop=lambda: True)
    with pytest.raises(Stopped), stopping(lambda: True):
        gpu.run(Worker, "one", "count", seconds=1)
    assert platform.seconds == []


def test_work_ends_with_its_time(gpu: BorrowedGpu):
    with pytest.raises(ValueError, match="not done within the 1 seconds it was asked for"):
        gpu.run(Worker, "one", "never_ends", seconds=1)


@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        ((ValueError, "Choose fewer steps."), ValueError, "^Choose fewer steps.$"),
        ((ZeroDivisionError, "by zero"), ZeroDivisionError, "by zero"),
        ((Unreadable, "not", "again"), RuntimeError, "Unreadable: not again"),
    ],
)
def test_errors_of_the_work_are_its_own(gpu: BorrowedGpu, words: Any, expected: type[Exception], message: str):
    with pytest.raises(expected, match=message):
        gpu.run(Worker, "one", "fail", *words, seconds=1)


def test_what_cannot_be_sent_is_told(gpu: BorrowedGpu):
    with pytest.raises(RuntimeError, match="cannot be sent"):
        gpu.run(Worker, "one", "give", seconds=1)


QUOTA = "You have exceeded your free ZeroGPU quota (60s requested vs. 12s left). Try again in 3:20:10. Log in."


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (
            error("ZeroGPU quota exceeded", QUOTA),
            "Your GPU time here is used up: try again in 3:20:10, or choose the em",
        ),
        (
            error("ZeroGPU quota exceeded", "Space app has reached its GPU limit."),
            "used up: try again later, or choose",
        ),
        (error("ZeroGPU pending credits exceeded", "Too many"), "Other work of yours uses all of your GPU time"),
        (error("ZeroGPU illegal duration", "(900s) is larger"), "more GPU time than is lent at once: ask for fewer st"),
        (error("ZeroGPU queue timeout", "No GPU was available"), "No GPU was free within a minute: try again, or ch"),
        (error("ZeroGPU client error", "Expired token"), "No GPU could be had: load the page again, or choose the"),
        (error("Something new", "?"), "No GPU could be had: try again in a minute, or choose the embedded model"),
        (RuntimeError("ZeroGPU API /schedule error: 500"), "No GPU could be had: try again in a minute, or choose the"),
    ],
)
def test_what_the_platform_refuses_is_one_sentence(
    gpu: BorrowedGpu, platform: Platform, refusal: Exception, sentence: str
):
    platform.refusal = refusal
    with pytest.raises(ValueError, match=r"^[A-Z][^.]*\.$") as raised:
        gpu.run(Worker, "one", "count", seconds=1)
    assert sentence in str(raised.value)


def test_who_left_while_waiting_for_a_gpu_has_stopped(gpu: BorrowedGpu, platform: Platform):
    platform.refusal = RuntimeError("Connection closed by visitor while queueing")
    with pytest.raises(Stopped):
        gpu.run(Worker, "one", "count", seconds=1)


def test_a_gpu_that_is_taken_away_is_told_and_the_next_call_goes_well(gpu: BorrowedGpu, platform: Platform):
    platform.dies = True
    with pytest.raises(ValueError, match="The GPU was taken away before the work was done: try again, or choose"):
        gpu.run(Worker, "one", "count", seconds=1)
    platform.dies = False
    assert gpu.run(Worker, "one", "count", seconds=1)[0] == 1


def test_jobs_know_whose_request_they_are():
    from gradio.context import LocalContext

    token = LocalContext.request.set("a visitor")  # by which the platform counts
    try:
        assert Jobs(1).run(LocalContext.request.get) == "a visitor"
    finally:
        LocalContext.request.reset(token)


def test_every_sentence_ends_in_what_to_do():
    assert all(": " in sentence for sentence in borrowed_gpu._SENTENCES.values())
