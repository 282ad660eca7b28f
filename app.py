"""The page: one picture, one line of text, boxes while it is typed.

Everything that can change the result (picture, prompt, model, thresholds, ticks) triggers one event, `render`, and
each request carries all of it. A page has one such request under way; whatever changes meanwhile is sent when it is
answered, and an answer that a newer request has overtaken is dropped. So what is shown at rest belongs to the last
text and the last picture.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from functools import partial
from html import escape
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Thread
from typing import Any, NamedTuple

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from groundingdino import export
from groundingdino.drawing import annotate
from groundingdino.prompt import Prompt
from groundingdino.studio import Studio, Thresholds
from groundingdino.view import NOTHING, Canvas, Selection, chosen, sentence, status, view

ASSETS = Path(__file__).resolve().parent / "assets"
EXAMPLES = ASSETS / "examples"
DEFAULT_MODEL = "embedded"
NMS_THRESHOLD = 0.7
PATIENCE = 0.3  # seconds until the status line says that something is being worked on
WORKERS = 4  # requests computed at the same time, of all visitors; others wait in Gradio's queue
KEEP_FILES = (600, 24 * 3600)  # seconds: how often uploads and downloads are cleared away, and from what age
THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    font=("ui-sans-serif", "system-ui", "sans-serif"),  # the visitor's own fonts: no page waits for a font server
    font_mono=("ui-monospace", "monospace"),
)
# Requests leave a page in the order of their stamps, but need not arrive or finish in it.
STAMP = """(visit, sent, ...query) => {
  const {clientWidth, clientHeight} = document.querySelector("#result .canvas");
  const canvas = [clientWidth, clientHeight, devicePixelRatio];
  return [visit, {...sent, stamp: performance.now(), canvas}, ...query];
}"""
# Events of the page itself: no endpoints, and the status line shows their work instead of Gradio's spinners.
PRIVATE: Any = {"api_visibility": "private", "show_progress": "hidden"}
ADD_PHRASE = """([phrase], prompt) => {
  const phrases = prompt.split(/[.,;\\n]/).map((text) => text.trim()).filter(Boolean);
  return phrases.includes(phrase) ? prompt : [...phrases, phrase].join(" . ");
}"""
# So that typing replaces the example's prompt; a phone would open its keyboard over the result.
SELECT_PROMPT = """() => {
  if (matchMedia("(pointer: fine)").matches) document.querySelector("#prompt textarea").select();
}"""
SAVE = """(file) => {
  if (file) Object.assign(document.createElement("a"), {href: file.url, download: file.orig_name}).click();
}"""

logger = logging.getLogger(__name__)


class Query(NamedTuple):
    """What the page asks: the values of its controls, in the order in which they are wired up."""

    path: str | None  # of the uploaded picture
    prompt: str
    model: str
    box_threshold: float
    text_threshold: float
    nms_threshold: float

    @property
    def keys(self) -> tuple[str, str]:
        """Names of the picture and of what is looked for in it."""
        return self.path or "", f"{self.model}: {self.prompt}"

    @property
    def thresholds(self) -> Thresholds:
        """The sliders."""
        return Thresholds(self.box_threshold, self.text_threshold, self.nms_threshold)


class Visit:
    """One open page: its newest request, the picture it was sent last, and what it shows at rest."""

    def __init__(self) -> None:
        self.newest = 0.0
        self.picture: str | None = None
        self.shown: tuple[Query, Selection, Canvas] | None = None


class Page:
    """What the page does. Besides the visits, which Gradio keeps, all state is the studio's."""

    def __init__(self, studio: Studio):
        self.studio = studio
        self._workers = ThreadPoolExecutor(WORKERS)
        self._visits = Lock()

    def render(self, visit: Visit, sent: dict[str, Any], *values: Any) -> Iterator[Any]:
        """Updates of the result: that it is being worked on, if that takes long, and then the outcome."""
        query, canvas, stamp = Query(*values), Canvas.parse(sent.get("canvas")), float(sent["stamp"])
        selection = Selection.parse(sent, *query.keys)
        with self._visits:
            visit.newest = max(visit.newest, stamp)
        if visit.shown == (query, selection, canvas):
            return  # one change often raises two events; an answer to the second would only overwrite the timing
        visit.shown = None
        for update in self._answer(visit, query, selection, canvas):
            if visit.newest > stamp:
                return
            yield update

    def _answer(self, visit: Visit, query: Query, selection: Selection, canvas: Canvas) -> Iterator[Any]:
        try:
            yield from self._look(visit, query, selection, canvas)
        except ValueError as error:
            visit.picture = None
            yield self._failure(query, canvas, str(error))
        except Exception:  # without an answer the page would go on showing the old result as if it were the new one
            logger.exception("The result could not be made")
            visit.picture = None
            yield self._failure(query, canvas, "Something went wrong on the server; its log says what.")

    def _look(self, visit: Visit, query: Query, selection: Selection, canvas: Canvas) -> Iterator[Any]:
        if not query.path:
            visit.picture = None
            yield gr.update(view=NOTHING, status=sentence("Choose a picture to start."))
            return
        picture = self.studio.picture(query.path, canvas.pixels)
        work = self._workers.submit(self.studio.find, picture.image, query.prompt, query.model, query.thresholds)
        try:
            findings = work.result(PATIENCE)
        except NotYet:
            task = "Looking" if query.prompt.strip() else "Reading the picture"
            now = sentence(f"{task} with {self.studio.card(query.model).title} …", "working")
            if visit.picture == query.path:
                yield gr.update(status=now)  # the boxes of the text before stay for the moment
            else:
                yield gr.update(view=view(picture, canvas, query.keys), status=now)
            visit.picture = query.path
            findings = work.result()
        objects, _ = chosen(findings, selection)
        shown = view(picture, canvas, query.keys, findings, selection)
        yield gr.update(view=shown, status=status(findings, len(objects)))
        # Only reached if the page was sent this answer, see `render`.
        visit.picture, visit.shown = query.path, (query, selection, canvas)

    def _failure(self, query: Query, canvas: Canvas, message: str) -> Any:
        """The picture alone, if there is one, so that no old boxes stay beside the message."""
        try:
            bare = view(self.studio.picture(query.path or "", canvas.pixels), canvas, query.keys)
        except ValueError:
            bare = NOTHING
        return gr.update(view=bare, status=sentence(message, "error"))

    def export(self, kind: str, sent: dict[str, Any], *values: Any) -> str | None:
        """Writes what is shown to a file and returns its path; None, after a notice, if there is nothing to write."""
        query = Query(*values)
        if not query.path:
            gr.Warning("Choose a picture first: there is nothing to download yet.")
            return None
        try:
            image = self.studio.image(query.path)
            findings = self.studio.find(image, query.prompt, query.model, query.thresholds)
        except ValueError as error:
            gr.Warning(str(error))
            return None
        objects, marked = chosen(findings, Selection.parse(sent, *query.keys))
        name = Path(query.path).stem
        data, ending = {
            "picture": lambda: (export.annotated_png(image, objects, findings.phrases, marked), "-boxes.png"),
            "json": lambda: (export.json_file(objects, image.size, query.model), ".json"),
            "coco": lambda: (export.coco_zip(image, name, objects, findings.phrases), "-coco.zip"),
            "yolo": lambda: (export.yolo_zip(image, name, objects, findings.phrases), "-yolo.zip"),
        }[kind]()
        return save_bytes_to_cache(data, name + ending, gr.utils.get_upload_folder())

    def take_picture(self, event: gr.EventData) -> str:
        """A picture that was pasted, or dropped on the canvas; Gradio has checked that the file is an upload."""
        return event.file["path"]

    def choose_model(self, model: str) -> tuple[Any, ...]:
        """A model's own thresholds, what it is, and the button that downloads it if it is not there yet."""
        card = self.studio.card(model)
        missing = not self.studio.is_ready(model)
        label = f"Download {_megabytes(card.size_bytes)}"
        return (
            card.box_threshold,
            card.text_threshold,
            card.description,
            gr.update(value=label, visible=missing, interactive=not self.studio.local_files_only),
        )

    def download(self, model: str, ready: int) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Fetches a model and reports it in its description; `ready` counts up when it can be used."""
        try:
            for done, total, what in self.studio.download(model):
                share = f"{_megabytes(done)} of {_megabytes(total)}" if total else _megabytes(done)
                bar = f'<progress value="{done}" max="{total}"></progress>' if total else "<progress></progress>"
                yield f"{bar}{escape(what)}: {share}", gr.update(interactive=False), gr.skip(), ready
        except ValueError as error:
            yield escape(str(error)), gr.update(interactive=True), gr.skip(), ready
            return
        description = self.studio.card(model).description
        yield description, gr.update(visible=False), gr.update(choices=self.choices()), ready + 1

    def choices(self) -> list[tuple[str, str]]:
        """The entries of the model picker: title and size, with an arrow if it has to be downloaded."""
        return [
            (f"{card.title} · {'' if self.studio.is_ready(name) else '↓ '}{_megabytes(card.size_bytes)}", name)
            for name, card in self.studio.cards.items()
        ]

    def detect(
        self,
        image: str,
        prompt: str,
        model: str = DEFAULT_MODEL,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        nms_threshold: float | None = NMS_THRESHOLD,
    ) -> tuple[Image.Image, dict[str, Any]]:
        """Finds the objects that a prompt names in a picture.

        Args:
            image: The picture.
            prompt: What to look for: phrases separated by dots or commas, as in "cat . remote control".
            model: A name that `/models` lists.
            box_threshold: Score from which a box counts, 0 to 1; by default the model's own.
            text_threshold: Score from which a word of a sentence joins a label, 0 to 1; by default the model's own.
            nms_threshold: Of two boxes of one phrase that overlap more than this (IoU) the better stays; 1 keeps both.

        Returns:
            The picture with boxes, and {"width", "height", "model", "objects": [{"phrase", "score", "box"}]}.
        """
        try:
            if not image:
                raise ValueError("There is no picture: pass one as `image`.")
            picture = self.studio.image(image)
            findings = self.studio.find(
                picture, prompt, model, Thresholds(box_threshold, text_threshold, nms_threshold)
            )
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        drawn = annotate(picture, findings.detections, findings.phrases)
        return drawn, export.record(findings.detections, picture.size, model)

    def models(self) -> list[dict[str, Any]]:
        """Lists the models: name, title, description, size in bytes, thresholds, and whether they are downloaded."""
        return [
            {
                "name": name,
                "title": card.title,
                "description": card.description,
                "size_bytes": card.size_bytes,
                "box_threshold": card.box_threshold,
                "text_threshold": card.text_threshold,
                "downloaded": self.studio.is_ready(name),
            }
            for name, card in self.studio.cards.items()
        ]


def build(studio: Studio, model: str = DEFAULT_MODEL, examples: Path = EXAMPLES) -> gr.Blocks:
    """Lays the page out and wires it up; `examples` is a folder with `examples.json`: [{"file", "prompt"}]."""
    page = Page(studio)
    card = studio.card(model)
    samples = {
        entry["file"]: entry["prompt"] for entry in json.loads((examples / "examples.json").read_text(encoding="utf-8"))
    }
    files = [str(examples / name) for name in samples]
    gr.set_static_paths([examples])  # served from where they are, whatever folder the page was started in
    with gr.Blocks(title="Grounding DINO", analytics_enabled=False, delete_cache=KEEP_FILES) as demo:
        visit, ready = gr.State(Visit()), gr.State(0)
        gr.HTML(
            "<h1>Grounding DINO</h1><p>Type what you are looking for. Boxes appear while you type.</p>", elem_id="title"
        )
        # Three columns, not two, so that a phone can show the answer between the question and the settings.
        with gr.Row(elem_id="page"):
            with gr.Column(elem_id="question"):
                picture = gr.Image(
                    files[0],
                    type="filepath",
                    label="Picture",
                    sources=["upload", "clipboard", "webcam"],
                    buttons=[],
                    height=170,
                    elem_id="picture",
                )
                _hand_over_files(picture)
                prompt = gr.Textbox(
                    label="What to look for",
                    placeholder="cat . pizza",
                    info="Separate several things by dots or commas.",
                    max_lines=3,
                    autofocus=True,
                    html_attributes=gr.InputHTMLAttributes(autocapitalize="off", autocorrect="off", spellcheck=False),
                    elem_id="prompt",
                )
                chips = gr.Dataset(
                    components=[gr.Textbox(visible=False)],
                    samples=_suggestions(files[0], samples),
                    show_label=False,
                    elem_id="chips",
                )
            with gr.Column(elem_id="answer"):
                # With more than one task this column becomes one gr.Tab per task, each with its own result.
                result = gr.HTML(
                    {},
                    html_template=(ASSETS / "page" / "result.html").read_text(),
                    js_on_load=(ASSETS / "page" / "result.js").read_text(),
                    apply_default_css=False,
                    view=NOTHING,
                    status=sentence("Loading the model …", "working"),
                    elem_id="result",
                )
                with gr.Row(elem_id="downloads"):
                    gr.HTML("Download", elem_id="downloads-label")
                    exports = {
                        kind: gr.Button(label, size="sm", min_width=0)
                        for kind, label in (
                            ("picture", "Picture"),
                            ("json", "JSON"),
                            ("coco", "COCO"),
                            ("yolo", "YOLO"),
                        )
                    }
                file = gr.File(visible="hidden")
            with gr.Column(elem_id="settings"):
                gallery = gr.Dataset(
                    components=[gr.Image(visible=False)],
                    samples=[[path] for path in files],
                    label="Examples",
                    type="index",
                    elem_id="gallery",
                )
                picker = gr.Dropdown(page.choices(), value=model, label="Model", filterable=False, elem_id="model")
                about = gr.HTML(card.description, elem_id="about")
                fetch = gr.Button(visible=False, size="sm", variant="primary", elem_id="fetch")
                with gr.Accordion("Thresholds", open=False, elem_id="thresholds"):
                    box = gr.Slider(
                        0,
                        1,
                        card.box_threshold,
                        step=0.01,
                        label="Box",
                        info="A box is shown if its phrase scores more than this.",
                    )
                    text = gr.Slider(
                        0,
                        1,
                        card.text_threshold,
                        step=0.01,
                        label="Text",
                        info="In a sentence, a word joins the label of a box if it scores more than this.",
                    )
                    nms = gr.Slider(
                        0.1,
                        1,
                        NMS_THRESHOLD,
                        step=0.05,
                        label="Overlap",
                        info="Of two boxes of one phrase that overlap more than this the better stays; 1 keeps both.",
                    )

        query = [picture, prompt, picker, box, text, nms]
        gr.on(
            [control.change for control in (*query, ready)] + [prompt.submit, result.input, demo.load],
            page.render,
            [visit, result, *query],
            result,
            trigger_mode="always_last",
            concurrency_limit=WORKERS,
            js=STAMP,
            **PRIVATE,
        )
        picture.change(lambda path: gr.update(samples=_suggestions(path, samples)), picture, chips, **PRIVATE)
        chips.click(None, [chips, prompt], prompt, js=ADD_PHRASE, **PRIVATE)
        opened = gallery.click(
            lambda index: (files[index], samples[Path(files[index]).name]), gallery, [picture, prompt], **PRIVATE
        )
        opened.then(None, js=SELECT_PROMPT, **PRIVATE)
        result.picture(page.take_picture, None, picture, **PRIVATE)
        picker.input(page.choose_model, picker, [box, text, about, fetch], **PRIVATE)
        fetch.click(page.download, [picker, ready], [about, fetch, picker, ready], concurrency_limit=None, **PRIVATE)
        for kind, button in exports.items():
            written = button.click(partial(page.export, kind), [result, *query], file, **PRIVATE)
            written.then(None, file, js=SAVE, **PRIVATE)
        _publish(page, model)
    return demo


def _suggestions(path: str | None, samples: Mapping[str, str]) -> list[list[str]]:
    """The phrases of an example picture; of other pictures nobody knows what to suggest."""
    return [[phrase] for phrase in Prompt.parse(samples.get(Path(path or "").name, "")).phrases]


def _publish(page: Page, model: str) -> None:
    """The endpoints for programs. Their parameters are components of their own: they are no part of the page."""
    with gr.Row(visible=False):
        image = gr.Image(type="filepath", label="The picture")
        _hand_over_files(image)
        thresholds = [gr.Number(label=label) for label in ("Box threshold", "Text threshold")]
        inputs = [image, gr.Textbox(label="Prompt"), gr.Textbox(model, label="Model"), *thresholds]
        inputs.append(gr.Number(NMS_THRESHOLD, label="NMS threshold"))
        outputs = [gr.Image(format="png", label="The picture with boxes"), gr.JSON(label="Objects")]
        gr.Button().click(page.detect, inputs, outputs, api_name="detect", concurrency_limit=WORKERS)
    gr.api(page.models, api_name="models")


def _hand_over_files(image: gr.Image) -> None:
    """Makes an image component pass on the uploaded file as it is.

    Gradio would open it first, and answer what is no picture with a traceback in the log; our loader has a sentence.
    """
    image.preprocess = lambda payload: payload and payload.path  # type: ignore[method-assign]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def main(arguments: list[str] | None = None) -> int:
    """Starts the page and serves it until it is interrupted; 2 after one line on stderr if it cannot."""
    parser = argparse.ArgumentParser(description="Grounding DINO in the browser: type a prompt, see boxes.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all (%(default)s)")
    parser.add_argument("--port", type=int, help="port to listen on (the first free one from 7860)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="model to start with (%(default)s)")
    parser.add_argument(
        "--device", help="where models run, as PyTorch names it: cpu, cuda, cuda:1 (a GPU if there is one)"
    )
    parser.add_argument("--local-files-only", action="store_true", help="never download a model")
    parser.add_argument("--mcp", action="store_true", help="serve the endpoints as MCP tools, too")
    options = parser.parse_args(arguments)
    studio = Studio(options.device, options.local_files_only)
    try:
        if options.mcp and find_spec("mcp") is None:
            raise ValueError("--mcp needs one more package: pip install 'gradio[mcp]'.")
        demo = build(studio, options.model)
        # The page opens at once and the model is there before the first word is typed. Errors are not lost: the first
        # request tries again and shows them.
        Thread(target=_warm_up, args=(studio, options.model), daemon=True).start()
        demo.launch(
            server_name=options.host,
            server_port=options.port,
            theme=THEME,
            css_paths=ASSETS / "page" / "page.css",
            footer_links=["api", "settings"],
            mcp_server=options.mcp,
            ssr_mode=False,
        )
    except (ValueError, OSError) as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    return 0


def _warm_up(studio: Studio, model: str) -> None:
    with suppress(ValueError):
        studio.detector(model)


if __name__ == "__main__":
    sys.exit(main())
