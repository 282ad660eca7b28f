"""The page, wired up: one picture, one line of text, boxes and masks while it is typed.

`python app.py` serves it. Its components, their events and what they do are in `groundingdino/page`.
"""

import os

# Before anything loads PyTorch, see `groundingdino.command_line.main.run`.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from groundingdino.runtime import zero_gpu

if zero_gpu.is_here():
    import spaces  # noqa: F401  # before PyTorch, in which it feigns a GPU

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir
from threading import Event, Thread
from typing import Any

from groundingdino.runtime.extras import missing

if _sentence := missing("The page", "demo"):
    sys.exit(f"app.py: {_sentence}")

import gradio as gr
from PIL import Image

from groundingdino.files.assets import ASSETS
from groundingdino.page.endpoints import Endpoints
from groundingdino.page.files import check_folder
from groundingdino.page.handlers import Page
from groundingdino.page.inpaint_layout import edit_column, painting_column
from groundingdino.page.language import head, languages
from groundingdino.page.layout import (
    PAGE_FILES,
    answer_column,
    masks_column,
    question_column,
    settings_column,
)
from groundingdino.page.mcp_answers import answer_agents
from groundingdino.page.operation import KEEP, SWEEP, Operation, sweep_regularly
from groundingdino.page.publishing import publish, read_what_is_sent, refuse_call, refuse_upload
from groundingdino.page.request_log import write_log
from groundingdino.page.settings import First, Settings
from groundingdino.page.studio import Studio, Thresholds
from groundingdino.page.theme import THEME
from groundingdino.page.track_handlers import TrackPage
from groundingdino.page.track_layout import track_column
from groundingdino.page.track_wiring import wire_tracks
from groundingdino.page.whole_updates import WholeUpdates
from groundingdino.page.wiring import Controls, wire
from groundingdino.runtime.allocation import keep_freed_memory
from groundingdino.runtime.devices import check_device, is_cpu
from groundingdino.segmentation.pointing import Pointing

EXAMPLES = ASSETS / "examples"


def build(studio: Studio, hosting: Settings | None = None, examples: Path = EXAMPLES) -> gr.Blocks:
    """Lays the page out and wires it up; `examples` is a folder with `examples.json`: [{"file", "prompt"}]."""
    hosting = hosting or Settings()
    page, first = Page(studio), hosting.first
    tracks = TrackPage(page)
    entries = json.loads((examples / "examples.json").read_text(encoding="utf-8"))
    prompts = {str(examples / entry["file"]): entry["prompt"] for entry in entries}
    gr.set_static_paths([examples])  # served from where they are, whatever folder the page was started in
    with WholeUpdates(title="Grounding DINO", analytics_enabled=False, delete_cache=(SWEEP, KEEP)) as demo:
        title = "<h1>Grounding DINO</h1><p>Type what you are looking for. Boxes and masks appear while you type.</p>"
        gr.HTML(title, elem_id="title")
        # Columns of their own, so that a phone can show the answer between the question and the settings.
        with gr.Row(elem_id="page"):
            with gr.Column(elem_id="question"):
                question = question_column(prompts)
            with gr.Column(elem_id="edit-form"):
                edit_form = edit_column()
            with gr.Column(elem_id="track-form"):
                track_controls = track_column(studio.limits, tracks.trackers)
            with gr.Column(elem_id="answer"):
                answer = answer_column(prompts)
            with gr.Column(elem_id="paint"):
                painting = painting_column(page.inpainters, first.inpainter, page.few_steps, studio.limits)
            with gr.Column(elem_id="masks"):
                masks = masks_column(page.segmenters, first.segmenter)
            with gr.Column(elem_id="settings"):
                settings = settings_column(page.detectors, page.seconds, page.namers, first.detector, list(prompts))
        session, query = wire(page, demo, Controls(question, answer, edit_form, settings, masks, painting), prompts)
        wire_tracks(tracks, session, query, question, answer, track_controls)
        publish(Endpoints(studio, first))
    read_what_is_sent(demo, studio.limits.upload if hosting.fetches else None)
    return demo


def main(arguments: list[str] | None = None) -> int:
    """Starts the page and serves it until it is interrupted; 2 after one line on stderr if it cannot."""
    try:
        settings = Settings.read(arguments)
        if settings.device:
            check_device(settings.device)
        if is_cpu(settings.device):
            keep_freed_memory()
        studio = Studio.open(settings.device, settings.local_files_only, settings.offered, settings.limits)
        # A folder of its own, since what is old in it is cleared away; the page is built with it, or it would refuse
        # what it took into another.
        os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(gettempdir()) / "groundingdino"))
        check_folder()
        demo = build(studio, settings)
        operation = Operation(studio)
    except ValueError as error:
        _say(error)
        return 2
    # The page opens at once, and the model is ready before the first word is typed.
    first = settings.first if not studio.borrows_gpu(settings.first.detector) else First()
    warming = Thread(target=_warm_up, args=(studio, first, operation.warm), daemon=True)
    write_log(settings.logs_content)
    try:
        with operation.ending_on_sigterm(demo):
            serve(demo, settings, operation, warming.start)
    except OSError:
        where = f"port {settings.port}" if settings.port else "any port from 7860 on"
        _say(f"cannot listen on {where}; choose another with --port.")
        return 2
    return 0


def serve(
    demo: gr.Blocks,
    settings: Settings | None = None,
    operation: Operation | None = None,
    begin: Callable[[], None] = lambda: None,
    **options: Any,
) -> None:
    """Serves the page, for `main` and for tests.

    Args:
        operation: What tells whether it is ready, and clears old files away.
        begin: Called once the server runs: a program that ends at once, as the port is taken, has begun nothing.
        options: More of `launch`'s.
    """
    settings = settings or Settings()
    upload = settings.limits.upload

    @asynccontextmanager
    async def running(server: Any) -> AsyncIterator[None]:
        _cancel_twice(server)
        if demo.mcp_server_obj:
            answer_agents(demo.mcp_server_obj)
        if operation:
            operation.tell_health(server, demo)
        sweeping = asyncio.create_task(sweep_regularly()) if operation else None
        begin()
        yield
        if sweeping:
            sweeping.cancel()

    ours: dict[str, Any] = {
        "server_name": settings.host,
        "server_port": settings.port,
        "root_path": settings.root_path,
        "share": settings.share,
        "mcp_server": settings.mcp,
        "auth": [*settings.auth] or None,
        "max_file_size": upload,
        "theme": THEME,
        "css_paths": PAGE_FILES / "page.css",
        "head": head(),
        "i18n": languages(demo),
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        # Else a page that answers Gradio itself only after three seconds, as on a busy machine, ends at once.
        "_frontend": False,
        # Of each page that was opened its last pictures are kept, a few MB; of the oldest beyond these none.
        "state_session_capacity": 300,
        "app_kwargs": {
            "lifespan": running,
            "exception_handlers": {KeyError: refuse_call, TypeError: refuse_call, OSError: refuse_upload},
            "max_body_size": 2 * upload,  # in base64 a picture is a third larger
        },
    }
    demo.launch(**ours | options)


class _Running(dict[str, Any]):
    """What is running, by its event, which may be taken out more than once."""

    def __delitem__(self, event: str) -> None:
        self.pop(event, None)


def _cancel_twice(server: Any) -> None:
    """Lets an event be cancelled while it is being cancelled already, or ends.

    Gradio looks whether it runs before it waits for its turn, and deletes it without looking again: a quick second
    click was answered with an error and a page of traceback in the log.
    """
    server.iterators = _Running(server.iterators)


def _say(message: object) -> None:
    """A line for who started the server; visitors read theirs on the page."""
    print(f"app.py: {message}", file=sys.stderr)


def _warm_up(studio: Studio, first: First, warm: Event) -> None:
    """Loads the models and runs them once: the first run compiles kernels, which takes longer than the run.

    The detector comes first, as every visitor waits for it; the segmenter is ready when its tab is opened.
    """
    blank = Image.new("RGB", (320, 240))
    try:
        findings = studio.find(blank, "anything", first.detector, Thresholds())
        if studio.segmenters.is_ready(first.segmenter):
            studio.cut_out(blank, findings, first.segmenter, Pointing(), 0)
    except ValueError as error:  # the page tells its visitors, too
        _say(error)
    finally:
        warm.set()


if __name__ == "__main__":
    sys.exit(main())
