"""Without the progress bars and the advice to programmers of libraries, which users cannot act on."""

import sys
from contextlib import ExitStack
from importlib import import_module
from threading import Lock
from warnings import catch_warnings, simplefilter

_LIBRARIES = ("diffusers", "transformers")  # those of them that are imported


class _Quiet:
    """What is switched off belongs to the whole process.

    The first thread that enters does it, and the last one that leaves brings back what was there.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._before = ExitStack()
        self._silent: set[str] = set()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before.enter_context(catch_warnings())
                simplefilter("ignore")
            for name in _LIBRARIES:
                if name in sys.modules and name not in self._silent:
                    self._silence(name)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.close()
                self._silent.clear()

    def _silence(self, name: str) -> None:
        library = import_module(f"{name}.utils.logging")
        self._silent.add(name)
        self._before.callback(library.set_verbosity, library.get_verbosity())
        library.set_verbosity_error()
        if library.is_progress_bar_enabled():
            self._before.callback(library.enable_progress_bar)
            library.disable_progress_bar()


quietly = _Quiet()
