"""The components of the page, laid out: question and settings on the left, the answer on the right."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import ListFiles
from gradio.processing_utils import check_all_files_in_cache

from groundingdino.detection.phrases import NMS_THRESHOLD
from groundingdino.files.assets import ASSETS
from groundingdino.inputs.prompt import Prompt
from groundingdino.page.edit_view import NO_EDIT, NO_HISTORY
from groundingdino.page.model_cache import C, M
from groundingdino.page.picker import Picker, SecondPicker
from groundingdino.page.query import BOXES, DETECT, FILL, INPAINT, LABELS, NO_MODEL, OUTLINE, SEGMENT, TRACK
from groundingdino.page.status_line import sentence
from groundingdino.page.track_view import NO_PAUSED, NO_TRACK
from groundingdino.page.view import NOTHING
from groundingdino.page.watching import Watching, watch_part
from groundingdino.results.drawing import DEFAULT_MASK_STYLE
from groundingdino.segmentation.masks import SPECKS

PAGE_FILES = ASSETS / "page"

# One scope, in this order.
SCRIPTS = (
    *(
        "parts.js",
        "result.js",
        "pointing.js",
        "brush.js",
        "compare.js",
        "track.js",
        "examples.js",
        "adjust.js",
        "zoom.js",
        "prompt.js",
        "start.js",
    ),
)

SUGGEST = "What is in it?"


class Question(NamedTuple):
    """The picture and the prompt."""

    picture: gr.Image
    prompt: gr.Textbox
    suggestions: gr.Dataset
    suggest: gr.Button  # in their place while there are none
    replaced: gr.Textbox  # the prompt with a suggestion; invisible


class Answer(NamedTuple):
    """What was found: picture, status line, legend and table are one component, so that they always agree.

    It is one for all tabs, too: switching keeps picture, ticks and what was pointed at, and shows no old result.
    """

    row: gr.Tabs
    tabs: dict[str, gr.Tab]
    tab: gr.Textbox  # the name of the open one; invisible
    result: gr.HTML
    downloads: dict[str, gr.Button]  # of what was found
    edit_downloads: dict[str, gr.Button]  # of what came of an edit
    track_downloads: dict[str, gr.Button]  # of what was followed
    watching: Watching
    file: gr.File  # what a download button has written; invisible


class Choice(NamedTuple):
    """A list of models, what the chosen one is, and the button that downloads it."""

    model: gr.Dropdown
    about: gr.HTML
    fetch: gr.Button


class Settings(NamedTuple):
    """The other controls."""

    gallery: gr.Dataset
    detector: Choice
    second: Choice  # to be compared
    namer: Choice  # of what is in a picture
    box: gr.Slider
    text: gr.Slider
    nms: gr.Slider
    best_only: gr.Checkbox
    each: gr.Checkbox
    tiles: gr.Checkbox


class Masks(NamedTuple):
    """The controls of the tab Segment: how masks are made and drawn."""

    shapes: gr.CheckboxGroup
    opacity: gr.Slider
    specks: gr.Slider
    segmenter: Choice


def question_column(prompts: Mapping[str, str]) -> Question:
    """Starts with the first of the examples, by their paths and prompts: the first sight is what the page does."""
    first = next(iter(prompts))
    picture = gr.Image(
        first,
        type="filepath",
        label="Picture",
        sources=["upload", "clipboard", "webcam"],
        buttons=[],
        height=170,
        elem_id="picture",
    )
    hand_over_files(picture)
    prompt = gr.Textbox(
        prompts[first],
        label="What to look for",
        placeholder="cat . pizza",
        info="Separate several things by dots, commas or “and”.",
        max_lines=3,
        autofocus=True,
        html_attributes=gr.InputHTMLAttributes(autocapitalize="off", autocorrect="off", spellcheck=False),
        elem_id="prompt",
    )
    suggestions = gr.Dataset(
        components=[gr.Textbox(visible=False)],
        samples=suggested(first, prompts),
        show_label=False,
        elem_id="suggestions",
    )
    suggest = gr.Button(SUGGEST, size="sm", visible=False, elem_id="suggest")
    return Question(picture, prompt, suggestions, suggest, gr.Textbox(visible="hidden"))


def answer_column(prompts: Mapping[str, str]) -> Answer:
    """The tabs, the result and its downloads; what belongs to one tab alone is hidden by page.css in the others."""
    with gr.Tabs(elem_id="tabs") as row:
        tabs = {
            name: gr.Tab(name.capitalize(), id=name, elem_id=f"tab-{name}", render_children=False)
            for name in (DETECT, SEGMENT, INPAINT, TRACK)
        }
    scripts = [(PAGE_FILES / name).read_text(encoding="utf-8") for name in SCRIPTS]
    result = gr.HTML(
        {},
        html_template=(PAGE_FILES / "result.html").read_text(encoding="utf-8"),
        js_on_load="\n".join(scripts),
        apply_default_css=False,
        view=NOTHING,
        status=sentence("Loading the model …", "working"),
        edit=NO_EDIT,
        history=NO_HISTORY,
        track=NO_TRACK,
        paused=NO_PAUSED,
        suited=None,
        examples=[{"name": Path(path).stem, "prompt": prompt} for path, prompt in prompts.items()],
        elem_id="result",
    )
    watching = watch_part()
    labels = {
        "picture": "Picture",
        "cut-out": "Cut-out",
        "masks": "Masks",
        "json": "JSON",
        "coco": "COCO",
        "yolo": "YOLO",
    }
    edits = {"result": "Result", "recipe": "Recipe", "mask": "Mask"}
    lists = {
        "video": "MP4",
        "frames": "Frames",
        "json": "JSON",
        "mot": "MOT",
        "youtube-vis": "YouTube-VIS",
        "masks": "Masks",
    }
    with gr.Row(elem_id="downloads"):
        gr.HTML("Download", elem_id="downloads-label")
        downloads = {
            kind: gr.Button(label, size="sm", min_width=0, elem_id=f"download-{kind}") for kind, label in labels.items()
        }
        edit_downloads = {
            kind: gr.Button(label, size="sm", min_width=0, elem_id=f"download-{kind}", elem_classes="of-edit")
            for kind, label in edits.items()
        }
        track_downloads = {
            kind: gr.Button(label, size="sm", min_width=0, elem_id=f"download-track-{kind}", elem_classes="of-track")
            for kind, label in lists.items()
        }
        # Who opens the link meets this picture, prompt and settings, as long as the server keeps its files.
        gr.DeepLinkButton("Copy link", "Link copied", size="sm", icon=None, min_width=0, elem_classes="link")
    tab, file = gr.Textbox(DETECT, visible="hidden"), gr.File(visible="hidden")
    return Answer(row, tabs, tab, result, downloads, edit_downloads, track_downloads, watching, file)


def settings_column(picker: Picker, second: Picker, namer: SecondPicker, model: str, examples: list[str]) -> Settings:
    """Examples, the detector and its thresholds."""
    card = picker.models.card(model)
    gallery = gr.Dataset(
        components=[gr.Image(visible=False)],
        samples=[[path] for path in examples],
        label="Examples",
        type="index",
        elem_id="gallery",
    )
    detector = choice(picker, model, "Model")
    compared = choice(second, NO_MODEL, "Compare with")
    with gr.Accordion("Thresholds", open=False, elem_id="thresholds"):
        info = "A box is shown if its phrase scores more than this."
        box = slider(0, 1, card.box_threshold, step=0.01, label="Box", info=info)
        info = "In a sentence, a box is shown if the noun of its phrase scores more than this."
        text = slider(0, 1, card.text_threshold, step=0.01, label="Text", info=info)
        info = "Of two boxes of one phrase that overlap more than this the better stays; 1 keeps both."
        nms = slider(0.1, 1, NMS_THRESHOLD, step=0.05, label="Overlap", info=info)
        best_only = gr.Checkbox(label="Only the best box of each phrase", elem_id="best-only")
        info = "Finds more of what is described; takes as many times as long as there are phrases."
        each = gr.Checkbox(label="Look for one phrase after the other", info=info, elem_id="each")
        info = "Finds small things in large pictures; takes up to ten times as long: for the whole and 3 x 3 tiles."
        tiles = gr.Checkbox(label="Look at tiles of the picture, too", info=info, elem_id="tiles")
    names = choice(namer, namer.first(), "Names come from")
    return Settings(gallery, detector, compared, names, box, text, nms, best_only, each, tiles)


def masks_column(picker: Picker, segmenter: str) -> Masks:
    """What only the tab Segment needs."""
    drawn = [FILL, OUTLINE, LABELS]
    shapes = gr.CheckboxGroup([FILL, OUTLINE, BOXES, LABELS], value=drawn, label="Show", elem_id="shapes")
    opacity = slider(0.1, 1, DEFAULT_MASK_STYLE.opacity, step=0.05, label="Opacity of the fill")
    info = "Specks smaller than this percentage of their object are removed, and holes a third as large filled."
    specks = slider(0, 20, 100 * SPECKS, step=0.1, label="Holes and specks", info=info)
    return Masks(shapes, opacity, specks, choice(picker, segmenter, "Segmenter"))


def choice(picker: Picker[M, C], model: str, label: str) -> Choice:
    name = label.lower().replace(" ", "-")
    return Choice(
        gr.Dropdown(picker.choices(), value=model, label=label, filterable=False, elem_id=name),
        gr.HTML(picker.about(model), elem_id=f"about-{name}", elem_classes="about"),
        gr.Button(**picker.fetch_button(model), size="sm", variant="primary", elem_id=f"fetch-{name}"),
    )


def suggested(path: str | None, prompts: Mapping[str, str]) -> list[list[str]]:
    """The phrases of an example picture; of other pictures it takes a look, see `suggesting`."""
    return [[phrase] for phrase in Prompt.parse(prompts.get(path or "", "")).phrases]


def slider(*values: float, **options: Any) -> gr.Slider:
    """A slider that has a meaning at each key that is typed into the number beside it.

    While that is empty it means what it began with, and what is too small or too large means the least or the most.
    """
    # No subclass: Gradio writes a stub file beside the source of each class of components that it meets. So no event
    # may answer with an update of a slider or a picture, only with its value: Gradio would make it anew from its class.
    made = gr.Slider(*values, **options)
    (least, most, start), check = values[:3], made.preprocess

    def number_of(payload: float | None) -> float:
        return check(start if payload is None else min(max(payload, least), most))

    made.preprocess = number_of  # type: ignore[method-assign]
    return made


def hand_over_files(image: gr.Image | gr.File | gr.Video) -> None:
    """Makes a component pass on the uploaded file as it is.

    Gradio would open it first, and answer what is no picture with a traceback in the log; our loader has a sentence.
    """

    def path_of(upload: Any) -> str | None:
        if isinstance(upload, ListFiles):
            upload = next(iter(upload.root), None)
        if upload is None or upload.path is None:
            return None
        # Gradio has looked only if what was sent says that it is a file: else any file of the server could be named.
        check_all_files_in_cache({"path": upload.path})  # type: ignore[arg-type]
        return upload.path

    image.preprocess = path_of  # type: ignore[method-assign]
