"""A least-recently-used cache that is bounded in bytes, and in number, and computes each value once.

`cachetools` says what is dropped. That a value is computed once is ours: whoever waits for it hears of a failure, too.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[V]):
    """Values by key, the least recently used dropped first; safe to share between threads.

    Args:
        max_bytes: What all values together may take. A single larger value is handed out but not kept.
        size_of: Bytes of a value.
        most: How many values are kept at most, however small they are; None: any number.
    """

    def __init__(self, max_bytes: int, size_of: Callable[[V], int], most: int | None = None):
        if max_bytes < 0:
            raise ValueError(f"A cache needs a size of 0 bytes or more, but got {max_bytes}.")
        self.max_bytes, self.most = max_bytes, most
        self._size_of = size_of
        self._lock = Lock()
        self._values: LRUCache[Hashable, V] = LRUCache(max_bytes, size_of)
        self._pending: dict[Hashable, Future[V]] = {}

    def get_or_compute(self, key: Hashable, compute: Callable[[], V]) -> tuple[V, bool]:
        """The value of a key, and whether it was there.

        Threads that ask for the same key at the same time wait for the first one's result, and get its error if it
        fails; a failure is not kept. `compute` runs outside the lock.
        """
        with self._lock:
            if key in self._values:
                return self._values[key], True
            pending = self._pending.get(key)
            if pending is None:
                mine = self._pending[key] = Future[V]()
        # An error holds the frames it passed through, and they all that was computed: were the future in one of them,
        # it would hold itself, and the memory until Python looks for circles.
        if pending is not None:
            try:
                return pending.result(), True
            finally:
                del pending
        try:
            value = compute()
            self._keep(key, value)
        except BaseException as error:
            with self._lock:
                del self._pending[key]
            mine.set_exception(error)
            del mine
            raise
        with self._lock:
            del self._pending[key]
        mine.set_result(value)
        return value, False

    def get(self, key: Hashable) -> V | None:
        """The value of a key if it is there."""
        with self._lock:
            return self._values.get(key)

    def clear(self) -> None:
        """Drops all values; what is being computed is kept when it is done."""
        with self._lock:
            self._values.clear()

    def get_or_compute_each(self, keys: Sequence[K], compute: Callable[[list[K]], Iterable[V]]) -> list[V]:
        """The values of many keys, in their order, where computing several at once is cheaper.

        `compute` gets the keys that are missing, each once, and gives their values in that order. Each is kept as it
        comes, also if a later one fails. Threads that ask for the same keys at the same time each compute them.
        """
        found = {key: value for key in dict.fromkeys(keys) if (value := self.get(key)) is not None}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if missing:
            for key, value in zip(missing, compute(missing), strict=True):
                found[key] = value
                self._keep(key, value)
        return [found[key] for key in keys]

    def _keep(self, key: Hashable, value: V) -> None:
        with self._lock:
            if self._size_of(value) > self.max_bytes:
                return
            self._values[key] = value
            while self.most is not None and len(self._values) > self.most:
                self._values.popitem()
