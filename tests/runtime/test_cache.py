import gc
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from threading import Event, Semaphore, Thread
from typing import Any
from weakref import ref

import pytest

from groundingdino.runtime.cache import ByteCache


def _fill(cache: ByteCache[str], *keys: str) -> list[bool]:
    """Ask for keys whose value is the key itself; whether each was there."""
    return [cache.get_or_compute(key, partial(str, key))[1] for key in keys]


def test_the_least_recently_used_value_goes_first():
    cache = ByteCache[str](max_bytes=6, size_of=len)
    assert _fill(cache, "aa", "bb", "cc", "aa") == [False, False, False, True]
    assert _fill(cache, "dd") == [False]  # drops bb, because aa was used since
    assert _fill(cache, "cc", "aa", "dd", "bb") == [True, True, True, False]


def test_the_bytes_stay_within_the_bound():
    cache = ByteCache[str](max_bytes=10, size_of=len)
    kept = []
    for length in [3, 4, 5, 1, 10, 2, 9]:
        _fill(cache, "x" * length)
        kept.append([other for other in (3, 4, 5, 1, 10, 2, 9) if cache.get("x" * other)])
    assert kept == [[3], [3, 4], [4, 5], [4, 5, 1], [10], [2], [9]]


def test_the_number_stays_within_its_bound_too():
    cache = ByteCache[str](max_bytes=100, size_of=len, most=2)
    _fill(cache, "a", "b", "a", "c")
    assert [cache.get(key) for key in "abc"] == ["a", None, "c"]


def test_a_value_larger_than_the_cache_is_handed_out_and_drops_nothing():
    cache = ByteCache[str](max_bytes=4, size_of=len)
    _fill(cache, "aaa")
    assert cache.get_or_compute("long", lambda: "too long") == ("too long", False)
    assert _fill(cache, "aaa") == [True]


def test_a_value_that_two_threads_computed_counts_once():
    cache = ByteCache[str](max_bytes=4, size_of=len)
    cache.get_or_compute_each(["a"], lambda _: [cache.get_or_compute("a", lambda: "aa")[0]])
    _fill(cache, "bb")
    assert [cache.get(key) for key in ("a", "bb")] == ["aa", "bb"]


def test_of_many_keys_only_the_missing_are_computed_each_once():
    cache = ByteCache[str](max_bytes=4, size_of=len)
    asked: list[list[str]] = []

    def double(keys: list[str]) -> list[str]:
        asked.append(keys)
        return [2 * key for key in keys]

    assert cache.get_or_compute_each(["a"], double) == ["aa"]
    assert cache.get_or_compute_each(["b", "a", "b"], double) == ["bb", "aa", "bb"]
    assert cache.get_or_compute_each(["b", "a"], double) == ["bb", "aa"]
    assert cache.get_or_compute_each([], double) == []
    assert asked == [["a"], ["b"]]
    assert cache.get_or_compute_each(["c"], double) == ["cc"]
    assert [cache.get(key) for key in "abc"] == ["aa", None, "cc"], "the bound holds, and a look counts as a use"


def test_of_many_values_those_before_a_failure_are_kept():
    cache = ByteCache[str](max_bytes=10, size_of=len)

    def compute(keys: list[str]) -> Iterator[str]:
        yield keys[0]
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        cache.get_or_compute_each(["a", "b"], compute)
    assert [cache.get(key) for key in "ab"] == ["a", None]


def test_a_cache_that_is_cleared_computes_again():
    cache = ByteCache[str](max_bytes=10, size_of=len)
    assert _fill(cache, "a", "a") == [False, True]
    cache.clear()
    assert _fill(cache, "a", "a") == [False, True]


def test_a_cache_of_no_bytes_keeps_nothing():
    cache = ByteCache[str](max_bytes=0, size_of=len)
    assert _fill(cache, "a", "a") == [False, False]


def test_a_negative_bound_is_refused():
    with pytest.raises(ValueError, match="0 bytes or more, but got -1"):
        ByteCache[str](max_bytes=-1, size_of=len)


def test_a_failure_is_raised_and_not_kept():
    cache = ByteCache[str](max_bytes=4, size_of=len)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("a", lambda: str(1 / 0))
    assert _fill(cache, "a") == [False]


def test_a_value_whose_size_nobody_knows_is_a_failure_as_well():
    cache: ByteCache[Any] = ByteCache(max_bytes=4, size_of=len)
    for _ in range(2):  # again: the first has not left the others waiting
        with pytest.raises(TypeError, match="len"):
            cache.get_or_compute("a", lambda: 5)


@pytest.mark.parametrize("fails", [False, True])
def test_threads_that_ask_at_the_same_time_compute_once(fails, monkeypatch):
    computing, waiting, release = Event(), Semaphore(0), Event()
    calls, answers = [], []

    class Watched(Future):
        def result(self, *arguments):
            waiting.release()
            return super().result(*arguments)

    monkeypatch.setattr("groundingdino.runtime.cache.Future", Watched)
    cache = ByteCache[str](max_bytes=9, size_of=len)

    def compute() -> str:
        calls.append(1)
        computing.set()
        release.wait(5)
        if fails:
            raise ValueError("broken")
        return "value"

    def ask() -> None:
        try:
            answers.append(cache.get_or_compute("key", compute))
        except ValueError as error:
            answers.append(str(error))

    threads = [Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert computing.wait(5)
    for _ in threads[1:]:
        assert waiting.acquire(timeout=5), "the others wait for the one that computes"
    release.set()
    for thread in threads:
        thread.join(5)
    assert calls == [1]
    expected = ["broken"] * 3 if fails else [("value", False), ("value", True), ("value", True)]
    assert sorted(answers) == expected


def test_a_failure_keeps_nothing_of_what_was_computed():
    """A forward that was given up frees its memory at once, not when Python next looks for circles."""

    class Activations:
        pass

    cache = ByteCache[str](max_bytes=10, size_of=len)
    left: list[ref[Activations]] = []

    def compute() -> str:
        activations = Activations()
        left.append(ref(activations))
        raise RuntimeError("given up")

    gc.disable()
    try:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                cache.get_or_compute("a", compute)
        assert [activations() for activations in left] == [None, None]
    finally:
        gc.enable()
