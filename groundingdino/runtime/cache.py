"""A least-recently-used cache that is bounded in bytes, and in number, and computes each value once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

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
        self._values: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()  # oldest use first
        self._pending: dict[Hashable, Future[V]] = {}
        self._bytes = 0

    def get_or_compute(self, key: Hashable, compute: Callable[[], V]) -> tuple[V, bool]:
        """The value of a key, and whether it was there.

        Threads that ask for the same key at the same time wait for the first one's result, and get its error if it
        fails; a failure is not kept. `compute` runs outside the lock.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0], True
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
            size = self._size_of(value)
        except BaseException as error:
            with self._lock:
                del self._pending[key]
            mine.set_exception(error)
            del mine
            raise
        with self._lock:
            del self._pending[key]
            self._keep(key, value, size)
        mine.set_result(value)
        return value, False

    def get(self, key: Hashable) -> V | None:
        """The value of a key if it is there."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

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
                size = self._size_of(value)
                with self._lock:
                    self._keep(key, value, size)
        return [found[key] for key in keys]

    def _keep(self, key: Hashable, value: V, size: int) -> None:
        if size > self.max_bytes or key in self._values:
            return
        self._values[key] = (value, size)
        self._bytes += size
        while self._bytes > self.max_bytes or (self.most is not None and len(self._values) > self.most):
            _, (_, dropped) = self._values.popitem(last=False)
            self._bytes -= dropped
