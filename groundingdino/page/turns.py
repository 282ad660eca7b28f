"""One after the other: those who write the same file."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from weakref import WeakValueDictionary

from groundingdino.runtime.interruption import StopCheck, raise_if

LOOK = 0.1  # seconds between two looks at whether the turn is still wanted


class _Turn:
    """A lock; those of C cannot be referred to weakly."""

    def __init__(self) -> None:
        self.lock = Lock()


class Turns:
    """A lock for each name, as long as somebody has it or waits for it."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()
        self._lock = Lock()

    @contextmanager
    def of(self, name: str, stop: StopCheck | None = None) -> Iterator[None]:
        """Waits for the turn of a name and has it.

        Raises:
            Stopped: `stop()` before it came.
        """
        with self._lock:
            turn = self._turns.setdefault(name, _Turn())
        while not turn.lock.acquire(timeout=LOOK):
            raise_if(stop)
        try:
            yield
        finally:
            turn.lock.release()
