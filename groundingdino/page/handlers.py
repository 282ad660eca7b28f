"""What the page does: the handlers behind its controls.

Everything that can change the result (tab, picture, prompt, models, thresholds, ticks, what was pointed at) triggers
one event, `render`, and each request carries all of it. A page has one such request under way; whatever changes
meanwhile is sent when it is answered, and an answer that a newer request has overtaken is dropped. So what is shown at
rest belongs to the last text and the last picture.

Where the model is slow, a draft of a smaller copy comes first. While somebody types, it is all there is: the browser
asks for the rest when typing pauses. The next key gives up a pass that is under way, see `interrupt`.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
import supervision as sv
from gradio.processing_utils import check_all_files_in_cache
from PIL import Image

from groundingdino.detection.objects import labels_of, select
from groundingdino.editing.mask import edit_mask, own_mask
from groundingdino.inputs.prompt import Prompt, add_phrase
from groundingdino.page import advice
from groundingdino.page.changes import with_changes
from groundingdino.page.edit_form import (
    EXTEND,
    MASKS,
    NO_REGION,
    NOT_OBJECTS,
    REGIONS,
    REPLACE,
    MaskForm,
    as_drawn,
)
from groundingdino.page.edit_history import History
from groundingdino.page.edit_view import Outcome, masked
from groundingdino.page.files import write_file
from groundingdino.page.jobs import WORKERS, Job, Jobs
from groundingdino.page.picker import Picker
from groundingdino.page.selection import Selection, chosen
from groundingdino.page.shelf import NotHere
from groundingdino.page.status_line import mask_status, sentence, status
from groundingdino.page.studio import Findings, Picture, Studio, Thresholds
from groundingdino.page.view import NOTHING, Canvas, view
from groundingdino.results import export
from groundingdino.results.drawing import MaskStyle
from groundingdino.runtime.interruption import StopCheck, Stopped
from groundingdino.segmentation.object_ids import lasting_ids

WAITING = 20  # requests of the page that are followed at a time, of Gradio's 40 threads; others wait in its queue
PATIENCE = 0.3  # seconds until the status line says that something is being worked on
SAME_EVENT = 5.0  # milliseconds between the two messages that one key press sends
FAULT = "Something went wrong on the server; its log says what."
TABS = DETECT, SEGMENT, INPAINT = "detect", "segment", "inpaint"
FILL, OUTLINE, BOXES, LABELS = "Fill", "Outline", "Boxes", "Labels"  # what can be drawn of masks

logger = logging.getLogger(__name__)


class Query(NamedTuple):
    """What the page asks: the values of its controls, in the order in which they are wired up."""

    path: str | None  # of the uploaded picture
    prompt: str
    model: str
    box_threshold: float
    text_threshold: float
    nms_threshold: float
    tab: str
    segmenter: str
    shapes: list[str]
    opacity: float
    specks: float  # percent of each object's pixels
    mode: str = MaskForm().mode
    shape: str = MaskForm().shape
    grow: float = MaskForm().grow
    feather: float = MaskForm().feather
    own: str | None = None  # path of a mask that is edited in place of what was found
    margins: str = MaskForm().margins

    @property
    def mask(self) -> MaskForm:
        """Where an edit paints; an own mask is taken as it is."""
        if self.own and self.mode not in NOT_OBJECTS:
            return MaskForm(self.mode, MASKS, 0, self.feather)
        return MaskForm(self.mode, self.shape, self.grow, self.feather, self.margins)

    @property
    def keys(self) -> tuple[str, str]:
        """Names of the picture and of what is looked for in it."""
        return self.path or "", f"{self.model}: {self.prompt}"

    @property
    def names_something(self) -> bool:
        """Whether the prompt has phrases to look for."""
        return bool(Prompt.parse(self.prompt).phrases)

    @property
    def thresholds(self) -> Thresholds:
        """The sliders."""
        return Thresholds(self.box_threshold, self.text_threshold, self.nms_threshold)

    @property
    def mask_style(self) -> MaskStyle:
        """How masks are drawn."""
        return MaskStyle(
            opacity=self.opacity if FILL in self.shapes else 0,
            outline=OUTLINE in self.shapes,
            boxes=BOXES in self.shapes,
            labels=LABELS in self.shapes,
        )


class Visit:
    """One open page: its newest request, the picture it was sent last, what it shows at rest, and its edits."""

    def __init__(self) -> None:
        self.newest = 0.0
        self.interrupted = 0.0  # when something was changed last
        self.picture: str | None = None
        self.shown: tuple[Query, Selection, Canvas] | None = None
        self.cancelled = 0.0  # when an edit was cancelled last
        self.path: str | None = None  # the picture whose edits are wanted
        self.outcome: Outcome | None = None
        self.history = History()
        self.mode = REPLACE  # of edits, as it was chosen last
        self.chose_shape = False  # whether masks or boxes were chosen by hand


class Page:
    """What the page does. Besides the visits, which Gradio keeps, all state is the studio's."""

    def __init__(self, studio: Studio):
        self.studio = studio
        self.detectors, self.segmenters = Picker(studio.detectors), Picker(studio.segmenters)
        self.inpainters = Picker(studio.inpainters)
        self.jobs = Jobs(WORKERS)
        self._visits = Lock()

    def render(self, visit: Visit, sent: dict[str, Any], *values: Any) -> Iterator[Any]:
        """Updates of the result: that it is being worked on, if that takes long, and then the outcome."""
        query, canvas, stamp = Query(*values), Canvas.parse(sent.get("canvas")), float(sent["stamp"])
        with self._visits:
            visit.newest = max(visit.newest, stamp)

        def stop() -> bool:
            return visit.interrupted > stamp + SAME_EVENT

        for update in self._answer(visit, query, sent, canvas, stop):
            if visit.newest > stamp:
                return
            yield update

    def interrupt(self, visit: Visit, sent: dict[str, Any]) -> None:
        """What was asked before this moment is not wanted any more; the request for what is follows by itself."""
        with self._visits:
            visit.interrupted = max(visit.interrupted, float(sent["stamp"]))

    def _answer(
        self, visit: Visit, query: Query, sent: dict[str, Any], canvas: Canvas, stop: StopCheck
    ) -> Iterator[Any]:
        try:
            selection = Selection.parse(sent, query.keys[0])
            if visit.shown == (query, selection, canvas):
                return  # one change often raises two events; an answer to the second would only overwrite the timing
            visit.shown = None
            yield from self._look(visit, query, selection, canvas, bool(sent.get("typing")), stop)
        except Stopped:
            visit.shown = None
        except ValueError as error:
            visit.picture = None
            yield self._failure(query, canvas, self.told(error))
        except Exception:  # without an answer the page would go on showing the old result as if it were the new one
            logger.exception("The result could not be made")
            visit.picture = None
            yield self._failure(query, canvas, sentence(FAULT, "error"))

    def told(self, error: ValueError) -> dict[str, Any]:
        """The status line for what cannot be done; for a model that is not here it has the button that fetches it."""
        if not isinstance(error, NotHere):
            return sentence(str(error), "error")
        shelves = {
            advice.DETECTOR: self.studio.detectors,
            advice.SEGMENTER: self.studio.segmenters,
            advice.INPAINTER: self.studio.inpainters,
        }
        shelf = error.shelf
        (kind,) = (kind for kind, one in shelves.items() if one is shelf)
        title = shelf.card(error.name).title
        if shelf.is_on_its_way(error.name):
            return sentence(f"{title} is on its way …", "working")
        offered = advice.to_fetch(shelf, error.name, kind, again=bool(error.reason))
        if offered and not error.reason:
            return sentence(f"{title} is not on this machine yet.", "hint", advice=offered)
        if offered:
            message = f"{title} could not be downloaded: try again, or choose another model."
            return sentence(message, "error", error.reason, offered)
        return sentence(str(error), "error")

    def _look(
        self, visit: Visit, query: Query, selection: Selection, canvas: Canvas, typing: bool, stop: StopCheck
    ) -> Iterator[Any]:
        if not query.path:
            visit.picture = None
            yield gr.update(view=NOTHING, status=sentence("Choose a picture to start."))
            return
        jobs: list[Job[Any]] = []
        try:
            yield from self._search(visit, query, selection, canvas, typing, stop, jobs)
        finally:  # also when the visitor has left
            for job in jobs:
                job.given_up = True

    def _search(
        self,
        visit: Visit,
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
            jobs.append(self.jobs.start(work))
            return jobs[-1]

        path = query.path or ""
        picture = start(lambda: self.studio.picture(path, canvas.pixels)).result(stop)

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
                    kept = visit.picture == query.path
                    bare = {} if kept else {"view": start(partial(show, findings)).result(stop)}
                    yield gr.update(**bare, status=now)
                    visit.picture = query.path
                findings = running.result(overtaken)
            assert findings
            answer = partial(self._found, query, selection, picture, findings, show)
            yield gr.update(**start(answer).result(stop))
            # Only reached if the page was sent this answer, see `render`.
            visit.picture = query.path
            if not findings.draft_side:
                visit.shown = (query, selection, canvas)
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
            told = status(findings, len(objects), otherwise, better)
            told = sentence(message, "hint", told["detail"], better) if len(findings.detections) else told
            return {"view": masked(shown, picture, None, query.mask, len(selection.strokes)), "status": told}
        if query.mode == EXTEND:  # beyond what the canvas shows
            height, width = alpha.shape
            told = sentence(f"The picture grows to {width} x {height} pixels: press Run.", "hint")
            return {"view": masked(shown, picture, None, query.mask, 0), "status": told}
        shown = masked(shown, picture, alpha, query.mask, len(selection.strokes))
        return {"view": shown, "status": mask_status(findings, len(objects), alpha)}

    def _better(self, findings: Findings) -> advice.Advice | None:
        """Which model to choose if the picture is a photograph, where what was found does not speak against it."""
        if findings.is_drawing:
            return None
        if findings.phrases and not len(findings.detections):
            return advice.for_photographs(self.studio.detectors, findings.card, advice.DETECTOR)
        if findings.segmenter and len(findings.detections):
            return advice.for_photographs(self.studio.segmenters, findings.segmenter, advice.SEGMENTER)
        return None

    def edited(self, query: Query, selection: Selection, findings: Findings) -> sv.Detections:
        """The objects that an edit is about; those that are edited as boxes have the boxes that were drawn."""
        if query.own and query.path and query.mode not in NOT_OBJECTS:
            return own_mask(self.studio.image(query.own), self.studio.image(query.path).size)
        objects, _ = chosen(findings.detections, selection)
        return as_drawn(objects, selection.pointing) if query.mask.boxes else objects

    def alpha(self, query: Query, selection: Selection, findings: Findings, size: tuple[int, int]) -> np.ndarray:
        """How much of each pixel an edit of a picture of `size` (width, height) would change, (H, W) uint8.

        Raises:
            ValueError: there is nothing to edit.
        """
        objects = self.edited(query, selection, findings)
        return edit_mask(objects, size, query.mask.preview(size, selection.strokes)).alpha()

    def findings(self, query: Query, selection: Selection, image: Image.Image) -> Findings:
        """All of `steps`, one after the other."""
        findings = None
        for _, work in self.steps(query, selection, image):
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
        needs_masks = not query.mask.boxes or selection.pointing.gestures or selection.pointing.everything
        if query.tab == SEGMENT or (query.tab == INPAINT and needs_masks):
            title = self.studio.segmenters.card(query.segmenter).title
            yield f"Cutting out with {title} …", partial(self._cut_out, query, selection, image, stop)

    def _find(
        self,
        query: Query,
        selection: Selection,
        image: Image.Image,
        draft: bool,
        stop: StopCheck | None,
        _: Findings | None,
    ) -> Findings:
        findings = self.studio.find(image, query.prompt, query.model, query.thresholds, draft, stop)
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
        return self.studio.cut_out(image, findings, query.segmenter, selection.pointing, query.specks / 100, stop)

    def _failure(self, query: Query, canvas: Canvas, told: dict[str, Any]) -> Any:
        """The picture alone, if there is one, so that no old boxes stay beside the message."""
        try:
            bare = self.jobs.run(lambda: view(self.studio.picture(query.path or "", canvas.pixels), canvas, query.keys))
        except ValueError:
            bare = NOTHING
        return gr.update(view=bare, status=told)

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

        try:
            return self.jobs.run(write)
        except ValueError as error:
            gr.Warning(str(error))
            return None

    def _write(self, kind: str, query: Query, image: Image.Image, findings: Findings, selection: Selection) -> str:
        objects, marked = chosen(findings.detections, selection)
        if kind in ("cut-out", "masks") and not len(objects):
            raise ValueError("There is nothing to cut out: no object is shown.")
        name, phrases = Path(query.path or "").stem, findings.phrases
        # A marked object is cut out alone, and the file's name says which.
        cut = select(objects, np.array(marked)) if marked else objects
        alone = "".join(f"-{export.file_names(labels_of(objects))[index]}" for index in marked)
        models = [] if query.tab == DETECT else [query.segmenter]
        if query.names_something or not models:  # what was only pointed at, no detector has found
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

    def take_picture(self, event: gr.EventData) -> str:
        """A picture that was pasted, or dropped on the canvas.

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


def _from(moment: float, stop: StopCheck) -> bool:
    """`stop()`, but False before a moment."""
    return monotonic() > moment and stop()
