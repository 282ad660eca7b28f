"""A GPU that is lent for one call at a time, as on ZeroGPU: work goes there, and what came of it comes back.

The platform runs such a call in a process that it forks from this one. So arguments, steps and results are pickled, as
bytes and on the processor: a tensor of the GPU cannot be read here, and shared memory is small there. That process has
the models that were here before the fork and what it loads itself, but nothing of what it computes comes here by
itself: whatever is worth keeping is kept here. It may be used again, and then knows nothing of what came here since.

To be stopped is asked before the GPU is, and where a call reports steps, at each; a pass of a detector or segmenter
goes on to its end, which is near. In the other process a call stops by itself when the time it was given is over,
before the platform ends the process.
"""

import logging
import math
import pickle
import re
from collections.abc import Callable, Generator
from contextlib import closing
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any

import gradio as gr
from torch import Tensor

from groundingdino.editing.out_of_memory import free_memory
from groundingdino.runtime.interruption import StopCheck, Stopped, raise_if, raise_if_stopped, stopping

Load = Callable[[str, str], Any]  # name and device -> what computes; a function of a module, since it is pickled

_LOADED_THERE = 2  # models beside those that were there before, of which the one used last goes last
_CHOOSE = "or choose the embedded model, which needs no GPU"
_LATE = "The GPU was not done within the {seconds} seconds it was asked for: ask for less, or try again."
# What the platform says, by the title of its error; what is in brackets comes from its message.
_SENTENCES = {
    "ZeroGPU quota exceeded": f"Your GPU time here is used up: try again {{when}}, {_CHOOSE}.",
    "ZeroGPU pending credits exceeded": "Other work of yours uses all of your GPU time: try again when that is done.",
    "ZeroGPU illegal duration": "This would take more GPU time than is lent at once: ask for fewer steps, or a smaller "
    "model.",
    "ZeroGPU queue timeout": f"No GPU was free within a minute: try again, {_CHOOSE}.",
    "ZeroGPU client error": f"No GPU could be had: load the page again, {_CHOOSE}.",
    "ZeroGPU worker error": f"The GPU was taken away before the work was done: try again, {_CHOOSE}.",
}
_FAILED = f"No GPU could be had: try again in a minute, {_CHOOSE}."
_LEFT = "Connection closed by visitor"  # what the error says when who asked is gone

logger = logging.getLogger(__name__)


class BorrowedGpu:
    """Runs methods of models on a GPU that it borrows for each call. It is made before the page is launched.

    Args:
        lend: `spaces.GPU`, which decorates a function; what it gives runs it with a GPU.
        device: As PyTorch names it there.
    """

    def __init__(self, lend: Callable[..., Any], device: str = "cuda"):
        self._device = device
        self._kept: dict[tuple[Load, str], Any] = {}
        self._loaded: dict[tuple[Load, str], Any] = {}  # in the other process; here it stays empty
        self._lent: Callable[[bytes, int], Generator[bytes, None, None]] = lend(duration=_duration)(self._work)

    def keep(self, load: Load, name: str) -> None:
        """Loads a model here, so that it is on the GPU when that is lent.

        The platform feigns a GPU in the main thread alone, and takes note of what lies on it when the page is launched.
        """
        self._kept[load, name] = load(name, self._device)

    def run(
        self,
        load: Load,
        name: str,
        method: str,
        *arguments: Any,
        seconds: float,
        report: Callable[[Any], None] | None = None,
        stop: StopCheck | None = None,
    ) -> Any:
        """What a method of a model gives; tensors in it, and in the arguments, lie on the processor.

        Args:
            load, name: Make the model, if it is not there.
            arguments: Tensors in nested tuples and lists come to the GPU.
            seconds: That it takes at most: shorter ones are served earlier.
            report: Called with each step; the method then takes `report` and `stop`.
            stop: Called before, and at each step.

        Raises:
            Stopped: `stop()`, or who asked is gone.
            ValueError: one sentence: the platform lends no GPU, or took it away, or the time was over.
        """
        raise_if(stop)
        raise_if_stopped()
        whole = math.ceil(seconds)
        request = pickle.dumps((load, name, method, arguments, report is not None))
        result: Any = None
        with closing(self._answers(request, whole)) as answers:
            for answer in answers:
                kind, value = pickle.loads(answer)
                if kind == "step" and report:
                    report(value)
                    raise_if(stop)
                elif kind == "late":
                    raise ValueError(_LATE.format(seconds=whole))
                elif kind == "error":
                    raise value
                else:
                    result = value  # the end follows: only then is the GPU given back
        return result

    def _answers(self, request: bytes, seconds: int) -> Generator[bytes, None, None]:
        """What the other process says; errors of the platform as sentences."""
        try:
            yield from self._lent(request, seconds)
        except gr.Error as error:
            logger.warning("%s: %s", error.title, error.message)
            when = re.search(r"Try again (in [\d:, days]*\d)", str(error.message))
            sentence = _SENTENCES.get(str(error.title), _FAILED).format(when=when[1] if when else "later")
            raise ValueError(sentence) from error
        except Exception as error:
            if _LEFT in str(error):
                raise Stopped from error
            logger.exception("A GPU could not be borrowed")
            raise ValueError(_FAILED) from error

    def _work(self, request: bytes, seconds: int) -> Generator[bytes, None, None]:
        """In the other process: steps, if it reports any, and what came of it."""
        until, over = monotonic() + seconds, Event()
        told: SimpleQueue[tuple[str, Any]] = SimpleQueue()

        def is_over() -> bool:
            return over.is_set() or monotonic() > until

        def compute() -> None:
            try:
                load, name, method, arguments, reports = pickle.loads(request)
                options = {"report": lambda step: told.put(("step", step)), "stop": is_over} if reports else {}
                with stopping(is_over):
                    run = getattr(self._model(load, name), method)
                    told.put(("result", run(*_on(self._device, arguments), **options)))
            except Stopped:
                told.put(("late", None))
            except BaseException as error:  # whoever waits would wait for ever
                if not isinstance(error, ValueError):
                    logger.exception("A call failed on the GPU")
                told.put(("error", error))

        worker = Thread(target=compute)
        worker.start()
        try:
            kind = "step"
            while kind == "step":
                kind, value = told.get()
                yield _packed(kind, value)
        finally:
            over.set()
            worker.join()

    def _model(self, load: Load, name: str) -> Any:
        if kept := self._kept.get((load, name)):
            return kept
        model = self._loaded.pop((load, name), None)
        if model is None:
            while len(self._loaded) >= _LOADED_THERE:
                self._loaded.pop(next(iter(self._loaded)))
                free_memory()
            model = load(name, self._device)
        self._loaded[load, name] = model
        return model


def _duration(_request: bytes, seconds: int) -> int:
    return seconds


def _on(device: str, value: Any) -> Any:
    """The same with all tensors of (nested, named) tuples and lists on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if not isinstance(value, tuple | list):
        return value
    parts = [_on(device, part) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def _packed(kind: str, value: Any) -> bytes:
    """As bytes; what cannot be read again is told in words."""
    try:
        packed = pickle.dumps((kind, _on("cpu", value)))
        if kind == "error":
            pickle.loads(packed)
    except Exception:
        words = f"{type(value).__name__}: {value}" if kind == "error" else "The result cannot be sent."
        return pickle.dumps(("error", RuntimeError(words)))
    return packed
