"""The endpoints of the page as Gradio publishes them: to programs over HTTP, and to agents as MCP tools."""

import math
import reprlib
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from groundingdino.detection.phrases import NMS_THRESHOLD
from groundingdino.page.endpoints import Endpoints
from groundingdino.page.fetching import with_fetched
from groundingdino.page.files import DISK_ERRORS, refusal
from groundingdino.page.following import DRAWN, Show
from groundingdino.page.jobs import WORKERS
from groundingdino.page.layout import hand_over_files
from groundingdino.segmentation.masks import SPECKS

CALLS = "/call/v2/"  # where programs call endpoints by name, with parameters by name

NUMBERS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
# What is sent as JSON, as JSON Schema describes it: without it neither a program nor an agent knows what to send.
FORMS: dict[str, dict[str, Any]] = {
    "Points": NUMBERS,
    "Boxes": NUMBERS,
    "Examples": NUMBERS,
    "Counterexamples": NUMBERS,
    "Strokes": {"type": "array", "items": NUMBERS},
    "Regions": {
        "type": "array",
        "items": {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "string"}]}},
    },
    "One by one": {"type": "boolean"},
    "Only the best": {"type": "boolean"},
    "Each by itself": {"type": "boolean"},
    "In tiles, too": {"type": "boolean"},
    "Whole boxes": {"type": "boolean"},
    "Outlines": {"type": "boolean"},
    "Corrections": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "seconds": {"type": "number"},
                "objects": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "phrase": {"type": "string"},
                            "box": {"type": "array", "items": {"type": "number"}},
                            "followed": {"type": "boolean"},
                            "gone": {"type": "boolean"},
                        },
                        "required": ["phrase", "box"],
                    },
                },
            },
            "required": ["seconds"],
        },
    },
    "Margins": {
        "anyOf": [
            {"type": "string"},
            {"type": "number"},
            {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "string"}]}},
        ]
    },
}
UNREADABLE = "What was sent cannot be read: pictures are sent as uploaded files, all else as “Use via API” lists it."


def publish(endpoints: Endpoints) -> None:
    """The endpoints for programs. Their parameters are components of their own: they are no part of the page."""
    with gr.Row(visible=False):
        image = gr.Image(type="filepath", label="The picture")
        hand_over_files(image)
        prompt, detector = gr.Textbox(label="Prompt"), gr.Textbox(endpoints.first.detector, label="Model")
        thresholds = [_number(label=label) for label in ("Box threshold", "Text threshold")]
        thresholds.append(_number(NMS_THRESHOLD, label="NMS threshold"))
        switches = [*map(_json, ("Only the best", "Each by itself", "In tiles, too"))]
        examples = [*map(_json, ("Examples", "Counterexamples"))]
        drawn, found = gr.Image(format="png", label="The picture with what was found"), gr.JSON(label="Objects")
        gr.Button().click(
            endpoints.detect,
            [image, prompt, detector, *thresholds, *switches, *examples],
            [drawn, found],
            api_name="detect",
            concurrency_limit=WORKERS,
        )
        pointed = [*map(_json, ("Points", "Boxes", "Strokes")), gr.Checkbox(label="Everything")]
        segmenter, fill = (
            gr.Textbox(endpoints.first.segmenter, label="Segmenter"),
            _number(SPECKS, label="Holes and specks"),
        )
        gr.Button().click(
            endpoints.segment,
            [
                image,
                gr.Textbox("", label="Prompt"),
                *pointed,
                detector,
                segmenter,
                *thresholds,
                fill,
                *switches,
                *examples,
            ],
            [drawn, found],
            api_name="segment",
            concurrency_limit=WORKERS,
        )
        _publish_inpaint(endpoints, image, prompt, detector, thresholds, segmenter, switches)
        _publish_track(endpoints, prompt, detector, thresholds, switches)
    gr.api(endpoints.models, api_name="models")


def _publish_inpaint(
    endpoints: Endpoints,
    image: gr.Image,
    prompt: gr.Textbox,
    detector: gr.Textbox,
    thresholds: list[gr.Number],
    segmenter: gr.Textbox,
    switches: list[gr.JSON],
) -> None:
    """The same for edits."""
    background = gr.Image(type="filepath", label="The picture to lay behind")
    own = gr.Image(type="filepath", label="White is edited")
    for each in (background, own):
        hand_over_files(each)
    what = [gr.Textbox("replace", label="Mode"), gr.Textbox("", label="Text"), _json("Regions"), background]
    mask: list[Any] = [_number(precision=0, label=label) for label in ("Grow", "Feather")]
    mask += map(_json, ("One by one", "Whole boxes"))  # true, false or nothing
    sampling: list[Any] = [_number(precision=0, label="Steps"), _number(label="Guidance")]
    sampling += [_number(1, label="Strength"), _number(precision=0, label="Seed")]
    sampling += [gr.Textbox("", label="Negative prompt"), gr.Textbox("", label="Scheduler")]
    few_steps = gr.Textbox("", label="Few steps")
    models = [gr.Textbox(endpoints.first.inpainter, label="Inpainter"), detector, segmenter]
    edited, recipe = gr.Image(format="png", label="The edited picture"), gr.JSON(label="Objects and recipe")
    gr.Button().click(
        endpoints.inpaint,
        [image, prompt, *what, *models, *thresholds, *mask, *sampling, own, _json("Margins"), few_steps, *switches],
        [edited, recipe],
        api_name="inpaint",
        concurrency_limit=WORKERS,
    )


def _publish_track(
    endpoints: Endpoints,
    prompt: gr.Textbox,
    detector: gr.Textbox,
    thresholds: list[gr.Number],
    switches: list[gr.JSON],
) -> None:
    """The same for videos."""
    video = gr.File(label="The video")
    hand_over_files(video)
    how: list[Any] = [gr.Textbox(DRAWN, label="Effect"), gr.Textbox(Show().color, label="Colour"), _json("Outlines")]
    segmenter, tracker = (gr.Textbox("", label=label) for label in ("Segmenter", "Tracker"))
    stretch = [_number(precision=0, label="Every"), _number(0, label="Start"), _number(label="End")]
    made, tracks = gr.File(label="The video with what was followed"), gr.JSON(label="Tracks")
    gr.Button().click(
        endpoints.track,
        [video, prompt, *how, *stretch, detector, segmenter, *thresholds, *switches, tracker, _json("Corrections")],
        [made, tracks],
        api_name="track",
        concurrency_limit=WORKERS,
    )


def _json(label: str) -> gr.JSON:
    """A parameter of an endpoint that is described by `FORMS`."""
    component = gr.JSON(label=label)
    component.api_info = lambda: FORMS[label]  # type: ignore[method-assign]
    return component


def _number(value: float | None = None, **options: Any) -> gr.Number:
    """A number of an endpoint: what is none is refused by the parameter's name, where Gradio would log a traceback."""
    component = gr.Number(value, **options)
    read = component.preprocess

    def preprocess(sent: Any) -> float | int | None:
        is_number = isinstance(sent, int | float) and not isinstance(sent, bool) and math.isfinite(sent)
        if sent is not None and not is_number:
            raise gr.Error(f"{component.label} must be a number, not {reprlib.repr(sent)}.", print_exception=False)
        return read(sent)

    component.preprocess = preprocess  # type: ignore[assignment, method-assign]
    return component


def read_what_is_sent(demo: gr.Blocks, most: int | None = None) -> None:
    """Fetches pictures that are named by their address, and has a sentence for what no component can read.

    Text where a picture belongs is such; Gradio would log a traceback.

    Args:
        most: Bytes of a picture that is fetched; None: none is.
    """
    read = demo.preprocess_data

    async def preprocess_data(block_fn: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        try:
            inputs = await with_fetched(inputs, most)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        try:
            return await read(block_fn, inputs, *arguments, **options)
        except Exception as error:
            if isinstance(error, gr.Error) and not error.print_exception:  # which is ours
                raise
            raise gr.Error(UNREADABLE, print_exception=False) from error

    demo.preprocess_data = preprocess_data  # type: ignore[method-assign]


async def refuse_upload(request: Request, error: OSError) -> PlainTextResponse:
    """A sentence where the disk does not take what is sent; Gradio would have a traceback in the log, and none."""
    if not request.url.path.endswith("/upload") or error.errno not in DISK_ERRORS:
        raise error
    return PlainTextResponse(str(refusal(error, Path(get_upload_folder()) / "upload")), 507)


async def refuse_call(request: Request, error: Exception) -> JSONResponse:
    """A sentence for a call of no endpoint (KeyError), or of one without its parameters (TypeError).

    Gradio has none of its own: there was a page of traceback in the log for each.
    """
    _, is_call, name = request.url.path.partition(CALLS)
    if not is_call:
        raise error
    if isinstance(error, KeyError):
        return JSONResponse({"error": f"There is no endpoint {reprlib.repr(name.strip('/'))}."}, 404)
    words = str(error).partition(" Please click")[0].rstrip(".")
    return JSONResponse({"error": f"{words}; gradio_api/info lists the parameters."}, 422)
