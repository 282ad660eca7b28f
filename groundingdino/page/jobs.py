"""What requests compute, in threads of their own: whoever waits for it can give it up, whatever it does."""

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Condition, Lock, Thread
from time import monotonic
from typing import Any, Generic, TypeVar

from groundingdino.runtime.interruption import StopCheck, Stopped

WORKERS = 4  # requests of the page, and of the endpoints, computed at the same time
LIMIT = 180.0  # seconds that a request computes at most
LONG = 10.0  # seconds after which a job lets others run beside it: it may never end
HEED = 3.0  # seconds in which a job that is not wanted any more should have noticed it
LOOK = 0.1  # seconds between two looks at whether it is still wanted
MOST_THREADS = 64  # also of jobs that were given up and go on
TOO_LONG = (
    "It took longer than {limit:.0f} seconds and was given up: try a smaller picture, fewer words or another model."
)
BUSY = "The server is busy: please try again in a minute."

T = TypeVar("T")


def in_this_context(work: Callable[[], T]) -> Callable[[], T]:
    """Work for another thread that knows whose request it is: where a GPU is lent, its time is the visitor's."""
    return partial(copy_context().run, work)


def never() -> bool:
    """Nothing stops it."""
    return False


class Job(Generic[T]):
    """One piece of work under way, for at most `limit` seconds; None: `LIMIT`."""

    def __init__(self, limit: float | None = None) -> None:
        self.future: Future[T] = Future()
        self.given_up = False
        self._limit = LIMIT if limit is None else limit
        self._begun = monotonic()

    def is_done_within(self, seconds: float) -> bool:
        """Waits for it that long at most."""
        with suppress(NotYet):
            self.future.exception(seconds)
        return self.future.done()

    def result(self, stop: StopCheck = never) -> T:
        """What came of it; errors are those of the work.

        Raises:
            Stopped: `stop()` has been true for a while, and the work has not noticed.
            ValueError: it took longer than its limit.
        """
        unwanted_from = None
        try:
            while not self.is_done_within(LOOK):
                now = monotonic()
                unwanted_from = (unwanted_from or now) if stop() else None
                if unwanted_from and now - unwanted_from > HEED:
                    raise Stopped
                if now - self._begun > self._limit:
                    raise ValueError(TOO_LONG.format(limit=self._limit))
            return self.future.result()
        finally:
            self.given_up = not self.future.done()


class Jobs:
    """Runs a few jobs at a time, in threads that are used again and that do not keep the program alive.

    A thread cannot be ended from outside. So a job that was given up may go on; those that run for long do not count,
    and the page answers although some never end.
    """

    def __init__(self, at_once: int, limit: float | None = None):
        self._at_once, self._limit = at_once, limit
        self._idle: list[SimpleQueue[tuple[Job[Any], Callable[[], Any]]]] = []
        self._threads = 0
        self._lock = Lock()
        self._running: dict[Job[Any], float] = {}  # since when
        self._waiting: tuple[list[Job[Any]], list[Job[Any]]] = [], []  # of requests under way, and of new ones
        self._turn = Condition()

    def start(self, work: Callable[[], T], under_way: bool = False) -> Job[T]:
        """Begins some work when its turn comes; a ValueError if too much goes on already.

        Args:
            under_way: It goes on with a request, which would else queue again for each of its parts: its turn comes
                before that of all new ones.
        """
        job: Job[T] = Job(self._limit)
        with self._lock:
            if self._idle:
                tasks = self._idle.pop()  # the one that worked last: its memory is still in the cache
            elif self._threads < MOST_THREADS:
                self._threads += 1
                tasks = SimpleQueue()
                Thread(target=self._work, args=(tasks,), daemon=True).start()
            else:
                raise ValueError(BUSY)
        with self._turn:
            self._waiting[not under_way].append(job)
        tasks.put((job, in_this_context(work)))
        return job

    def place(self, job: Job[Any]) -> int:
        """How many others have their turn before a job's; 0 if it has begun, or is the next."""
        with self._turn:
            queue = [*self._waiting[0], *self._waiting[1]]
            return queue.index(job) if job in queue else 0

    def run(self, work: Callable[[], T], stop: StopCheck = never) -> T:
        """Does some work and waits for it, see `Job.result`."""
        return self.start(work).result(stop)

    def _work(self, tasks: SimpleQueue[tuple[Job[Any], Callable[[], Any]]]) -> None:
        while True:
            job, work = tasks.get()
            try:
                self._wait_for_turn(job)
                result, error = work(), None
            except BaseException as raised:  # whoever waits would wait for ever
                result, error = None, raised
            with self._turn:
                self._running.pop(job, None)
                self._turn.notify_all()
            with self._lock:
                self._idle.append(tasks)
            job.future.set_exception(error) if error else job.future.set_result(result)
            del job, work, result, error  # a picture would stay in memory until the next job comes

    def _wait_for_turn(self, job: Job[Any]) -> None:
        with self._turn:
            try:
                while not self._is_next(job):
                    self._turn.wait(LOOK)
                    if job.given_up:
                        raise Stopped
                self._running[job] = monotonic()
            finally:
                next(queue for queue in self._waiting if job in queue).remove(job)
                self._turn.notify_all()

    def _is_next(self, job: Job[Any]) -> bool:
        running = sum(monotonic() - since < LONG for since in self._running.values())
        under_way, new = self._waiting
        return running < self._at_once and job is (under_way or new)[0]
