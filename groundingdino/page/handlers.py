"""What the page does: the handlers behind its controls.

Everything that can change the result (tab, picture, prompt, models, thresholds, ticks, what was pointed at) triggers
one event, `render`, and each request carries all of it. A page has one such request under way; whatever changes
meanwhile is sent when it is answered, and an answer that a newer request has overtaken is dropped. So what is shown at
rest belongs to the last text and the last picture.

Where the model is slow, a draft of a smaller copy comes first. While somebody types, it is all there is: the browser
asks for the rest when typing pauses. The next key gives up a pass that is under way, see `interrupt`. A model that
borrows a GPU is asked once typing pauses.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any

import gradio as gr
import numpy as np
import supervision as sv
from gradio.processing_utils import check_all_files_in_cache
from PIL import Image

from groundingdino.detection.examples import NO_EXAMPLES
from groundingdino.detection.objects import labels_of, select
from groundingdino.editing.mask import edit_mask, own_mask
from groundingdino.inputs.prompt import add_phrase
from groundingdino.page import advice
from groundingdino.page.changes import with_changes
from groundingdino.page.edit_form import (
    EXTEND,
    NO_REGION,
    NOT_OBJECTS,
    REGIONS,
    as_drawn,
)
from groundingdino.page.edit_view import masked
from groundingdino.page.faults import FAULT, noticed
from groundingdino.page.files import write_file
from groundingdino.page.jobs import LOOK, WORKERS, Job, Jobs
from groundingdino.page.model_cache import NotDownloaded
from groundingdino.page.picker import Picker, SecondPicker
from groundingdino.page.presence import has_left
from groundingdino.page.query import DETECT, INPAINT, NO_MODEL, SEGMENT, TRACK, Query
from groundingdino.page.request_log import FAILED, OK, OVERTAKEN, REFUSED, WITHDRAWN, logged
from groundingdino.page.selection import Selection, chosen
from groundingdino.page.session import Session
from groundingdino.page.status_line import NO_PICTURE, in_queue, mask_status, sentence, status
from groundingdino.page.studio import Findings, Picture, Studio
from groundingdino.page.view import NOTHING, Canvas, view
from groundingdino.results import export
from groundingdino.runtime.interruption import StopCheck, Stopped, raise_if
from groundingdino.segmentation.available_models import gives_way
from groundingdino.segmentation.object_ids import lasting_ids
from groundingdino.segmentation.pointing import POINTED

WAITING = 20  # requests of the page that are followed at a time, of Gradio's 40 threads; others wait in its queue
PATIENCE = 0.3  # seconds until the status line says that something is being worked on
PAUSE = 0.5  # seconds without a key after which typing rests, as result.js says, too
SAME_EVENT = 5.0  # milliseconds between the two messages that one key press sends

logger = logging.getLogger(__name__)


class Page:
    """What the page does. Besides the sessions, which Gradio keeps, all state is the studio's."""

    def __init__(self, studio: Studio):
        self.studio = studio
        self.detectors, self.segmenters = Picker(studio.detectors), Picker(studio.segmenters)
        self.seconds = SecondPicker(studio.detectors)
        self.namers = SecondPicker(studio.namers, "The detector")
        self.inpainters = Picker(studio.inpainters)
        self.few_steps = Picker(studio.few_steps)
        self.jobs = Jobs(WORKERS, studio.limits.seconds)
        self._sessions = Lock()

    def render(self, session: Session, sent: dict[str, Any], *values: Any) -> Iterator[Any]:
        """Updates of the result: that it is being worked on, if that takes long, and then the outcome."""
        query, canvas, stamp = Query(*values), Canvas.parse(sent.get("canvas")), float(sent["stamp"])
        with self._sessions:
            session.newest = max(session.newest, stamp)

        left = has_left()

        def stop() -> bool:
            return session.interrupted > stamp + SAME_EVENT or left()

        with logged("render", prompt=query.prompt) as line:
            line |= {"tab": query.tab, "model": query.model}
            for update in self._answer(session, query, sent, canvas, stop):
                if session.newest > stamp:
                    line["ended"] = OVERTAKEN
                    return
                line["ended"] = ended(update.get("status"))
                yield update
            if left():
                line["ended"] = WITHDRAWN

    def interrupt(self, session: Session, sent: dict[str, Any]) -> None:
        """Give up the requests before this moment; the next request follows by itself."""
        with self._sessions:
            session.interrupted = max(session.interrupted, float(sent["stamp"]))

    def _answer(
        self, session: Session, query: Query, sent: dict[str, Any], canvas: Canvas, stop: StopCheck
    ) -> Iterator[Any]:
        try:
            selection = Selection.parse(sent, query.keys[0])
            if session.shown == (query, selection, canvas):
                return  # one change often raises two events; an answer to the second would only overwrite the timing
            session.shown = None
            yield from self._look(session, query, selection, canvas, bool(sent.get("typing")), stop)
        except Stopped:
            session.shown = None
        except ValueError as error:
            session.picture = None
            yield self._failure(query, canvas, self.error_status(error))
        except Exception:  # without an answer the page would go on showing the old result as if it were the new one
            logger.exception("The result could not be made")
            session.picture = None
            yield self._failure(query, canvas, sentence(FAULT, "error"))

    def error_status(self, error: ValueError) -> dict[str, Any]:
        """The status line for what cannot be done; for a model that is not here it has the button that fetches it."""
        if not isinstance(error, NotDownloaded):
            return sentence(str(error), "error")
        kinds = {
            advice.DETECTOR: self.studio.detectors,
            advice.SEGMENTER: self.studio.segmenters,
            advice.INPAINTER: self.studio.inpainters,
            advice.FEW_STEPS: self.studio.few_steps,
            advice.TRACKER: self.studio.trackers,
        }
        models = error.models
        (kind,) = (kind for kind, one in kinds.items() if one is models)
        title = models.card(error.name).title
        if models.is_on_its_way(error.name):
            return sentence(f"{title} is on its way …", "working")
        offered = advice.to_fetch(models, error.name, kind, again=bool(error.reason))
        if offered and not error.reason:
            return sentence(f"{title} is not on this machine yet.", "hint", advice=offered)
        if offered:
            message = f"{title} could not be downloaded: try again, or choose another model."
            return sentence(message, "error", error.reason, offered)
        return sentence(str(error), "error")

    def _look(
        self, session: Session, query: Query, selection: Selection, canvas: Canvas, typing: bool, stop: StopCheck
    ) -> Iterator[Any]:
        if not query.path:
            session.picture = None
            yield gr.update(view=NOTHING, status=sentence(NO_PICTURE))
            return
        jobs: list[Job[Any]] = []
        try:
            yield from self._search(session, query, selection, canvas, typing, stop, jobs)
        finally:  # also when the visitor has left
            for job in jobs:
                job.given_up = True

    def _search(
        self,
        session: Session,
        query: Query,
        selection: Selection,
        canvas: Canvas,
        typing: bool,
        stop: StopCheck,
        jobs: list[Job[Any]],
    ) -> Iterator[Any]:
        """The answer to a query with a picture; all that is computed for it is added to `jobs`."""

        def given_up() -> bool:
            return any(job.given_up for job in jobs)

        def start(work: Callable[[], Any]) -> Job[Any]:
            jobs.append(self.jobs.start(work, under_way=bool(jobs)))
            return jobs[-1]

        asked = (query.model, query.compare) if query.compares else (query.model,)
        if typing and any(map(self.studio.borrows_gpu, asked)):
            _wait(PAUSE, stop)
        path, told = query.path or "", 0
        first = start(lambda: self.studio.picture(path, canvas.pixels))
        while not first.is_done_within(PATIENCE) and (place := self.jobs.place(first)):
            if place != told:
                yield gr.update(status=in_queue(place))
            told = place
        picture = first.result(stop)
        if session.suited != query.path:
            taken = {"detector": query.model, "segmenter": query.segmenter}
            best = start(lambda: self.studio.suited_models(path, *taken.values())).result(stop)
            if suited := {kind: name for kind, name in zip(taken, best, strict=True) if name != taken[kind]}:
                yield gr.update(suited={**suited, "path": path})  # the page chooses them, and asks again
            session.suited = query.path

        def show(findings: Findings | None) -> dict[str, Any]:
            return view(picture, canvas, query.keys, findings, selection, query.mask_style, query.tab != INPAINT)

        for draft in (True, False):
            findings = None
            # What is fast is not given up: there would be nothing to see before typing pauses.
            slow_from = monotonic() + (PATIENCE if draft else 0)
            overtaken = partial(_from, slow_from, stop)

            def give_up(overtaken: StopCheck = overtaken) -> bool:
                return overtaken() or given_up()

            for task, work in self.steps(query, selection, picture.image, draft, give_up, given_up):
                running = start(partial(work, findings))
                if not running.is_done_within(PATIENCE):
                    now = sentence(task, "working")
                    # Of the same picture, what was shown before stays for the moment.
                    kept = session.picture == query.path
                    bare = {} if kept else {"view": start(partial(show, findings)).result(stop)}
                    yield gr.update(**bare, status=now)
                    session.picture = query.path
                findings = running.result(overtaken)
            assert findings
            answer = partial(self._found, query, selection, picture, findings, show)
            yield gr.update(**start(answer).result(stop))
            # Only reached if the page was sent this answer, see `render`.
            session.picture = query.path
            if not findings.is_draft:
                session.shown = (query, selection, canvas)
                return
            if typing:
                return

    def _found(
        self,
        query: Query,
        selection: Selection,
        picture: Picture,
        findings: Findings,
        show: Callable[[Findings], dict[str, Any]],
    ) -> dict[str, Any]:
        """View and status line; in the tab Inpaint with the mask of what would be edited."""
        objects, _ = chosen(findings.detections, selection)
        shown, better = show(findings), self._better(findings)
        if query.tab != INPAINT:
            return {"view": shown, "status": status(findings, len(objects), advice=better)}
        try:
            alpha = self.alpha(query, selection, findings, picture.image.size)
        except ValueError as error:  # there is nothing to edit yet, in a sentence
            message, otherwise = str(error), "draw over it with the brush"
            if query.mode == REGIONS:  # which has no brush
                message, otherwise = message if len(objects) else NO_REGION, "draw a box"
            line = status(findings, len(objects), otherwise, better)
            line = sentence(message, "hint", line["detail"], better) if len(findings.detections) else line
            return {"view": masked(shown, picture, None, query.mask, len(selection.strokes)), "status": line}
        if query.mode == EXTEND:  # beyond what the canvas shows
            height, width = alpha.shape
            line = sentence(f"The picture grows to {width} x {height} pixels: press Run.", "hint")
            return {"view": masked(shown, picture, None, query.mask, 0), "status": line}
        shown = masked(shown, picture, alpha, query.mask, len(selection.strokes))
        return {"view": shown, "status": mask_status(findings, len(objects), alpha)}

    def _better(self, findings: Findings) -> advice.Advice | None:
        """Which model to choose if the picture is a photograph, where what was found does not speak against it."""
        if findings.is_drawing:
            return None
        if findings.phrases and not len(findings.detections):
            return advice.for_photographs(
                self.studio.detectors, findings.card, advice.DETECTOR, missed=findings.phrases
            )
        if findings.segmenter and len(findings.detections):
            return advice.for_photographs(self.studio.segmenters, findings.segmenter, advice.SEGMENTER)
        return None

    def edited(self, query: Query, selection: Selection, findings: Findings) -> sv.Detections:
        """The objects that an edit is about; those that are edited as boxes have the boxes that were drawn."""
        if query.own and query.path and query.mode not in NOT_OBJECTS:
            return own_mask(self.studio.image(query.own), self.studio.image(query.path).size)
        objects, _ = chosen(findings.detections, selection)
        room = self.studio.image(query.path).size if query.path and query.mode == REGIONS else None
        return as_drawn(objects, selection.pointing, room) if query.mask.boxes else objects

    def alpha(self, query: Query, selection: Selection, findings: Findings, size: tuple[int, int]) -> np.ndarray:
        """How much of each pixel an edit of a picture of `size` (width, height) would change, (H, W) uint8.

        Raises:
            ValueError: there is nothing to edit.
        """
        objects = self.edited(query, selection, findings)
        return edit_mask(objects, size, query.mask.preview(size, selection.strokes)).alpha()

    def findings(self, query: Query, selection: Selection, image: Image.Image) -> Findings:
        """All of `steps`, one after the other, of the first model alone."""
        findings = None
        for _, work in self.steps(query._replace(compare=NO_MODEL), selection, image):
            findings = work(findings)
        assert findings
        return findings

    def steps(
        self,
        query: Query,
        selection: Selection,
        image: Image.Image,
        draft: bool = False,
        stop: StopCheck | None = None,
        limit: StopCheck | None = None,
    ) -> Iterator[tuple[str, Callable[[Findings | None], Findings]]]:
        """What has to be done, in words and as a function of what was found so far.

        A draft is not stopped, nor what needs no draft, but by `limit`; masks are.
        """
        task = "Looking" if query.prompt.strip() else "Reading the picture"
        title = self.studio.detectors.card(query.model).title
        yield (
            f"{task} with {title} …",
            partial(self._find, query, selection, image, draft, limit if draft else stop),
        )
        if self._cuts(query, selection):
            card, pointing = self.studio.detectors.card(query.model), selection.pointing
            is_own = card.makes_masks and gives_way(query.segmenter) and not (pointing.gestures or pointing.everything)
            title = card.title if is_own else self.studio.segmenters.card(query.segmenter).title
            yield f"Cutting out with {title} …", partial(self._cut_out, query, selection, image, stop)

        if query.compares:
            title = self.studio.detectors.card(query.compare).title
            yield f"Looking with {title} …", partial(self._compare, query, selection, image, draft, stop, limit)

    def _cuts(self, query: Query, selection: Selection) -> bool:
        """Whether masks are asked for."""
        pointing = selection.pointing
        is_pointed_at = bool(pointing.gestures or pointing.everything)
        if query.tab == TRACK:
            return is_pointed_at or bool(pointing.corrected)
        return query.tab == SEGMENT or (query.tab == INPAINT and (is_pointed_at or not query.mask.boxes))

    def _compare(
        self,
        query: Query,
        selection: Selection,
        image: Image.Image,
        draft: bool,
        stop: StopCheck | None,
        limit: StopCheck | None,
        findings: Findings | None,
    ) -> Findings:
        """The findings with those of the second model, of which nothing was ticked off, moved or pointed at."""
        assert findings
        other, theirs = None, query.with_second(findings.card)
        try:
            asked = Selection(selection.hidden, examples=selection.examples)
            for _, work in self.steps(theirs, asked, image, draft, stop, limit):
                other = work(other)
        except NotDownloaded as error:
            title = error.models.card(error.name).title
            note = f"{title} is not on this machine yet: download it where it is chosen."
            return replace(findings, notes=(*findings.notes, note))
        assert other
        told = () if other.by_examples == findings.by_examples else other.notes
        return replace(findings, other=other, notes=(*findings.notes, *told))

    def _find(
        self,
        query: Query,
        selection: Selection,
        image: Image.Image,
        draft: bool,
        stop: StopCheck | None,
        _: Findings | None,
    ) -> Findings:
        card, examples = self.studio.detectors.card(query.model), selection.examples
        notes: tuple[str, ...] = ()
        if (examples.like or examples.unlike) and not card.takes_examples:
            notes, examples = (f"{card.title} takes no examples: it looks for words.",), NO_EXAMPLES
        elif examples.unlike and not examples.like:
            notes = ("Draw a box around what is to be found, too.",)
        masks = self._cuts(query, selection) and gives_way(query.segmenter)
        thresholds = query.thresholds
        findings = self.studio.find(image, query.prompt, query.model, thresholds, draft, stop, examples, masks)
        findings = replace(findings, notes=(*findings.notes, *notes))
        ids = np.array(lasting_ids(findings.detections, selection.known), dtype=str)
        detections = replace(findings.detections, data={**findings.detections.data, "id": ids})
        detections = with_changes(detections, selection.changes, findings.phrases, image.size)
        return replace(findings, detections=detections)

    def _cut_out(
        self,
        query: Query,
        selection: Selection,
        image: Image.Image,
        stop: StopCheck | None,
        findings: Findings | None,
    ) -> Findings:
        assert findings
        found = self.studio.cut_out(image, findings, query.segmenter, selection.pointing, query.specks / 100, stop)
        names = [change for change in selection.changes if change.id.startswith(POINTED)]
        return replace(found, detections=with_changes(found.detections, names, found.phrases, image.size))

    def _failure(self, query: Query, canvas: Canvas, status_line: dict[str, Any]) -> Any:
        """The picture alone, if there is one, so that no old boxes stay beside the message."""
        try:
            bare = self.jobs.run(lambda: view(self.studio.picture(query.path or "", canvas.pixels), canvas, query.keys))
        except ValueError:
            bare = NOTHING
        return gr.update(view=bare, status=status_line)

    def export(self, kind: str, sent: dict[str, Any], *values: Any) -> str | None:
        """Writes what is shown to a file and returns its path; None, after a notice, if there is nothing to write."""
        query = Query(*values)
        if not query.path:
            gr.Warning("Choose a picture first: there is nothing to download yet.")
            return None
        path = query.path

        def write() -> str:
            selection = Selection.parse(sent, query.keys[0])
            image = self.studio.image(path)
            findings = self.findings(query, selection, image)
            return self._write(kind, query, image, findings, selection)

        with logged("export") as line:
            line["file"] = kind
            return noticed(lambda: self.jobs.run(write), line)

    def _write(self, kind: str, query: Query, image: Image.Image, findings: Findings, selection: Selection) -> str:
        objects, marked = chosen(findings.detections, selection)
        if kind in ("cut-out", "masks") and not len(objects):
            raise ValueError("There is nothing to cut out: no object is shown.")
        name, phrases = Path(query.path or "").stem, findings.phrases
        # A marked object is cut out alone, and the file's name says which.
        cut = select(objects, np.array(marked)) if marked else objects
        alone = "".join(f"-{export.file_names(labels_of(objects))[index]}" for index in marked)
        models = [query.segmenter] if findings.segmenter else []
        by_detector = query.names_something or bool(selection.examples.like)
        if by_detector or not models:  # what was only pointed at, no detector has found
            models.insert(0, query.model)
        what = "boxes" if query.tab == DETECT else "overlay"
        data, ending = {
            "picture": lambda: (
                export.annotated_png(image, objects, phrases, query.mask_style),
                f"-{what}.png",
            ),
            "cut-out": lambda: (export.cut_out_png(image, cut), f"{alone}-cut-out.png"),
            "masks": lambda: (export.masks_zip(objects), "-masks.zip"),
            "json": lambda: (export.json_file(objects, image.size, " + ".join(models)), ".json"),
            "coco": lambda: (export.coco_zip(image, name, objects, phrases), "-coco.zip"),
            "yolo": lambda: (export.yolo_zip(image, name, objects, phrases), "-yolo.zip"),
        }[kind]()
        return write_file(data, name + ending)

    def take_file(self, event: gr.EventData) -> str:
        """A picture that was pasted, or a file that was dropped on the canvas.

        Raises:
            gradio.Error: the file is none that was uploaded.
        """
        file: Any = {"path": str(event.file["path"])}
        # Gradio's own check of what an event brings ends at the first "path" in it, which need not be this one.
        check_all_files_in_cache(file)
        return file["path"]

    def add_phrase(self, suggested: Sequence[str], prompt: str) -> str:
        """The prompt with a suggested phrase behind it, if it does not have it already."""
        (phrase,) = suggested
        try:
            return add_phrase(prompt, phrase)
        except ValueError:  # which the status line tells
            return prompt

    def choose_detector(self, model: str) -> tuple[float, float, str, Any]:
        """A model's own thresholds, what it is, and the button that downloads it if it is not there yet."""
        card = self.studio.detectors.card(model)
        return card.box_threshold, card.text_threshold, *self.detectors.choose(model)


def ended(status_line: dict[str, Any] | None) -> str:
    """How a request ended, by the status line that it leaves."""
    if not status_line or status_line["tone"] != "error":
        return OK
    return FAILED if status_line["message"] == FAULT else REFUSED


def _wait(seconds: float, stop: StopCheck) -> None:
    """Waits, unless `stop()`."""
    until = monotonic() + seconds
    while monotonic() < until:
        raise_if(stop)
        sleep(LOOK)


def _from(moment: float, stop: StopCheck) -> bool:
    """`stop()`, but False before a moment."""
    return monotonic() > moment and stop()
