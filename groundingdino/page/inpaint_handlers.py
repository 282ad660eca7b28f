"""What the tab Inpaint does: runs edits, follows and cancels them, and makes a result the next picture.

The mask is no matter of this file: it is shown with everything else that is found, see `handlers`. An edit runs in a
thread of its own, so that who waits for one takes none of `Page`'s workers; the studio lets one after the other paint
with the same model. Cancelling ends the waiting at once, and the thread as soon as what it is at can be stopped.
"""

import logging
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from groundingdino.editing.few_steps import FEW_STEPS
from groundingdino.editing.outpainting import framed
from groundingdino.editing.perform import Edited, EditProgress
from groundingdino.editing.recipe import png_with_recipe, recipe_json, search_of
from groundingdino.editing.tasks import Outpaint, Remove
from groundingdino.inputs.image import load_image
from groundingdino.page import advice
from groundingdino.page.edit_form import Form, suited_grow, suited_shape
from groundingdino.page.edit_view import NO_EDIT, Outcome, candidate_view
from groundingdino.page.faults import FAULT, noticed
from groundingdino.page.files import write_file
from groundingdino.page.handlers import Page, ended
from groundingdino.page.jobs import in_this_context
from groundingdino.page.presence import has_left
from groundingdino.page.query import Query
from groundingdino.page.request_log import WITHDRAWN, logged
from groundingdino.page.selection import Selection
from groundingdino.page.session import Session
from groundingdino.page.status_line import NO_PICTURE, sentence
from groundingdino.page.studio import OFF, Findings
from groundingdino.page.view import Canvas, jpeg_url
from groundingdino.results import export
from groundingdino.runtime.interruption import StopCheck, Stopped

FOLLOWED = 20  # edits of all visitors at a time: each takes one of Gradio's 40 threads to be followed in
POLL = 0.1  # seconds between two checks whether an edit was cancelled
QUIET = 2.0  # seconds without news until the status line says what is waited for
LIMIT = 900.0  # seconds without news, also from whoever paints before, after which an edit is given up
GIVEN_UP = f"The edit gave no sign of life for {LIMIT / 60:.0f} minutes and was given up."
STARTING = "Starting …"
WAITING = "Waiting: the model is loading, or painting for someone else …"

logger = logging.getLogger(__name__)


@dataclass
class _Run:
    """An edit under way."""

    news: Queue[EditProgress | str | Outcome | BaseException] = field(default_factory=Queue)
    given_up: bool = False
    grows: bool = False  # the picture becomes larger


class WrittenFiles(set[str]):
    """Paths that threads add to while Gradio's cleaning iterates over them, which an error would end for good."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())


class InpaintPage:
    """The handlers behind the controls of the tab; sessions are those of `Page`."""

    def __init__(self, page: Page):
        self.page, self.studio = page, page.studio
        self.inpainters, self.few_steps = page.inpainters, page.few_steps
        self.files = WrittenFiles()  # that were written; reported to Gradio, which deletes old ones

    def run(self, session: Session, sent: dict[str, Any], *values: Any) -> Generator[Any, None, None]:
        """Updates of the result: how far the edit is, and then the candidates; none if Run was pressed twice for it."""
        if sent.get("twice"):
            return
        query, form = Query(*values[: len(Query._fields)]), Form(*values[len(Query._fields) :])
        stamp, canvas = float(sent["stamp"]), Canvas.parse(sent.get("canvas"))
        if not query.path:
            yield gr.update(edit={**NO_EDIT, "run": stamp, "status": sentence(NO_PICTURE, "hint")})
            return
        run = _Run()
        session.path = query.path
        left = has_left()

        def stop() -> bool:
            return run.given_up or session.cancelled > stamp or session.path != query.path or left()

        work = partial(self._work, run, query, form, sent, canvas, stop)
        Thread(target=in_this_context(work), daemon=True).start()
        with logged("edit", prompt=query.prompt, text=form.text) as line:
            line |= {"mode": query.mode, "inpainter": form.model}
            try:
                for update in self._follow(run, session, query.path, stamp, stop):
                    line["ended"] = ended(update["edit"].get("status"))
                    yield update
                if stop():
                    line["ended"] = WITHDRAWN
            finally:  # also when the visitor has left
                run.given_up = True

    def cancel(self, session: Session, sent: dict[str, Any]) -> None:
        """Gives up the edit under way; `run` then ends by itself."""
        session.cancelled = max(session.cancelled, float(sent["stamp"]))

    def leave(self, session: Session, path: str | None) -> None:
        """Gives up the edit of any other picture than this one: nobody waits for its result."""
        session.path = path

    def accept(self, session: Session, sent: Any, path: str | None) -> tuple[Any, Any]:
        """Makes the chosen candidate the picture of all tabs."""
        outcome, index = session.outcome, _candidate(sent, session.outcome, path)
        if outcome is None or path != outcome.path or index is None:
            gr.Warning("Run an edit first: there is no result to go on with.")
            return path, gr.skip()
        after = outcome.results[index]
        session.history.add(path, after)
        return after, gr.update(history=session.history.view())

    def step(self, session: Session, path: str | None, steps: int) -> tuple[Any, Any]:
        """The picture before (-1) or behind (1) this one in the history."""
        other = session.history.move(path or "", steps)
        if other is None:
            return path, gr.skip()
        outcome = session.outcome
        edit = outcome.shown if outcome and outcome.path == other else NO_EDIT
        return other, gr.update(history=session.history.view(), edit=edit)

    def export(self, kind: str, session: Session, sent: Any, *values: Any) -> str | None:
        """Writes the chosen result or its recipe, or the mask; None, after a notice, if there is none."""
        with logged("export") as line:
            line["file"] = kind
            return noticed(lambda: self._export(kind, session, sent, *values), line)

    def _export(self, kind: str, session: Session, sent: Any, *values: Any) -> str:
        query = Query(*values)
        path, outcome = query.path, session.outcome
        index = _candidate(sent, outcome, path)
        if kind == "mask" and path is not None and (outcome is None or path not in outcome.results):
            return self._export_mask(outcome, path, query, sent)
        if outcome is None or path is None or index is None:
            raise ValueError("Run an edit first: there is nothing to download yet.")
        if kind == "mask":
            return outcome.mask
        if kind == "result":
            return outcome.results[index]
        return self._write(recipe_json(outcome.recipes[index]), path, "-recipe.json")

    def _export_mask(self, outcome: Outcome | None, path: str, query: Query, sent: Any) -> str:
        """The mask on the canvas: the outcome's, with its recipe, unless another one was chosen since."""

        def make() -> np.ndarray:
            selection = Selection.parse(sent, path)
            image = self.studio.image(path)
            findings = self.page.findings(query, selection, image)
            return self.page.alpha(query, selection, findings, image.size)

        alpha = self.page.jobs.run(make)
        if (
            outcome
            and outcome.path == path
            and np.array_equal(np.asarray(load_image(outcome.mask).getchannel(0)), alpha)
        ):
            return outcome.mask
        return self._write(export.png(Image.fromarray(alpha)), path, "-mask.png")

    def choose_inpainter(self, session: Session, model: str, mode: str) -> tuple[Any, ...]:
        """What suits a model: steps, guidance, one by one, masks or boxes, no few steps; what it is, and its download
        button."""
        card = self.studio.inpainters.card(model)
        session.chose_shape = False
        suited = card.steps, card.guidance, card.one_by_one, suited_shape(card, mode)
        return *suited, OFF, *self.few_steps.choose(OFF), *self.inpainters.choose(model)

    def choose_few_steps(self, name: str, model: str) -> tuple[float, float, str, Any]:
        """Steps and guidance that suit a LoRA, or the model without one; what it is, and its download button."""
        card = FEW_STEPS[name] if name in FEW_STEPS else self.studio.inpainters.card(model)
        return card.steps, card.guidance, *self.few_steps.choose(name)

    def choose_mode(self, session: Session, mode: str, model: str, shape: str, grow: float) -> tuple[str, float]:
        """Masks or boxes, and how far they grow: what suits the mode, unless it was chosen by hand."""
        card = self.studio.inpainters.card(model)
        before, session.mode = session.mode, mode
        session.chose_shape |= shape != suited_shape(card, before)
        return shape if session.chose_shape else suited_shape(card, mode), suited_grow(mode, before, grow)

    def repeat_seed(self, session: Session, sent: Any, path: str | None) -> str:
        """The seed of the candidate that is shown."""
        outcome, index = session.outcome, _candidate(sent, session.outcome, path)
        seed = None if outcome is None or index is None else outcome.recipes[index].get("seed")
        if seed is None:
            gr.Warning("Let a model paint first: there is no seed yet.")
            return gr.skip()
        return str(seed)

    def _work(
        self,
        run: _Run,
        query: Query,
        form: Form,
        sent: dict[str, Any],
        canvas: Canvas,
        stop: StopCheck,
    ) -> None:
        """In its own thread: everything from finding the objects to the candidates; whatever comes is news."""
        try:
            run.news.put(self._edit(run, query, form, sent, canvas, stop))
        except BaseException as error:  # whoever follows would wait for ever
            run.news.put(error)

    def _edit(
        self, run: _Run, query: Query, form: Form, sent: dict[str, Any], canvas: Canvas, stop: StopCheck
    ) -> Outcome:
        path = query.path or ""
        selection = Selection.parse(sent, path)
        image, findings = self.studio.image(path), None
        for task, work in self.page.steps(query, selection, image, stop=stop):
            run.news.put(task)
            findings = work(findings)
        assert findings
        objects = self.page.edited(query, selection, findings)
        edit = form.edit(query.mask, image.size, objects, selection.strokes, dict(selection.texts), self.studio.image)
        if edit.task.needs_model:  # the controls of what it ignores are hidden
            edit = replace(edit, sampling=self.studio.inpainters.card(form.model).heeded(edit.sampling))
        run.grows = isinstance(edit.task, Outpaint)
        if edit.task.needs_model and edit.sampling.few_steps:
            self.studio.few_steps.require(edit.sampling.few_steps)
        run.news.put(STARTING)
        edited = self.studio.edit(self.studio.editable(path), objects, edit, form.model, run.news.put, stop)
        title, better = "no model", None
        if edit.task.needs_model:
            card = self.studio.inpainters.card(form.model)
            title = card.title
            if not findings.is_drawing:
                removes = isinstance(edit.task, Remove)
                better = advice.for_photographs(
                    self.studio.inpainters, card, advice.INPAINTER, lambda other: removes or not other.removes_only
                )
        size, grown = self.studio.picture(path, canvas.pixels).shown.size, {}
        search = _search(query, selection, findings)
        if isinstance(edit.task, Outpaint):
            search, before = {}, framed(image, edit.task.margins)  # nothing had to be found
            scale = min(1.0, canvas.pixels[0] / before.width, canvas.pixels[1] / before.height)
            size = max(1, round(before.width * scale)), max(1, round(before.height * scale))
            grown = {"ratio": before.width / before.height, "before": candidate_view(before, size, None)["image"]}
        outcome = self._keep(edited, path, float(sent["stamp"]), search, title, size, better)
        return outcome._replace(shown={**outcome.shown, **grown})

    def _follow(self, run: _Run, session: Session, path: str, stamp: float, stop: StopCheck) -> Iterator[Any]:
        """Updates until the edit is over, however it ends."""
        shown = {**NO_EDIT, "picture": path, "run": stamp, "working": True, "status": sentence(STARTING, "working")}
        yield gr.update(edit=shown)
        last = heard = monotonic()
        while True:
            try:
                news = run.news.get(timeout=POLL)
                heard = monotonic()
                while isinstance(news, EditProgress) and not run.news.empty():  # what is newer is on its way already
                    news = run.news.get()
            except Empty:
                is_quiet = monotonic() - last > QUIET and shown["status"]["message"] == STARTING
                if monotonic() - heard > LIMIT:
                    news = ValueError(GIVEN_UP)
                elif stop():
                    news = Stopped()
                elif is_quiet:
                    news = WAITING
                else:
                    continue
            last = monotonic()
            if isinstance(news, Outcome):
                session.outcome = news
                yield gr.update(edit=news.shown)
                return
            if isinstance(news, BaseException):
                yield gr.update(edit=self._ended(news, session, path, stamp))
                return
            shown = {**shown, **_progress(news, run.grows)}
            yield gr.update(edit=shown)

    def _ended(self, error: BaseException, session: Session, path: str, stamp: float) -> dict[str, Any]:
        """Without a new result the one before stays, beside a sentence that says why."""
        if isinstance(error, Stopped):
            status = sentence("Cancelled.", "hint")
        elif isinstance(error, ValueError):
            status = self.page.error_status(error)
        else:
            logger.error("The edit could not be made", exc_info=error)
            status = sentence(FAULT, "error")
        outcome = session.outcome
        before = outcome.shown if outcome and outcome.path == path else {**NO_EDIT, "picture": path}
        return {**before, "run": stamp, "status": status}

    def _keep(
        self,
        edited: Edited,
        path: str,
        run: float,
        search: dict[str, Any],
        title: str,
        size: tuple[int, int],
        better: advice.Advice | None,
    ) -> Outcome:
        """What came of an edit, written to files, and at the size at which the page shows it."""
        recipes = tuple({**search, **edited.recipe_of(index)} for index in range(len(edited.images)))
        results = tuple(
            self._write(png_with_recipe(image, recipe), path, "-edited.png")
            for image, recipe in zip(edited.images, recipes, strict=True)
        )
        mask = self._write(png_with_recipe(Image.fromarray(edited.mask), recipes[0]), path, "-mask.png")
        candidates = [
            candidate_view(image, size, recipe.get("seed"))
            for image, recipe in zip(edited.images, recipes, strict=True)
        ]
        message = "Done." if len(candidates) == 1 else f"Done: {len(candidates)} to choose from."
        detail = f"{edited.milliseconds / 1000:.1f} s · {title}"
        status = sentence(" ".join([message, *edited.notes]), "done", detail, better)
        shown = {**NO_EDIT, "picture": path, "run": run, "candidates": candidates, "status": status}
        return Outcome(path, results, recipes, mask, shown)

    def _write(self, data: bytes, path: str, ending: str) -> str:
        """A file named like the picture; its path."""
        stem = Path(path).stem.removesuffix("-edited")
        written = write_file(data, stem + ending)
        self.files.add(written)
        return written


def _progress(news: EditProgress | str, grows: bool) -> dict[str, Any]:
    """What changes of the view of an edit."""
    if isinstance(news, str):
        return {"status": sentence(news, "working")}
    detail = f"{news.share:.0%}"
    if news.candidates > 1:
        detail += f" · candidate {news.candidate} of {news.candidates}"
    status = sentence(f"Painting: step {news.step} of {news.steps} …", "working", detail)
    changed: dict[str, Any] = {"share": news.share, "status": status}
    if not news.preview:
        return changed
    ratio = news.preview.width / news.preview.height if grows else 0.0
    return changed | {"preview": jpeg_url(news.preview), "ratio": ratio}


def _search(query: Query, selection: Selection, findings: Findings) -> dict[str, Any]:
    """How the objects were found, for the recipe: only what had a part in it; what the brush drew, nobody found."""
    pointing, with_masks = selection.pointing, findings.segmenter is not None
    if not (query.names_something or findings.by_examples):
        is_cut = with_masks and (pointing.gestures or pointing.everything)
        return search_of("", [query.segmenter], {}) if is_cut else {}
    models = [query.model, *([query.segmenter] if with_masks else [])]
    examples = selection.examples._asdict().items() if findings.by_examples else ()
    drawn = {name: [[*box] for box in boxes] for name, boxes in examples if boxes}
    return search_of(query.prompt, models, query.thresholds.named()) | drawn


def _candidate(sent: Any, outcome: Outcome | None, path: str | None) -> int | None:
    """Which of the results belongs to the picture that is shown: it became that picture, or is chosen beside it.

    The first if the browser names none that there is: before anything is chosen it sends "". None if none belongs to
    the picture.
    """
    if outcome is None:
        return None
    if path in outcome.results:
        return outcome.results.index(path)
    if path != outcome.path:
        return None
    index = sent.get("candidate") if isinstance(sent, Mapping) else 0
    return index if isinstance(index, int) and 0 <= index < len(outcome.results) else 0
