"""The package `spaces` as it is on ZeroGPU, for tests: its decorator forks, pickles and forgets, and has bad days."""

import multiprocessing
import pickle
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

_FORK = multiprocessing.get_context("fork")


def error(title: str, message: str) -> gr.Error:
    """As the platform raises it."""
    return gr.Error(message, title=title, print_exception=False)


@dataclass
class Platform:
    """What lends; `GPU` decorates a generator function, as `spaces.GPU` does.

    Attributes:
        seconds: That were asked for, call by call.
        refusal: Raised instead of lending.
        dies: The process is ended before it answers.
    """

    seconds: list[float] = field(default_factory=list)
    refusal: Exception | None = None
    dies: bool = False

    def GPU(self, *, duration: Callable[..., float]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Each call runs in a process of its own, forked from this one."""

        def decorate(task: Callable[..., Any]) -> Callable[..., Any]:
            def lent(*arguments: Any) -> Generator[Any, None, None]:
                self.seconds.append(duration(*arguments))
                if self.refusal:
                    raise self.refusal
                yield from self._fork(task, pickle.dumps(arguments))

            return lent

        return decorate

    def _fork(self, task: Callable[..., Any], arguments: bytes) -> Generator[Any, None, None]:
        ours, theirs = _FORK.Pipe()
        given_up = _FORK.Event()
        process = _FORK.Process(target=self._there, args=(task, arguments, theirs, given_up), daemon=True)
        process.start()
        theirs.close()
        try:
            while True:
                try:
                    kind, value = pickle.loads(ours.recv_bytes())
                except EOFError:
                    raise error("ZeroGPU worker error", "GPU task aborted") from None
                if kind == "end":
                    return
                if kind == "error":
                    raise error("ZeroGPU worker error", value)
                yield value
        finally:  # also where who asked has left
            given_up.set()
            while process.is_alive() and ours.poll(20):  # as the platform, waits for the end of the step
                try:
                    ours.recv_bytes()
                except EOFError:
                    break
            process.join(20)
            ours.close()

    def _there(self, task: Callable[..., Any], arguments: bytes, connection: Any, given_up: Any) -> None:
        if self.dies:
            return

        def iterate() -> None:
            try:
                steps = task(*pickle.loads(arguments))
                for step in steps:
                    if given_up.is_set():
                        steps.close()
                        break
                    connection.send_bytes(pickle.dumps(("value", step)))
                connection.send_bytes(pickle.dumps(("end", None)))
            except Exception as raised:
                connection.send_bytes(pickle.dumps(("error", type(raised).__name__)))

        with ThreadPoolExecutor(1) as executor:  # a thread that is new, as the platform has it
            executor.submit(iterate)
