"""The controls of the tab Inpaint. Which of them a mode or a model needs is known to page.css: they change at once."""

from typing import NamedTuple

import gradio as gr

from groundingdino.editing.edits import MAX_GUIDANCE
from groundingdino.editing.schedulers import FOR_DISTILLED, SCHEDULERS
from groundingdino.page.edit_form import (
    BACKGROUND,
    BLUR,
    BLURRED,
    COLOR,
    DARK,
    EFFECT,
    EXTEND,
    FEATHER,
    GREY,
    GROW,
    MASKS,
    MODEL,
    OUTLINED,
    PAINTED,
    PICTURE,
    PIXELATE,
    QUICK,
    RECOLOR,
    REGIONS,
    REMOVE,
    REPLACE,
    TRANSPARENT,
    WHOLE_BOXES,
    suited_shape,
)
from groundingdino.page.layout import Choice, choice, hand_over_files, slider
from groundingdino.page.limits import Limits
from groundingdino.page.picker import Picker
from groundingdino.page.studio import OFF


class EditForm(NamedTuple):
    """The form that says what to edit: always visible, on a phone below the canvas."""

    mode: gr.Radio
    margins: gr.Textbox
    backdrop: gr.Radio
    effect: gr.Radio
    remover: gr.Radio
    text: gr.Textbox
    color: gr.ColorPicker
    picture: gr.Image
    run: gr.Button
    cancel: gr.Button


class Painting(NamedTuple):
    """Where and how it is painted."""

    shape: gr.Radio
    grow: gr.Slider
    feather: gr.Slider
    one_by_one: gr.Checkbox
    own: gr.Image
    inpainter: Choice
    steps: gr.Slider
    guidance: gr.Slider
    strength: gr.Slider
    candidates: gr.Slider
    seed: gr.Textbox
    repeat: gr.Button
    negative: gr.Textbox
    scheduler: gr.Dropdown
    few_steps: Choice


def edit_column() -> EditForm:
    """The mode and what each of them asks for."""
    modes = [REPLACE, REMOVE, BACKGROUND, EFFECT, REGIONS, EXTEND]
    mode = gr.Radio(modes, value=REPLACE, label="What to do with it", elem_id="mode")
    info = "On all sides, or left, top, right, bottom: pixels or %."
    margins = gr.Textbox("25%", label="Grow by", info=info, max_lines=1, elem_id="margins")
    backdrops = [BLURRED, GREY, DARK, TRANSPARENT, OUTLINED, COLOR, PICTURE, PAINTED]
    backdrop = gr.Radio(backdrops, value=BLURRED, label="New background", elem_id="backdrop")
    effect = gr.Radio([BLUR, PIXELATE, RECOLOR], value=BLUR, label="What it becomes", elem_id="effect")
    info = "The fill takes patches from around it: no model, and nothing is invented. Stickers fill, too."
    remover = gr.Radio([MODEL, QUICK], value=MODEL, label="Fill the gap by", info=info, elem_id="remover")
    text = gr.Textbox(
        "",
        label="What to put there",
        placeholder="dog",
        max_lines=3,
        html_attributes=gr.InputHTMLAttributes(autocapitalize="off", autocorrect="off", spellcheck=False),
        elem_id="put",
    )
    color = gr.ColorPicker("#ffffff", label="Colour", elem_id="backdrop-color")
    picture = gr.Image(
        type="filepath", label="Background", sources=["upload"], buttons=[], height=110, elem_id="backdrop-picture"
    )
    hand_over_files(picture)
    with gr.Row(elem_id="run-row"):
        run = gr.Button("Run", variant="primary", min_width=0, elem_id="run")
        cancel = gr.Button("Cancel (Esc)", min_width=0, elem_id="cancel")
    return EditForm(mode, margins, backdrop, effect, remover, text, color, picture, run, cancel)


def painting_column(picker: Picker, model: str, few_steps: Picker, limits: Limits) -> Painting:
    """The mask's controls, the inpainter, and folded away how it paints."""
    card = picker.models.card(model)
    shape = gr.Radio([MASKS, WHOLE_BOXES], value=suited_shape(card, REPLACE), label="Edit their", elem_id="edit-shape")
    info = "Percent of each object's longer side."
    grow = slider(-25, 50, GROW[REPLACE], step=0.1, label="Grow or shrink", info=info, elem_id="grow")
    info = "How far the edge fades. Percent of the picture's longer side."
    feather = slider(0, 10, FEATHER, step=0.1, label="Feather", info=info, elem_id="feather")
    one_by_one = gr.Checkbox(card.one_by_one, label="One object after the other", elem_id="one-by-one")
    with gr.Accordion("Own mask", open=False, elem_id="own-mask-part"):
        own = gr.Image(
            type="filepath", label="White is edited", sources=["upload"], buttons=[], height=110, elem_id="own-mask"
        )
        hand_over_files(own)
    inpainter = choice(picker, model, "Inpainter")
    with gr.Accordion("Painting", open=False, elem_id="painting"):
        few = choice(few_steps, OFF, "Few steps")
        info, most = "As suits the model; more take longer.", max(2, min(100, limits.steps))
        steps = slider(1, most, min(card.steps, most), step=1, label="Steps", info=info, elem_id="steps")
        info = "How closely the text is followed; 1 ignores the negative prompt."
        guidance = slider(1, MAX_GUIDANCE, card.guidance, step=0.5, label="Guidance", info=info, elem_id="guidance")
        info = "How much of what is there is forgotten; 1 forgets all."
        strength = slider(0.05, 1, 1, step=0.05, label="Strength", info=info, elem_id="strength")
        most, several = max(2, limits.candidates), limits.candidates > 1
        info = "Pictures to choose from."
        candidates = slider(1, most, 1, step=1, label="Candidates", info=info, visible=several)
        info = "Of the first candidate. Empty draws a new one for each run."
        # A number field would show nothing as 0.
        seed = gr.Textbox("", label="Seed", info=info, max_lines=1, placeholder="random", elem_id="seed")
        repeat = gr.Button("Keep the seed of the result", size="sm", elem_id="repeat-seed")
        info = "What must not appear."
        negative = gr.Textbox("", label="Negative prompt", info=info, max_lines=3, elem_id="negative")
        # None of the page's models was distilled for few steps.
        schedulers = [(title, name) for name, title in SCHEDULERS.items() if name not in FOR_DISTILLED]
        choices = [("The model's own", ""), *schedulers]
        scheduler = gr.Dropdown(choices, value="", label="Scheduler", filterable=False, elem_id="scheduler")
    return Painting(
        shape,
        grow,
        feather,
        one_by_one,
        own,
        inpainter,
        steps,
        guidance,
        strength,
        candidates,
        seed,
        repeat,
        negative,
        scheduler,
        few,
    )
