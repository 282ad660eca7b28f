"""The page, wired up: one picture, one line of text, boxes and masks while it is typed.

`python app.py` serves it. Its components are in `groundingdino/layout.py`, what they do in `groundingdino/page.py`.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import gradio as gr
from PIL import Image

from groundingdino.endpoints import DEFAULT_MODEL, Endpoints
from groundingdino.layout import (
    PAGE_FILES,
    Answer,
    Choice,
    Masks,
    Question,
    Settings,
    answer_column,
    hand_over_files,
    masks_column,
    question_column,
    settings_column,
    suggested,
)
from groundingdino.page import WORKERS, Page, Visit
from groundingdino.phrases import NMS_THRESHOLD
from groundingdino.picker import Picker
from groundingdino.selection import Pointing
from groundingdino.studio import Studio, Thresholds

EXAMPLES = Path(__file__).resolve().parent / "assets" / "examples"
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
    "css_paths": PAGE_FILES / "page.css",
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
  const typed = Number(document.querySelector("#prompt")?.dataset.typed ?? -Infinity);
  return [visit, {...sent, stamp: performance.now(), canvas, typing: performance.now() - typed < 500}, ...query];
}"""
# What is asked already is not wanted any more; this one does not wait for its answer.
INTERRUPT = "(visit) => [visit, {stamp: performance.now()}]"
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


def build(studio: Studio, model: str = DEFAULT_MODEL, examples: Path = EXAMPLES) -> gr.Blocks:
    """Lays the page out and wires it up; `examples` is a folder with `examples.json`: [{"file", "prompt"}]."""
    page = Page(studio)
    entries = json.loads((examples / "examples.json").read_text(encoding="utf-8"))
    prompts = {str(examples / entry["file"]): entry["prompt"] for entry in entries}
    gr.set_static_paths([examples])  # served from where they are, whatever folder the page was started in
    with gr.Blocks(title="Grounding DINO", analytics_enabled=False, delete_cache=KEEP_FILES) as demo:
        title = "<h1>Grounding DINO</h1><p>Type what you are looking for. Boxes and masks appear while you type.</p>"
        gr.HTML(title, elem_id="title")
        # Columns of their own, so that a phone can show the answer between the question and the settings.
        with gr.Row(elem_id="page"):
            with gr.Column(elem_id="question"):
                question = question_column(prompts)
            with gr.Column(elem_id="answer"):
                answer = answer_column()
            with gr.Column(elem_id="masks"):
                masks = masks_column(page.segmenters, DEFAULT_MODEL)
            with gr.Column(elem_id="settings"):
                settings = settings_column(page.detectors, model, list(prompts))
        _wire(page, demo, question, answer, settings, masks)
        _wire_examples(question, settings, prompts)
        _publish(Endpoints(studio), model)
    return demo


def _wire(page: Page, demo: gr.Blocks, question: Question, answer: Answer, settings: Settings, masks: Masks) -> None:
    visit, ready = gr.State(Visit()), gr.State(0)
    detector, segmenter = settings.detector, masks.segmenter
    query: list[Any] = [
        *(question.picture, question.prompt, detector.model, settings.box, settings.text, settings.nms),
        *(answer.tab, segmenter.model, masks.shapes, masks.opacity, masks.specks),
    ]
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
    gr.on(
        [question.prompt.input, question.picture.change, detector.model.change],
        page.interrupt,
        [visit, answer.result],
        None,
        trigger_mode="multiple",
        queue=False,
        js=INTERRUPT,
        **PRIVATE,
    )
    for name, tab in answer.tabs.items():
        tab.select(None, None, answer.tab, js=f"() => {name!r}", **PRIVATE)
    answer.result.picture(page.take_picture, None, question.picture, **PRIVATE)
    for kind, button in answer.downloads.items():
        written = button.click(partial(page.export, kind), [answer.result, *query], answer.file, **PRIVATE)
        written.then(None, answer.file, js=SAVE, **PRIVATE)
    described = [settings.box, settings.text, detector.about, detector.fetch]
    detector.model.input(page.choose_detector, detector.model, described, **PRIVATE)
    segmenter.model.input(page.segmenters.choose, segmenter.model, [segmenter.about, segmenter.fetch], **PRIVATE)
    for picker, choice in ((page.detectors, detector), (page.segmenters, segmenter)):
        _wire_download(picker, choice, ready)


def _wire_download(picker: Picker[Any, Any], choice: Choice, ready: gr.State) -> None:
    outputs = [choice.about, choice.fetch, choice.model, ready]
    choice.fetch.click(picker.download, [choice.model, ready], outputs, concurrency_limit=None, **PRIVATE)


def _wire_examples(question: Question, settings: Settings, prompts: Mapping[str, str]) -> None:
    picture, prompt, suggestions = question
    opened = settings.gallery.click(
        lambda index: list(prompts.items())[index], settings.gallery, [picture, prompt], **PRIVATE
    )
    opened.then(None, js=SELECT_PROMPT, **PRIVATE)
    picture.change(lambda path: gr.update(samples=suggested(path, prompts)), picture, suggestions, **PRIVATE)
    suggestions.click(None, [suggestions, prompt], prompt, js=ADD_PHRASE, **PRIVATE)


def _publish(endpoints: Endpoints, model: str) -> None:
    """The endpoints for programs. Their parameters are components of their own: they are no part of the page."""
    with gr.Row(visible=False):
        image = gr.Image(type="filepath", label="The picture")
        hand_over_files(image)
        prompt, detector = gr.Textbox(label="Prompt"), gr.Textbox(model, label="Model")
        thresholds = [gr.Number(label=label) for label in ("Box threshold", "Text threshold")]
        thresholds.append(gr.Number(NMS_THRESHOLD, label="NMS threshold"))
        drawn, found = gr.Image(format="png", label="The picture with what was found"), gr.JSON(label="Objects")
        gr.Button().click(
            endpoints.detect,
            [image, prompt, detector, *thresholds],
            [drawn, found],
            api_name="detect",
            concurrency_limit=WORKERS,
        )
        pointed = [*(gr.JSON(label=label) for label in ("Points", "Boxes", "Strokes")), gr.Checkbox(label="Everything")]
        segmenter, fill = gr.Textbox(DEFAULT_MODEL, label="Segmenter"), gr.Number(0, label="Holes and specks")
        gr.Button().click(
            endpoints.segment,
            [image, gr.Textbox("", label="Prompt"), *pointed, detector, segmenter, *thresholds, fill],
            [drawn, found],
            api_name="segment",
            concurrency_limit=WORKERS,
        )
    gr.api(endpoints.models, api_name="models")


def main(arguments: list[str] | None = None) -> int:
    """Starts the page and serves it until it is interrupted; 2 after one line on stderr if it cannot."""
    parser = argparse.ArgumentParser(description="Grounding DINO in the browser: type a prompt, see boxes and masks.")
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
        studio = Studio.open(options.device, options.local_files_only)
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
    """Loads the models and runs them once: the first run compiles kernels, which takes longer than the run.

    The detector comes first, as every visitor waits for it; the segmenter is ready when its tab is opened.
    """
    blank = Image.new("RGB", (320, 240))
    try:
        findings = studio.find(blank, "anything", model, Thresholds())
        if studio.segmenters.is_ready(DEFAULT_MODEL):
            studio.cut_out(blank, findings, DEFAULT_MODEL, Pointing(), 0)
    except ValueError as error:  # the page tells its visitors, too
        print(f"app.py: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
