"""The page, laid out and wired up: one picture, one line of text, boxes while it is typed.

`python app.py` serves it. What its controls do is in `groundingdino/page.py`.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from groundingdino.page import DEFAULT_MODEL, WORKERS, Page, Visit
from groundingdino.phrases import NMS_THRESHOLD
from groundingdino.prompt import Prompt
from groundingdino.studio import Studio, Thresholds
from groundingdino.view import NOTHING, sentence

ASSETS = Path(__file__).resolve().parent / "assets"
EXAMPLES = ASSETS / "examples"
MAX_UPLOAD = "100mb"
KEEP_FILES = (600, 24 * 3600)  # seconds: how often uploads and downloads are cleared away, and from what age
THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    font=("ui-sans-serif", "system-ui", "sans-serif"),  # the visitor's own fonts: no page waits for a font server
    font_mono=("ui-monospace", "monospace"),
)
# How the page is served, by `main` and by tests.
SERVING: dict[str, Any] = {
    "theme": THEME,
    "css_paths": ASSETS / "page" / "page.css",
    "footer_links": ["api", "settings"],
    "max_file_size": MAX_UPLOAD,
    "ssr_mode": False,
}
# Events of the page itself: no endpoints, and the status line shows their work instead of Gradio's spinners.
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

# Requests leave a page in the order of their stamps, but need not arrive or finish in it. The first may leave before
# there is a canvas to measure.
STAMP = """(visit, sent, ...query) => {
  const box = document.querySelector("#result .canvas");
  const canvas = box && [box.clientWidth, box.clientHeight, devicePixelRatio];
  return [visit, {...sent, stamp: performance.now(), canvas}, ...query];
}"""
# Gradio passes the index of what was clicked.
ADD_PHRASE = """(index, prompt) => {
  const phrase = document.querySelectorAll("#suggestions .gallery-item")[index].innerText.trim();
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


class Question(NamedTuple):
    """The controls that say what is looked for, and where."""

    picture: gr.Image
    prompt: gr.Textbox
    suggestions: gr.Dataset


class Answer(NamedTuple):
    """What was found: picture, status line, legend and table are one component, so that they always agree."""

    result: gr.HTML
    downloads: dict[str, gr.Button]
    file: gr.File  # what a download button has written; never seen


class Settings(NamedTuple):
    """The other controls."""

    gallery: gr.Dataset
    model: gr.Dropdown
    about: gr.HTML
    fetch: gr.Button
    box: gr.Slider
    text: gr.Slider
    nms: gr.Slider


def build(studio: Studio, model: str = DEFAULT_MODEL, examples: Path = EXAMPLES) -> gr.Blocks:
    """Lays the page out and wires it up; `examples` is a folder with `examples.json`: [{"file", "prompt"}]."""
    page = Page(studio)
    entries = json.loads((examples / "examples.json").read_text(encoding="utf-8"))
    prompts = {str(examples / entry["file"]): entry["prompt"] for entry in entries}
    gr.set_static_paths([examples])  # served from where they are, whatever folder the page was started in
    with gr.Blocks(title="Grounding DINO", analytics_enabled=False, delete_cache=KEEP_FILES) as demo:
        title = "<h1>Grounding DINO</h1><p>Type what you are looking for. Boxes appear while you type.</p>"
        gr.HTML(title, elem_id="title")
        # Three columns, not two, so that a phone can show the answer between the question and the settings.
        with gr.Row(elem_id="page"):
            with gr.Column(elem_id="question"):
                question = _question(prompts)
            # No tabs while there is one task. With more, this column becomes a gr.Tab for each, with its own result.
            with gr.Column(elem_id="answer"):
                answer = _answer()
            with gr.Column(elem_id="settings"):
                settings = _settings(page, model, list(prompts))
        _wire(page, demo, question, answer, settings)
        _wire_examples(question, settings, prompts)
        _publish(page, model)
    return demo


def _question(prompts: Mapping[str, str]) -> Question:
    first = next(iter(prompts))
    picture = gr.Image(
        first,
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
    suggestions = gr.Dataset(
        components=[gr.Textbox(visible=False)],
        samples=_suggestions(first, prompts),
        show_label=False,
        elem_id="suggestions",
    )
    return Question(picture, prompt, suggestions)


def _answer() -> Answer:
    result = gr.HTML(
        {},
        html_template=(ASSETS / "page" / "result.html").read_text(),
        js_on_load=(ASSETS / "page" / "result.js").read_text(),
        apply_default_css=False,
        view=NOTHING,
        status=sentence("Loading the model …", "working"),
        elem_id="result",
    )
    labels = {"picture": "Picture", "json": "JSON", "coco": "COCO", "yolo": "YOLO"}
    with gr.Row(elem_id="downloads"):
        gr.HTML("Download", elem_id="downloads-label")
        downloads = {kind: gr.Button(label, size="sm", min_width=0) for kind, label in labels.items()}
    return Answer(result, downloads, gr.File(visible="hidden"))


def _settings(page: Page, model: str, examples: list[str]) -> Settings:
    card = page.studio.card(model)
    gallery = gr.Dataset(
        components=[gr.Image(visible=False)],
        samples=[[path] for path in examples],
        label="Examples",
        type="index",
        elem_id="gallery",
    )
    picker = gr.Dropdown(page.choices(), value=model, label="Model", filterable=False, elem_id="model")
    about = gr.HTML(card.description, elem_id="about")
    fetch = gr.Button(**page.fetch_button(model), size="sm", variant="primary", elem_id="fetch")
    with gr.Accordion("Thresholds", open=False, elem_id="thresholds"):
        info = "A box is shown if its phrase scores more than this."
        box = gr.Slider(0, 1, card.box_threshold, step=0.01, label="Box", info=info)
        info = "In a sentence, a word joins the label of a box if it scores more than this."
        text = gr.Slider(0, 1, card.text_threshold, step=0.01, label="Text", info=info)
        info = "Of two boxes of one phrase that overlap more than this the better stays; 1 keeps both."
        nms = gr.Slider(0.1, 1, NMS_THRESHOLD, step=0.05, label="Overlap", info=info)
    return Settings(gallery, picker, about, fetch, box, text, nms)


def _wire(page: Page, demo: gr.Blocks, question: Question, answer: Answer, settings: Settings) -> None:
    visit, ready = gr.State(Visit()), gr.State(0)
    thresholds = [settings.box, settings.text, settings.nms]
    query: list[Any] = [question.picture, question.prompt, settings.model, *thresholds]
    gr.on(
        [control.change for control in (*query, ready)] + [question.prompt.submit, answer.result.input, demo.load],
        page.render,
        [visit, answer.result, *query],
        answer.result,
        trigger_mode="always_last",
        concurrency_limit=WORKERS,
        js=STAMP,
        **PRIVATE,
    )
    answer.result.picture(page.take_picture, None, question.picture, **PRIVATE)
    for kind, button in answer.downloads.items():
        written = button.click(partial(page.export, kind), [answer.result, *query], answer.file, **PRIVATE)
        written.then(None, answer.file, js=SAVE, **PRIVATE)
    described = [settings.about, settings.fetch]
    settings.model.input(page.choose_model, settings.model, [settings.box, settings.text, *described], **PRIVATE)
    settings.fetch.click(
        page.download,
        [settings.model, ready],
        [*described, settings.model, ready],
        concurrency_limit=None,
        **PRIVATE,
    )


def _wire_examples(question: Question, settings: Settings, prompts: Mapping[str, str]) -> None:
    picture, prompt, suggestions = question
    opened = settings.gallery.click(
        lambda index: list(prompts.items())[index], settings.gallery, [picture, prompt], **PRIVATE
    )
    opened.then(None, js=SELECT_PROMPT, **PRIVATE)
    picture.change(lambda path: gr.update(samples=_suggestions(path, prompts)), picture, suggestions, **PRIVATE)
    suggestions.click(None, [suggestions, prompt], prompt, js=ADD_PHRASE, **PRIVATE)


def _suggestions(path: str | None, prompts: Mapping[str, str]) -> list[list[str]]:
    """The phrases of an example picture; of other pictures nobody knows what to suggest."""
    return [[phrase] for phrase in Prompt.parse(prompts.get(path or "", "")).phrases]


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

    def path_of(upload: ImageData | None) -> str | None:
        return upload.path if upload else None

    image.preprocess = path_of  # type: ignore[assignment, method-assign]


def main(arguments: list[str] | None = None) -> int:
    """Starts the page and serves it until it is interrupted; 2 after one line on stderr if it cannot."""
    parser = argparse.ArgumentParser(description="Grounding DINO in the browser: type a prompt, see boxes.")
    parser.add_argument("--host", help="address to listen on: 0.0.0.0 for all (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (the first free one from 7860)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="model to start with (%(default)s)")
    parser.add_argument(
        "--device", help="where models run, as PyTorch names it: cpu, cuda, ... (a GPU if there is one)"
    )
    parser.add_argument("--local-files-only", action="store_true", help="never download a model")
    parser.add_argument("--mcp", action="store_true", help="serve the endpoints as MCP tools, too")
    options = parser.parse_args(arguments)
    try:
        if options.mcp and find_spec("mcp") is None:
            raise ValueError("--mcp needs one more package: pip install 'gradio[mcp]'.")
        studio = Studio(options.device, options.local_files_only)
        demo = build(studio, options.model)
        # The page opens at once, and the model is ready before the first word is typed.
        Thread(target=_warm_up, args=(studio, options.model), daemon=True).start()
        # Without a host or port, Gradio's environment variables hold, as on a Space.
        demo.launch(server_name=options.host, server_port=options.port, mcp_server=options.mcp, **SERVING)
    except ValueError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    except OSError:
        where = f"port {options.port}" if options.port else "any port from 7860 on"
        print(f"app.py: cannot listen on {where}; choose another with --port.", file=sys.stderr)
        return 2
    return 0


def _warm_up(studio: Studio, model: str) -> None:
    """Loads a model and runs it once: the first run compiles kernels, which takes longer than the run."""
    try:
        studio.find(Image.new("RGB", (320, 240)), "anything", model, Thresholds())
    except ValueError as error:  # the page tells its visitors, too
        print(f"app.py: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
