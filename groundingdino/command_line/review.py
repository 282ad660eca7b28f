"""`review LABELS`: a page on which labels are gone through, picture after picture."""

import argparse
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from groundingdino.command_line.output import reporting_errors_of, say
from groundingdino.command_line.search import check_models, load_model, read_thresholds
from groundingdino.runtime.extras import missing

if TYPE_CHECKING:
    from PIL import Image

    from groundingdino.page.review_page import Look, Seen


def review(options: argparse.Namespace) -> None:
    """Serve the page until it is interrupted; each decision is in the file at once."""
    if sentence := missing("A review", "demo"):
        raise ValueError(sentence)
    check_models(options, "model")

    from groundingdino.annotations.opening import open_annotations
    from groundingdino.annotations.review import Review

    with reporting_errors_of(options.labels):
        opened = Review(open_annotations(options.labels), options.pictures)
    with opened:
        from groundingdino.page.review_page import ReviewPage, build, serve

        counts = opened.counts()
        done = f"{counts['checked']} of {counts['pictures']} pictures done"
        say(f"{done}, {counts['left']} objects left to decide; Ctrl+C ends the review")
        where: dict[str, Any] = {"server_name": options.host, "server_port": options.port}
        try:
            serve(build(ReviewPage(opened, _looker(options))), inbrowser=not options.no_browser, **where)
        except OSError as error:
            raise ValueError(
                f"Port {options.port or 7860} cannot be listened on: choose another with --port."
            ) from error


def _looker(options: argparse.Namespace) -> "Look":
    """What finds a prompt's phrases, by a model that is loaded for the first of them.

    Without --model each picture is looked at by the model that comes along and knows such pictures, as `detect` does.
    """

    @cache
    def detector(name: str) -> Any:
        from groundingdino.detection.detector import Detector

        return load_model(Detector.from_pretrained, name, options)

    def look(image: "Image.Image", prompt: str) -> Sequence["Seen"]:
        from groundingdino.detection.objects import labels_of, scores_of
        from groundingdino.detection.picture_kinds import suited
        from groundingdino.inputs.prompt import Prompt
        from groundingdino.page.review_page import Seen

        if not Prompt.parse(prompt).phrases:
            return []
        model = detector(options.model if options.model_is_chosen else suited(image, options.model))
        ground = model.ground_each if options.each else model.ground
        objects = ground(model.encode_image(image, tiles=options.tiles), prompt).detections(**read_thresholds(options))
        rows = zip(labels_of(objects), objects.xyxy.tolist(), scores_of(objects).tolist(), strict=True)
        return [Seen(name, tuple(box), score) for name, box, score in rows]

    return look
