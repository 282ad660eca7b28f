"""The page's events: what the browser does on its own, and which handler answers which control."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from typing import Any, NamedTuple

import gradio as gr
from gradio.events import Dependency

from groundingdino.page.edit_form import Form
from groundingdino.page.handlers import WAITING, Page
from groundingdino.page.inpaint_handlers import FOLLOWED, InpaintPage
from groundingdino.page.inpaint_layout import EditForm, Painting
from groundingdino.page.layout import Answer, Choice, Masks, Question, Settings
from groundingdino.page.opening import wire_opening
from groundingdino.page.picker import Picker, Row
from groundingdino.page.query import Query
from groundingdino.page.session import Session
from groundingdino.page.suggesting import Suggestions

# Events of the page itself: no endpoints, and the status line shows their work instead of Gradio's spinners.
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

# Requests leave a page in the order of their stamps, but need not arrive or finish in it. The first may leave before
# there is a canvas to measure.
STAMP = """(session, sent, ...query) => {
  const box = document.querySelector("#result .canvas");
  const canvas = box && [box.clientWidth, box.clientHeight, devicePixelRatio, Number(box.dataset.zoom ?? 1)];
  const typed = Number(document.querySelector("#prompt")?.dataset.typed ?? -Infinity);
  return [session, {...sent, stamp: performance.now(), canvas, typing: performance.now() - typed < 500}, ...query];
}"""
# Of an edit: also whether Run was pressed while another one was under way, see assets/page/compare.js.
STAMP_EDIT = f"""(...sent) => {{
  const [session, stamped, ...rest] = ({STAMP})(...sent);
  return [session, {{...stamped, twice: groundingDino.isTwice(stamped.stamp)}}, ...rest];
}}"""
# Gives up the requests under way, without waiting for an answer.
INTERRUPT = "(session) => [session, {stamp: performance.now()}]"
# These are in assets/page/prompt.js.
REPLACE_PROMPT = "(text) => (groundingDino.replacePrompt(text), text)"
SHOW_EXAMPLE = "(index) => (groundingDino.showExample(index), index)"
SELECT_PROMPT = "() => groundingDino.selectExample()"
SAVE = """(file) => {
  if (file) Object.assign(document.createElement("a"), {href: file.url, download: file.orig_name}).click();
}"""


class Controls(NamedTuple):
    """All components of the page."""

    question: Question
    answer: Answer
    edit_form: EditForm
    settings: Settings
    masks: Masks
    painting: Painting


def wire(page: Page, demo: gr.Blocks, controls: Controls, prompts: Mapping[str, str]) -> tuple[gr.State, list[Any]]:
    """Connects the controls with what they do; `prompts` are those of the examples by their paths.

    Returns:
        The session, and the controls of a `Query`, for what else is connected with them.
    """
    question, answer, edit_form, settings, masks, painting = controls
    session, ready = gr.State(Session()), gr.State(0)
    query = by_name(
        Query,
        path=question.picture,
        prompt=question.prompt,
        model=settings.detector.model,
        box_threshold=settings.box,
        text_threshold=settings.text,
        nms_threshold=settings.nms,
        tab=answer.tab,
        segmenter=masks.segmenter.model,
        shapes=masks.shapes,
        opacity=masks.opacity,
        specks=masks.specks,
        mode=edit_form.mode,
        shape=painting.shape,
        grow=painting.grow,
        feather=painting.feather,
        own=painting.own,
        margins=edit_form.margins,
        best_only=settings.best_only,
        each=settings.each,
        tiles=settings.tiles,
        compare=settings.second.model,
    )
    edits = InpaintPage(page)
    demo.temp_file_sets.append(edits.files)
    # The browser lets what one event causes follow each other in this order; the answer, which may take long, comes
    # after what is done at once.
    question.picture.change(edits.leave, [session, question.picture], None, queue=False, **PRIVATE)
    form = by_name(
        Form,
        text=edit_form.text,
        backdrop=edit_form.backdrop,
        color=edit_form.color,
        picture=edit_form.picture,
        remover=edit_form.remover,
        one_by_one=painting.one_by_one,
        model=painting.inpainter.model,
        steps=painting.steps,
        guidance=painting.guidance,
        strength=painting.strength,
        seed=painting.seed,
        negative_prompt=painting.negative,
        candidates=painting.candidates,
        scheduler=painting.scheduler,
        effect=edit_form.effect,
        few_steps=painting.few_steps.model,
    )
    _wire_examples(page, session, question, settings, prompts)
    choices: list[tuple[Picker[Any, Any], Choice]] = [
        (page.detectors, settings.detector),
        (page.seconds, settings.second),
        (page.segmenters, masks.segmenter),
        (page.inpainters, painting.inpainter),
        (page.few_steps, painting.few_steps),
    ]
    opened = wire_opening(demo, session, question, answer, [*query, *form], choices, prompts, PRIVATE)
    namer = settings.namer
    opened.then(page.namers.refresh, None, [namer.model, namer.about, namer.fetch], queue=False, **PRIVATE)
    _wire_result(page, opened, session, ready, query, controls)
    _wire_edits(edits, session, ready, query, form, controls)
    return session, query


def by_name(record: type[tuple[Any, ...]], **controls: Any) -> list[Any]:
    """Controls in the order of a NamedTuple's fields, to which Gradio sends their values; each field has one."""
    if missing := controls.keys() ^ set(fields := record._fields):  # type: ignore[attr-defined]
        raise ValueError(f"{record.__name__} and its controls do not agree on {sorted(missing)}.")
    return [controls[name] for name in fields]


def answering(handler: Callable[..., Iterator[Any]], outputs: int = 1) -> Callable[..., Iterator[Any]]:
    """A handler whose last word changes nothing, of so many outputs.

    When a generator ends, Gradio sends its last update once more, or clears the output if there was none. The page
    would say again that it is looking after a newer request has been answered, and lose what the visitor hid, ticked
    off and drew; and each picture would be sent twice.
    """

    @wraps(handler)
    def answer(*values: Any) -> Iterator[Any]:
        yield from handler(*values)
        yield gr.skip() if outputs == 1 else (gr.skip(),) * outputs

    return answer


def _wire_result(
    page: Page, opened: Dependency, session: gr.State, ready: gr.State, query: list[Any], controls: Controls
) -> None:
    question, answer, _, settings, masks, _ = controls
    detector, segmenter = settings.detector, masks.segmenter
    interrupting: dict[str, Any] = {"trigger_mode": "multiple", "queue": False, "js": INTERRUPT, **PRIVATE}
    changes = [question.prompt.change, question.picture.change, detector.model.change]
    changes += [tab.select for tab in answer.tabs.values()]
    gr.on(changes, page.interrupt, [session, answer.result], None, **interrupting)
    answer.result.reconsider(page.interrupt, [session, answer.result], None, **interrupting)
    answered: dict[str, Any] = {
        "fn": answering(page.render),
        "inputs": [session, answer.result, *query],
        "outputs": answer.result,
        "concurrency_limit": WAITING,
        "js": STAMP,
        **PRIVATE,
    }
    opened.then(**answered)
    gr.on(
        [control.change for control in (*query, ready)] + [question.prompt.submit, answer.result.input],
        trigger_mode="always_last",
        **answered,
    )
    for name, tab in answer.tabs.items():
        tab.select(None, None, answer.tab, js=f"() => {name!r}", **PRIVATE)
    answer.result.picture(page.take_file, None, question.picture, **PRIVATE)
    for kind, button in answer.downloads.items():
        export = partial(page.export, kind)
        written = button.click(export, [answer.result, *query], answer.file, concurrency_limit=WAITING, **PRIVATE)
        written.success(None, answer.file, js=SAVE, **PRIVATE)  # else the file is still the one before
    described = [settings.box, settings.text, detector.about, detector.fetch]
    taken = answer.result.take_detector(
        taking(page.detectors, page.choose_detector), None, [detector.model, *described], **PRIVATE
    )
    wire_download(page.detectors, detector, ready, taken)
    detector.model.input(page.choose_detector, detector.model, described, **PRIVATE)
    namer = settings.namer
    wire_download(page.namers, namer, ready)
    namer.model.input(page.namers.choose, namer.model, [namer.about, namer.fetch], **PRIVATE)
    second = settings.second
    wire_download(page.seconds, second, ready)
    second.model.input(page.seconds.choose, second.model, [second.about, second.fetch], **PRIVATE)
    described = [segmenter.about, segmenter.fetch]
    taken = answer.result.take_segmenter(
        taking(page.segmenters, page.segmenters.choose), None, [segmenter.model, *described], **PRIVATE
    )
    wire_download(page.segmenters, segmenter, ready, taken)
    segmenter.model.input(page.segmenters.choose, segmenter.model, described, **PRIVATE)


def taking(picker: Picker[Any, Any], choose: Callable[..., Any]) -> Callable[..., list[Any]]:
    """A handler for the button at the result that chooses a model: the model, and what `choose` gives for it."""

    def take(event: gr.EventData, *values: Any) -> list[Any]:
        model = str(event.model)
        if model not in picker.models.cards:
            raise gr.Error("There is no such model: load the page again.")
        return [model, *choose(model, *values)]

    return take


def _wire_edits(
    edits: InpaintPage,
    session: gr.State,
    ready: gr.State,
    query: list[Any],
    form: list[Any],
    controls: Controls,
) -> None:
    question, answer, edit_form, _, _, painting = controls
    result, picture, inpainter = answer.result, question.picture, painting.inpainter
    # A visitor has one edit under way. Who presses Run right after a cancel whose end has not reached the browser yet
    # is heard, too.
    gr.on(
        [edit_form.run.click, edit_form.text.submit],
        answering(edits.run),
        [session, result, *query, *form],
        result,
        trigger_mode="always_last",
        concurrency_limit=FOLLOWED,
        js=STAMP_EDIT,
        **PRIVATE,
    )
    edit_form.cancel.click(edits.cancel, [session, result], None, queue=False, js=INTERRUPT, **PRIVATE)
    result.accept(edits.accept, [session, result, picture], [picture, result], **PRIVATE)
    result.back(partial(edits.step, steps=-1), [session, picture], [picture, result], **PRIVATE)
    result.forth(partial(edits.step, steps=1), [session, picture], [picture, result], **PRIVATE)
    for kind, button in answer.edit_downloads.items():
        export = partial(edits.export, kind)
        written = button.click(export, [session, result, *query], answer.file, concurrency_limit=WAITING, **PRIVATE)
        written.success(None, answer.file, js=SAVE, **PRIVATE)
    shape, grow, mode = painting.shape, painting.grow, edit_form.mode
    mode.input(edits.choose_mode, [session, mode, inpainter.model, shape, grow], [shape, grow], **PRIVATE)
    painting.repeat.click(edits.repeat_seed, [session, result, picture], painting.seed, **PRIVATE)
    few = painting.few_steps
    described = [painting.steps, painting.guidance, painting.one_by_one, shape, few.model, few.about, few.fetch]
    described += [inpainter.about, inpainter.fetch]

    def choose(model: str, session: Session, mode: str) -> Any:
        return edits.choose_inpainter(session, model, mode)

    taken = result.take_inpainter(
        taking(edits.inpainters, choose), [session, mode], [inpainter.model, *described], **PRIVATE
    )
    wire_download(edits.inpainters, inpainter, ready, taken)
    inpainter.model.input(choose, [inpainter.model, session, mode], described, **PRIVATE)
    suited = [painting.steps, painting.guidance, few.about, few.fetch]
    taken = result.take_few_steps(
        taking(edits.few_steps, edits.choose_few_steps), inpainter.model, [few.model, *suited], **PRIVATE
    )
    wire_download(edits.few_steps, few, ready, taken)
    few.model.input(edits.choose_few_steps, [few.model, inpainter.model], suited, **PRIVATE)


def wire_download(picker: Picker[Any, Any], choice: Choice, ready: gr.State, taken: Dependency | None = None) -> None:
    """To be called before the answer to a choice is wired: events of one control run in that order.

    A model is downloaded by the button below the list, and when it was `taken` by the one at the result.
    """
    row = gr.State(Row())
    # Not by Gradio's `cancels`: while the server has not numbered a request yet, the browser sends that without a
    # number, which cancels nothing and is an error in its console.
    choice.model.input(Row.turn_to, [row, choice.model], None, queue=False, **PRIVATE)
    download: dict[str, Any] = {
        "fn": answering(picker.download, 4),
        "inputs": [row, choice.model, ready],
        "outputs": [choice.about, choice.fetch, choice.model, ready],
        "concurrency_limit": None,
        **PRIVATE,
    }
    choice.fetch.click(**download)
    if taken:
        taken.success(**download)


def _wire_examples(
    page: Page, session: gr.State, question: Question, settings: Settings, prompts: Mapping[str, str]
) -> None:
    picture, prompt, suggestions, suggest, replaced = question
    chosen = settings.gallery.click(
        lambda index: list(prompts.items())[index], settings.gallery, [picture, prompt], js=SHOW_EXAMPLE, **PRIVATE
    )
    chosen.then(None, js=SELECT_PROMPT, **PRIVATE)
    phrases, shown = Suggestions(page.studio, page.jobs, prompts), [suggestions, suggest]
    models = [settings.detector.model, settings.namer.model]
    on_request, asked = answering(phrases.on_request, 2), [session, picture, *models]
    suggest.click(on_request, asked, shown, concurrency_limit=WAITING, **PRIVATE)
    settings.namer.model.input(phrases.again, [session, picture], shown, concurrency_limit=WAITING, **PRIVATE)
    # Through the queue, so that its answer does not overtake that of a look which was asked for before.
    picture.change(phrases.at_once, [session, picture], shown, concurrency_limit=WAITING, **PRIVATE)
    added = suggestions.click(page.add_phrase, [suggestions, prompt], replaced, queue=False, **PRIVATE)
    added.then(None, replaced, prompt, js=REPLACE_PROMPT, **PRIVATE)
