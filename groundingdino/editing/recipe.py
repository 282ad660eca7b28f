"""How an edited picture was made, written into its PNG file and beside it as JSON.

It holds words, models, settings and seeds. Of what was drawn with the brush it holds the number of strokes alone, and
nothing of what was ticked off, pointed at, or laid behind as a picture.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from groundingdino.editing.edits import Edit
from groundingdino.editing.tasks import BACKGROUNDS, PLACED, Outpaint, Regions
from groundingdino.inputs.image import decoded

KEYWORD = "groundingdino"  # of the PNG chunk


def recipe_of(
    edit: Edit, size: tuple[int, int], model: str | None, seeds: Sequence[int], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """An edit as plain data.

    Args:
        edit: The task and its settings.
        size: (width, height) of the picture, as it was painted on.
        model: The inpainter's name, None where none painted.
        seeds: Of the candidates.
        settings: Of the sampling, as used.

    Returns:
        {"mode", "inpainter", "mask": {"feather", "grow", "boxes", "strokes", "one_by_one"}}, "grow" being None where
        each object grew by what suits it or by a "grow_share" of its own, and, where the task has them, "text", "by",
        "color", "regions", "margins" (left, top, right, bottom); where a model painted, also "seeds",
        "negative_prompt", "strength" and `settings`.
    """
    task = edit.task
    recipe: dict[str, Any] = {"mode": task.mode, "inpainter": model}
    if text := getattr(task, "text", None):
        recipe["text"] = text
    for name in ("by", "color"):
        if hasattr(task, name):
            recipe[name] = getattr(task, name)
    if isinstance(task, Regions):
        recipe["regions"] = [[*region.box, region.text] for region in task.regions]
    if isinstance(task, Outpaint):
        recipe["margins"] = list(task.margins.sides)
    recipe["mask"] = {"feather": edit.mask.feather_in(size)}
    if not isinstance(task, PLACED):
        recipe["mask"] |= {"grow": edit.mask.grow, "boxes": edit.mask.boxes, "strokes": len(edit.brush)}
        if edit.mask.grow is None and edit.mask.grow_share is not None:
            recipe["mask"]["grow_share"] = edit.mask.grow_share
    if not isinstance(task, (*BACKGROUNDS, *PLACED)):
        recipe["mask"]["one_by_one"] = edit.mask.one_by_one
    if model is not None:
        recipe |= {"seeds": list(seeds), "negative_prompt": edit.sampling.negative_prompt}
        recipe |= {"strength": edit.sampling.strength, **settings}
    return recipe


def search_of(prompt: str, models: Sequence[str], thresholds: Mapping[str, float | None]) -> dict[str, Any]:
    """How the objects were found, to be put into the recipe: {"find", "found_by", "box_threshold", ...}.

    Args:
        prompt: The prompt; "" if they were only pointed at.
        models: Names of those that found them and cut them out.
        thresholds: As used: "box_threshold", "text_threshold", "nms_threshold", and "best_only" if so; none if they
            were only pointed at.
    """
    return {"find": prompt, "found_by": list(models), **thresholds}


def png_with_recipe(image: Image.Image, recipe: Mapping[str, Any]) -> bytes:
    """The picture as a PNG file that holds the recipe, as JSON in a text chunk named "groundingdino"."""
    chunks = PngInfo()
    chunks.add_itxt(KEYWORD, json.dumps(recipe, ensure_ascii=False))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3, pnginfo=chunks)
    return buffer.getvalue()


def read_recipe(source: str | Path | bytes) -> dict[str, Any]:
    """The recipe in a PNG file, given by its path or its bytes.

    Raises:
        ValueError: it holds none, or cannot be read, see `image.load_image`.
    """
    with decoded(source) as image:  # chunks may follow the pixels
        text = getattr(image, "text", {}).get(KEYWORD, "null")
    try:
        recipe = json.loads(text)
    except ValueError:
        recipe = None
    if not isinstance(recipe, dict):
        raise ValueError("The picture holds no recipe: it was not saved by this program, or by another one since.")
    return recipe


def recipe_json(recipe: Mapping[str, Any]) -> bytes:
    """The recipe as a readable UTF-8 JSON file."""
    return json.dumps(recipe, indent=2, ensure_ascii=False).encode()
