"""What the command `inpaint` adds to the others: its options as an `Edit`, and candidates as files."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from groundingdino.command_line.options import BY_TEXT, refuse_unread
from groundingdino.editing.available_models import edit_of, find_inpainter_card
from groundingdino.editing.edits import Edit, Sampling
from groundingdino.editing.modes import check_prompt_of, parse_task
from groundingdino.editing.recipe import png_with_recipe
from groundingdino.editing.tasks import (
    BACKGROUNDS,
    PLACED,
    ColorBackground,
    Outpaint,
    PictureBackground,
    StickerCutOut,
    Task,
    TransparentBackground,
)
from groundingdino.inputs.image import load_image

if TYPE_CHECKING:
    from groundingdino.editing.perform import Edited, EditProgress

# Options by what they are for: objects and their masks, which tasks that say themselves where they paint have none of,
# and painting by a model.
FOUND_BY = (*BY_TEXT, "segmenter", "point", "box")
FINDING = (*FOUND_BY, "grow", "boxes", "mask")
PAINTING = (
    "inpainter",
    "steps",
    "guidance",
    "strength",
    "seed",
    "negative_prompt",
    "candidates",
    "scheduler",
    "few_steps",
)


def read_edit(options: argparse.Namespace) -> Edit:
    """The edit that the options describe.

    Raises:
        ValueError: an option is out of its range or nothing to this task, or the new background cannot be read.
    """
    task = _read_task(options)
    _refuse_unread(options, task)
    card = find_inpainter_card(options.inpainter)
    sampling = Sampling(
        options.steps,
        options.guidance,
        options.strength,
        options.seed,
        options.negative_prompt,
        options.candidates,
        options.scheduler,
        options.few_steps,
    )
    if card and task.needs_model:
        refuse_unread(options, card.title, card.ignores)
    mask = (options.grow, options.feather, options.one_by_one, options.boxes)
    return edit_of(task, card, sampling, *mask, own_mask=bool(options.mask))


def result_mode(task: Task, picture: Image.Image) -> str:
    """Pillow's name of what the results will be, if there is anything to edit: "RGB", or "RGBA" with transparency."""
    if isinstance(task, (ColorBackground, PictureBackground)):
        return "RGB"
    return "RGBA" if isinstance(task, (TransparentBackground, StickerCutOut)) else picture.mode


def candidate_path(path: Path, number: int) -> Path:
    """Where a candidate, counted from 1, is saved if the first is saved as `path`."""
    return path if number == 1 else path.with_stem(f"{path.stem}-{number}")


def save_candidates(edited: "Edited", search: dict[str, Any], path: Path) -> None:
    """Saves the first as `path`, the next ones as NAME-2, NAME-3, ...; a PNG file of an edit holds its recipe.

    Raises:
        OSError: a file cannot be written, or its kind cannot hold the transparency of a picture that was not edited.
    """
    for index, image in enumerate(edited.images):
        target = candidate_path(path, index + 1)
        if edited.recipe and target.suffix.lower() == ".png":
            target.write_bytes(png_with_recipe(image, {**search, **edited.recipe_of(index)}))
        else:
            image.save(target, icc_profile=image.info.get("icc_profile"))


def show_steps(progress: "EditProgress") -> None:
    """One line on a terminal that is written over; nothing in a log file."""
    if sys.stderr.isatty():
        end = "\n" if progress.step == progress.steps else ""
        print(f"\rpainting: step {progress.step} of {progress.steps}", end=end, file=sys.stderr, flush=True)


def _refuse_unread(options: argparse.Namespace, task: Task) -> None:
    unread: tuple[str, ...] = () if task.needs_model else PAINTING
    if not isinstance(task, Outpaint):
        unread += ("text",)
    if isinstance(task, PLACED):
        unread += FINDING
    elif options.mask:
        unread += (*FOUND_BY, "boxes")
    if isinstance(task, (*BACKGROUNDS, *PLACED)):
        unread += ("one_by_one",)
    refuse_unread(options, "This edit", unread)
    check_prompt_of(task, options.prompt)


def _read_task(options: argparse.Namespace) -> Task:
    if options.remove:
        return parse_task("remove" if options.remove == "model" else "fill")
    if options.picture:
        return parse_task("picture", picture=load_image(options.picture))
    if options.region:
        return parse_task("regions", regions=options.region)
    if options.outpaint:
        return parse_task("outpaint", options.text, margins=options.outpaint)
    if (effect := read_effect(options)) is not None:
        return effect
    mode = next(mode for mode in ("replace", "background") if getattr(options, mode) is not None)
    return parse_task(mode, getattr(options, mode))


def read_effect(options: argparse.Namespace) -> Task | None:
    """The edit without a model that the options name, if they name one."""
    for mode in ("transparent", "blur", "pixelate", "blur-background"):
        if getattr(options, mode.replace("-", "_")):
            return parse_task(mode)
    for mode in ("color", "recolor", "spotlight", "sticker"):
        if getattr(options, mode) is not None:
            return parse_task(mode, getattr(options, mode))
    return None
