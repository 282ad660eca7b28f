"""The page's events: what the browser does on its own, and which handler answers which control."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

import gradio as gr

from groundingdino.page.handlers import WORKERS, Page, Visit
from groundingdino.page.inpaint_handlers import FOLLOWED, InpaintPage
from groundingdino.page.inpaint_layout import Painting, Wish
from groundingdino.page.layout import Answer, Choice, Masks, Question, Settings, suggested
from groundingdino.page.picker import Picker

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
  // As prompts are read: a dot or comma between digits is part of a number.
  const phrases = prompt.toLowerCase().split(/(?<!\\d)[.,]|[.,](?!\\d)|[;?\\r\\n]/).map((text) => text.trim());
  if (phrases.includes(phrase.toLowerCase())) return prompt;
  const before = prompt.replace(/[\\s.,;?]+$/, "");
  return before.trim() ? `${before} . ${phrase}` : phrase;
}"""
# So that typing replaces the example's prompt; a phone would open its keyboard over the result.
SELECT_PROMPT = """() => {
  if (matchMedia("(pointer: fine)").matches) document.querySelector("#prompt textarea").select();
}"""
SAVE = """(file) => {
  if (file) Object.assign(document.createElement("a"), {href: file.url, download: file.orig_name}).click();
}"""


class Controls(NamedTuple):
    """All components of the page."""

    question: Question
    answer: Answer
    wish: Wish
    settings: Settings
    masks: Masks
    painting: Painting


def wire(page: Page, demo: gr.Blocks, controls: Controls, prompts: Mapping[str, str]) -> None:
    """Connects the controls with what they do; `prompts` are those of the examples by their paths."""
    question, answer, wish, settings, masks, painting = controls
    visit, ready = gr.State(Visit()), gr.State(0)
    query: list[Any] = [  # as `Query` has them
        *(question.picture, question.prompt, settings.detector.model, settings.box, settings.text, settings.nms),
        *(answer.tab, masks.segmenter.model, masks.shapes, masks.opacity, masks.specks),
        *(wish.mode, painting.shape, painting.grow, painting.feather),
    ]
    edits = InpaintPage(page)
    demo.temp_file_sets.append(edits.files)
    # The browser lets what one event causes follow each other in this order; the answer, which may take long, comes
    # after what is done at once.
    question.picture.change(edits.leave, [visit, question.picture], None, queue=False, **PRIVATE)
    _wire_examples(question, settings, prompts)
    choices = ((page.detectors, settings.detector), (page.segmenters, masks.segmenter))
    _wire_opening(demo, [*choices, (page.inpainters, painting.inpainter)])
    _wire_result(page, demo, visit, ready, query, controls)
    _wire_edits(edits, visit, ready, query, controls)


def answering(handler: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """A handler that says so if it has nothing to say.

    Gradio takes a generator that ends without a word for one that clears its output: what the visitor hid, ticked off
    and drew would be gone.
    """

    @wraps(handler)
    def answer(*values: Any) -> Iterator[Any]:
        silent = True
        for update in handler(*values):
            silent = False
            yield update
        if silent:
            yield gr.skip()

    return answer


def _wire_result(
    page: Page, demo: gr.Blocks, visit: gr.State, ready: gr.State, query: list[Any], controls: Controls
) -> None:
    question, answer, _, settings, masks, _ = controls
    detector, segmenter = settings.detector, masks.segmenter
    interrupting: dict[str, Any] = {"trigger_mode": "multiple", "queue": False, "js": INTERRUPT, **PRIVATE}
    changes = [question.prompt.input, question.picture.change, detector.model.change]
    changes += [tab.select for tab in answer.tabs.values()]
    gr.on(changes, page.interrupt, [visit, answer.result], None, **interrupting)
    answer.result.reconsider(page.interrupt, [visit, answer.result], None, **interrupting)
    gr.on(
        [control.change for control in (*query, ready)] + [question.prompt.submit, answer.result.input, demo.load],
        answering(page.render),
        [visit, answer.result, *query],
        answer.result,
        trigger_mode="always_last",
        concurrency_limit=WORKERS,
        js=STAMP,
        **PRIVATE,
    )
    for name, tab in answer.tabs.items():
        tab.select(None, None, answer.tab, js=f"() => {name!r}", **PRIVATE)
    answer.result.picture(page.take_picture, None, question.picture, **PRIVATE)
    for kind, button in answer.downloads.items():
        written = button.click(partial(page.export, kind), [answer.result, *query], answer.file, **PRIVATE)
        written.success(None, answer.file, js=SAVE, **PRIVATE)  # else the file is still the one before
    for picker, choice in ((page.detectors, detector), (page.segmenters, segmenter)):
        _wire_download(picker, choice, ready)
    described = [settings.box, settings.text, detector.about, detector.fetch]
    detector.model.input(page.choose_detector, detector.model, described, **PRIVATE)
    segmenter.model.input(page.segmenters.choose, segmenter.model, [segmenter.about, segmenter.fetch], **PRIVATE)


def _wire_edits(edits: InpaintPage, visit: gr.State, ready: gr.State, query: list[Any], controls: Controls) -> None:
    question, answer, wish, _, _, painting = controls
    result, picture, inpainter = answer.result, question.picture, painting.inpainter
    form = [  # as `Form` has them
        *(wish.text, wish.backdrop, wish.color, wish.picture, wish.remover, painting.one_by_one, inpainter.model),
        *(painting.steps, painting.guidance, painting.strength, painting.seed, painting.negative),
        *(painting.candidates, painting.scheduler),
    ]
    # A visitor has one edit under way.
    gr.on(
        [wish.run.click, wish.text.submit],
        answering(edits.run),
        [visit, result, *query, *form],
        result,
        trigger_mode="once",
        concurrency_limit=FOLLOWED,
        js=STAMP,
        **PRIVATE,
    )
    wish.cancel.click(edits.cancel, [visit, result], None, queue=False, js=INTERRUPT, **PRIVATE)
    result.accept(edits.accept, [visit, result, picture], [picture, result], **PRIVATE)
    result.back(partial(edits.step, steps=-1), [visit, picture], [picture, result], **PRIVATE)
    result.forth(partial(edits.step, steps=1), [visit, picture], [picture, result], **PRIVATE)
    for kind, button in answer.edit_downloads.items():
        written = button.click(partial(edits.export, kind), [visit, result, *query], answer.file, **PRIVATE)
        written.success(None, answer.file, js=SAVE, **PRIVATE)
    shape, grow, mode = painting.shape, painting.grow, wish.mode
    mode.input(edits.choose_mode, [visit, mode, inpainter.model, shape, grow], [shape, grow], **PRIVATE)
    painting.repeat.click(edits.repeat_seed, [visit, result, picture], painting.seed, **PRIVATE)
    _wire_download(edits.inpainters, inpainter, ready)
    described = [painting.steps, painting.guidance, painting.one_by_one, shape, inpainter.about, inpainter.fetch]
    inpainter.model.input(edits.choose_inpainter, [visit, inpainter.model, mode], described, **PRIVATE)


def _wire_opening(demo: gr.Blocks, choices: Sequence[tuple[Picker[Any, Any], Choice]]) -> None:
    """The lists of models are as they are when a page is opened, not when the program was started."""

    def refresh(*models: str) -> list[Any]:
        return [part for (picker, _), model in zip(choices, models, strict=True) for part in picker.refresh(model)]

    models = [choice.model for _, choice in choices]
    outputs = [part for _, choice in choices for part in (choice.model, choice.fetch)]
    demo.load(refresh, models, outputs, queue=False, **PRIVATE)


def _wire_download(picker: Picker[Any, Any], choice: Choice, ready: gr.State) -> None:
    """To be called before the answer to a choice is wired: events of one control run in that order."""
    outputs = [choice.about, choice.fetch, choice.model, ready]
    followed = choice.fetch.click(picker.download, [choice.model, ready], outputs, concurrency_limit=None, **PRIVATE)
    # The row is another model's now. The download goes on, but nobody is told of it any more.
    choice.model.input(None, None, None, cancels=[followed])


def _wire_examples(question: Question, settings: Settings, prompts: Mapping[str, str]) -> None:
    picture, prompt, suggestions = question
    opened = settings.gallery.click(
        lambda index: list(prompts.items())[index], settings.gallery, [picture, prompt], **PRIVATE
    )
    opened.then(None, js=SELECT_PROMPT, **PRIVATE)
    picture.change(
        lambda path: gr.update(samples=suggested(path, prompts)), picture, suggestions, queue=False, **PRIVATE
    )
    suggestions.click(None, [suggestions, prompt], prompt, js=ADD_PHRASE, **PRIVATE)
