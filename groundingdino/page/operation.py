"""What who operates the page needs: whether it is ready, an end that breaks nothing, and a disk that does not fill."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempprefix
from threading import Event, Thread
from types import FrameType
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from groundingdino.page.model_cache import ModelCache
from groundingdino.page.studio import Studio

HEALTH = "/healthz"
SWEEP, KEEP = 600, 24 * 3600  # seconds: how often old files are cleared away, and from what age
SHORT_KEEP = 3600  # seconds: from what age where the disk is nearly full
ROOM = 1 << 30  # bytes that should be free, or a tenth of a smaller disk
BROKEN_OFF = 900  # seconds without a byte after which an upload does not go on
PATIENCE = 3.0  # seconds that requests under way have to end, once the program is to end
FETCHING = 3.0  # seconds after the last answer in which programs fetch the files that it names

ENDING = "The server is about to end: please try again in a minute."


class Operation:
    """A page under way."""

    def __init__(self, studio: Studio):
        self.studio = studio
        self.warm = Event()  # the first models have run, or cannot
        self.ending = Event()

    def health(self, demo: gr.Blocks) -> tuple[int, dict[str, Any]]:
        """HTTP status and record: 200 once the first request would not wait for a model, 503 before and at the end."""
        state = "ending" if self.ending.is_set() else "ready" if self.warm.is_set() else "starting"
        kinds: dict[str, ModelCache[Any, Any]] = {
            "detect": self.studio.detectors,
            "segment": self.studio.segmenters,
            "inpaint": self.studio.inpainters,
            "track": self.studio.trackers,
        }
        queue = demo._queue
        return (200 if state == "ready" else 503), {
            "status": state,
            "models": {task: models.in_memory() for task, models in kinds.items()},
            "queue": {"running": _running(demo), "waiting": len(queue)},
        }

    def tell_health(self, server: Any, demo: gr.Blocks) -> None:
        """Answers at `HEALTH`, also those who are not logged in: it tells nothing of anybody."""

        def answer(_: Request) -> JSONResponse:
            status, record = self.health(demo)
            return JSONResponse(record, status)

        server.router.routes.insert(0, Route(HEALTH, answer))

    @contextmanager
    def ending_on_sigterm(self, demo: gr.Blocks) -> Iterator[None]:
        """Lets SIGTERM end the program once all is answered and fetched, at most `PATIENCE` and `FETCHING` later."""

        def end(*_: int | FrameType | None) -> None:
            if not self.ending.is_set():
                self.ending.set()
                Thread(target=self._end, args=(demo,), daemon=True).start()

        take = demo._queue.push

        async def push(*request: Any, **options: Any) -> Any:
            return (False, ENDING, "queue_full") if self.ending.is_set() else await take(*request, **options)

        demo._queue.push = push  # type: ignore[method-assign]
        before = signal.signal(signal.SIGTERM, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _end(self, demo: gr.Blocks, leave: Callable[[int], Any] = os._exit) -> None:
        until, answers = time.monotonic() + PATIENCE, False
        while any(demo._queue.pending_event_ids_session.values()) and time.monotonic() < until:  # to be answered
            answers = True
            time.sleep(0.05)
        if answers:
            time.sleep(FETCHING)
        if demo.server:  # sends what is on its way
            demo.app.stop_event.set()
            demo.server.should_exit = True
            demo.server.thread.join(1)
        sys.stdout.flush()
        sys.stderr.flush()
        leave(0)  # a thread that computes in PyTorch would abort a program that ends otherwise


def _is_nearly_full(folder: Path) -> bool:
    try:
        disk = shutil.disk_usage(folder)
    except OSError:  # there is none yet
        return False
    return disk.free < min(ROOM, disk.total / 10)


def _running(demo: gr.Blocks) -> int:
    return sum(events is not None for events in demo._queue.active_jobs)


async def sweep_regularly() -> None:
    """Clears old uploads and results away, also those of a program that was killed, of which Gradio knows nothing."""
    while True:
        await asyncio.to_thread(sweep, Path(get_upload_folder()))
        await asyncio.sleep(SWEEP)


def sweep(folder: Path, age: float | None = None) -> int:
    """Deletes files that were not used for `age` seconds, and folders that are empty then; gives their number.

    Also those of a program that was killed, of which Gradio knows nothing. Uploads lie in the folder itself until all
    of them has come: what is old there broke off.

    Args:
        age: By default `KEEP`, or `SHORT_KEEP` where the disk is nearly full.
    """
    gone = 0
    if age is None:
        age = SHORT_KEEP if _is_nearly_full(folder) else KEEP
    for root, folders, files in os.walk(folder, topdown=False):
        for path in (Path(root, name) for name in files):
            is_upload = Path(root) == folder and path.name.startswith(gettempprefix())
            try:
                if time.time() - path.lstat().st_mtime > (min(age, BROKEN_OFF) if is_upload else age):
                    path.unlink()
                    gone += 1
            except OSError:  # another program was faster, or it is not ours to delete
                continue
        for path in (Path(root, name) for name in folders):
            try:
                if time.time() - path.lstat().st_mtime > 60:  # a new one is about to be written to
                    path.rmdir()
            except OSError:  # it is not empty
                continue
    return gone
