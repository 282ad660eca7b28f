"""The page's endpoints for programs: `/detect`, `/segment` and `/models`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
from PIL import Image

from groundingdino import export
from groundingdino.drawing import annotate
from groundingdino.phrases import NMS_THRESHOLD
from groundingdino.selection import POINTED, Gesture, Pointing
from groundingdino.studio import Studio, Thresholds

DEFAULT_MODEL = "embedded"


class Endpoints:
    """What programs ask of a studio; Gradio shows the docstrings to them."""

    def __init__(self, studio: Studio):
        self.studio = studio

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
        with _told_in_a_sentence():
            picture = self._picture(image)
            findings = self.studio.find(
                picture, prompt, model, Thresholds(box_threshold, text_threshold, nms_threshold)
            )
        drawn = annotate(picture, findings.detections, findings.phrases)
        return drawn, export.record(findings.detections, picture.size, model)

    def segment(
        self,
        image: str,
        prompt: str = "",
        points: Sequence[Sequence[float]] | None = None,
        boxes: Sequence[Sequence[float]] | None = None,
        strokes: Sequence[Sequence[Sequence[float]]] | None = None,
        everything: bool = False,
        model: str = DEFAULT_MODEL,
        segmenter: str = DEFAULT_MODEL,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        nms_threshold: float | None = NMS_THRESHOLD,
        fill: float = 0.0,
    ) -> tuple[Image.Image, dict[str, Any]]:
        """Cuts out the objects that a prompt names in a picture, and those that are pointed at.

        Args:
            image: The picture.
            prompt: What to look for: phrases separated by dots or commas, as in "cat . remote control"; or nothing.
            points: [[x, y, label], ...] in pixels, label 1 in an object and 0 outside it; together they mean one
                object.
            boxes: [[x0, y0, x1, y1], ...] in pixels, each around one object.
            strokes: [[[x, y], ...], ...] in pixels, each a line drawn over one object.
            everything: Whether to cut out all other objects, too.
            model: A name that `/models` lists, of a model that detects.
            segmenter: A name that `/models` lists, of a model that segments.
            box_threshold: Score from which a box counts, 0 to 1; by default the model's own.
            text_threshold: Score from which a word of a sentence joins a label, 0 to 1; by default the model's own.
            nms_threshold: Of two boxes of one phrase that overlap more than this (IoU) the better stays; 1 keeps both.
            fill: Holes and specks of masks with fewer pixels are removed; below 1 it is a share of the picture.

        Returns:
            The picture with masks, and {"width", "height", "model", "objects": [{"phrase", "score", "box", "mask"}]}
            with each mask as COCO run lengths.
        """
        with _told_in_a_sentence():
            picture = self._picture(image)
            pointing = _pointing(points, boxes, strokes, everything)
            thresholds = Thresholds(box_threshold, text_threshold, nms_threshold)
            findings = self.studio.find(picture, prompt or "", model, thresholds)
            if not (findings.phrases or pointing.gestures or everything):
                raise ValueError("Nothing is asked for: pass a prompt, points, boxes, strokes or everything.")
            findings = self.studio.cut_out(picture, findings, segmenter, pointing, fill)
        drawn = annotate(picture, findings.detections, findings.phrases)
        return drawn, export.record(findings.detections, picture.size, f"{model} + {segmenter}")

    def models(self) -> list[dict[str, Any]]:
        """Lists the models: name, task, title, description, size in bytes, and whether they are downloaded.

        Those that detect have thresholds, too.
        """
        detectors, segmenters = self.studio.detectors, self.studio.segmenters
        return [
            {
                "name": name,
                "task": "detect",
                "title": card.title,
                "description": card.description,
                "size_bytes": card.size_bytes,
                "box_threshold": card.box_threshold,
                "text_threshold": card.text_threshold,
                "downloaded": detectors.is_ready(name),
            }
            for name, card in detectors.cards.items()
        ] + [
            {
                "name": name,
                "task": "segment",
                "title": segmenter.title,
                "description": segmenter.description,
                "size_bytes": segmenter.size_bytes,
                "downloaded": segmenters.is_ready(name),
            }
            for name, segmenter in segmenters.cards.items()
        ]

    def _picture(self, path: str) -> Image.Image:
        if not path:
            raise ValueError("There is no picture: pass one as `image`.")
        return self.studio.image(path)


@contextmanager
def _told_in_a_sentence() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _pointing(
    points: Sequence[Sequence[float]] | None,
    boxes: Sequence[Sequence[float]] | None,
    strokes: Sequence[Sequence[Sequence[float]]] | None,
    everything: bool,
) -> Pointing:
    """All points mean one object, each box and each stroke another."""
    try:
        together = [("point", [(x, y, label) for x, y, label in points])] if points else []
        apart = [("box", [box]) for box in boxes or ()] + [("stroke", [line]) for line in strokes or ()]
        gestures = [
            Gesture.parse({"target": f"{POINTED}{number}", kind: value})
            for number, (kind, values) in enumerate([*together, *apart], 1)
            for value in values
        ]
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            "Expected points as [[x, y, 1 or 0], ...], boxes as [[x0, y0, x1, y1], ...] and strokes as lists of [x, y]."
        ) from error
    return Pointing(tuple(gestures), everything=bool(everything))
