"""What the page does: the handlers behind its controls, and its endpoints.

Everything that can change the result (picture, prompt, model, thresholds, ticks) triggers one event, `render`, and
each request carries all of it. A page has one such request under way; whatever changes meanwhile is sent when it is
answered, and an answer that a newer request has overtaken is dropped. So what is shown at rest belongs to the last
text and the last picture.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from html import escape
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from groundingdino import export
from groundingdino.drawing import annotate
from groundingdino.phrases import NMS_THRESHOLD
from groundingdino.studio import Studio, Thresholds
from groundingdino.view import NOTHING, Canvas, Selection, chosen, sentence, status, view

DEFAULT_MODEL = "embedded"
WORKERS = 4  # requests computed at the same time, of all visitors; others wait in Gradio's queue
PATIENCE = 0.3  # seconds until the status line says that something is being worked on

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

    def choose_model(self, model: str) -> tuple[float, float, str, Any]:
        """A model's own thresholds, what it is, and the button that downloads it if it is not there yet."""
        card = self.studio.card(model)
        return card.box_threshold, card.text_threshold, card.description, gr.update(**self.fetch_button(model))

    def fetch_button(self, model: str) -> dict[str, Any]:
        """What the download button says, whether it is seen and whether it can be pressed."""
        return {
            "value": f"Download {megabytes(self.studio.card(model).size_bytes)}",
            "visible": not self.studio.is_ready(model),
            "interactive": not self.studio.local_files_only,
        }

    def download(self, model: str, ready: int) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Fetches a model and reports it in its description; `ready` counts up when it can be used."""
        try:
            for done, total, what in self.studio.download(model):
                share = f"{megabytes(done)} of {megabytes(total)}" if total else megabytes(done)
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
            (f"{card.title} · {'' if self.studio.is_ready(name) else '↓ '}{megabytes(card.size_bytes)}", name)
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


def megabytes(size: int) -> str:
    """A size as people read it."""
    return f"{size / 1e6:.0f} MB"
