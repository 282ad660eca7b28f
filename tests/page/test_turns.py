"""One after the other."""

from threading import Event, Thread

import pytest

from groundingdino.page.turns import Turns
from groundingdino.runtime.interruption import Stopped


def test_one_name_is_had_by_one_at_a_time_and_other_names_meanwhile():
    turns, has_it, let_go, order = Turns(), Event(), Event(), list[str]()

    def first() -> None:
        with turns.of("a"):
            has_it.set()
            assert let_go.wait(30)
            order.append("first")

    thread = Thread(target=first)
    thread.start()
    assert has_it.wait(30)
    with turns.of("b"):
        order.append("other")
    with pytest.raises(Stopped), turns.of("a", lambda: True):
        pytest.fail("it is somebody else's")
    let_go.set()
    with turns.of("a"):
        order.append("second")
    thread.join()
    assert order == ["other", "first", "second"]


def test_a_turn_that_ends_in_an_error_is_over():
    turns = Turns()
    with pytest.raises(ValueError, match="no"), turns.of("a"):
        raise ValueError("no")
    with turns.of("a", lambda: True):
        pass
