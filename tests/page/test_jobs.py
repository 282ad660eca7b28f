"""What requests compute is waited for only as long as somebody wants it."""

import threading
from collections.abc import Iterator

import pytest

from groundingdino.page import jobs
from groundingdino.page.jobs import BUSY, Jobs
from groundingdino.runtime.interruption import Stopped


@pytest.fixture
def never_ends() -> Iterator[threading.Event]:
    """What waits for it hangs until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_what_comes_of_work_is_its_result_or_its_error():
    some = Jobs(2)
    assert some.run(lambda: 3) == 3
    with pytest.raises(KeyError, match="key"):
        some.run(lambda: {}["key"])
    assert some.run(lambda: 4) == 4


def test_work_that_does_not_notice_that_it_is_unwanted_is_left_to_itself(never_ends, monkeypatch):
    monkeypatch.setattr(jobs, "HEED", 0.3)
    job = Jobs(2).start(never_ends.wait)
    assert not job.is_done_within(0.05)
    with pytest.raises(Stopped):
        job.result(stop=lambda: True)
    assert job.given_up, "so that it ends where it can be stopped"


def test_work_that_is_wanted_has_a_limit_too(never_ends, monkeypatch):
    monkeypatch.setattr(jobs, "LIMIT", 0.3)
    job = Jobs(2).start(never_ends.wait)
    with pytest.raises(ValueError, match="took longer than 0 seconds and was given up"):
        job.result()
    assert job.given_up


def test_a_few_run_at_a_time_and_what_hangs_does_not_count(never_ends, monkeypatch):
    some, begun = Jobs(2), threading.Barrier(3)

    def hang() -> None:
        begun.wait()
        never_ends.wait()

    for _ in range(2):
        some.start(hang)
    begun.wait()
    third = some.start(lambda: 5)
    assert not third.is_done_within(0.5), "it waits for its turn"
    monkeypatch.setattr(jobs, "LONG", 0.0)  # as if the first two had run for long
    assert third.result() == 5
    assert some.run(lambda: 6) == 6


def test_what_is_given_up_while_it_waits_for_its_turn_does_not_begin(never_ends):
    some, first, begun = Jobs(1), threading.Event(), []
    some.start(lambda: (first.set(), never_ends.wait()))
    assert first.wait(20)
    waiting = some.start(lambda: begun.append(1))
    waiting.given_up = True
    assert waiting.is_done_within(5)
    with pytest.raises(Stopped):
        waiting.result()
    assert begun == []


def test_turns_come_in_order_and_what_is_under_way_goes_on_first():
    some, first, go, begun = Jobs(1), threading.Event(), threading.Event(), list[str]()
    some.start(lambda: (first.set(), go.wait(20)))
    assert first.wait(20)
    waiting = [some.start(lambda name=name: begun.append(name)) for name in "ab"]
    further = some.start(lambda: begun.append("under way"), under_way=True)
    assert [some.place(job) for job in (further, *waiting)] == [0, 1, 2]
    go.set()
    for job in (further, *waiting):
        job.result()
    assert begun == ["under way", "a", "b"]
    assert [some.place(job) for job in (further, *waiting)] == [0, 0, 0]


def test_whoever_leaves_the_queue_lets_others_move_up(never_ends):
    some, first = Jobs(1), threading.Event()
    some.start(lambda: (first.set(), never_ends.wait()))
    assert first.wait(20)
    leaving, staying = (some.start(lambda: None) for _ in range(2))
    assert some.place(staying) == 1
    leaving.given_up = True
    assert leaving.is_done_within(5)
    assert some.place(staying) == 0


def test_there_are_only_so_many_threads(never_ends, monkeypatch):
    monkeypatch.setattr(jobs, "MOST_THREADS", 2)
    some = Jobs(4)
    for _ in range(2):
        some.start(never_ends.wait)
    with pytest.raises(ValueError, match=BUSY):
        some.start(never_ends.wait)


def test_threads_are_used_again_and_do_not_keep_the_program_alive():
    some = Jobs(2)
    first, second = (some.run(threading.current_thread) for _ in range(2))
    assert first is second
    assert first.daemon
