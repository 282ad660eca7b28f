"""Tasks of an edit by a word each, as programs and the command line ask for them."""

from collections.abc import Sequence
from types import NoneType
from typing import Any, cast

from PIL import Image

from groundingdino.editing.margins import Margins
from groundingdino.editing.tasks import (
    PLACED,
    Background,
    BlurBackground,
    ColorBackground,
    Obscure,
    Outpaint,
    PictureBackground,
    Recolor,
    Region,
    Regions,
    Remove,
    Replace,
    Spotlight,
    StickerCutOut,
    Task,
    TransparentBackground,
    check_regions,
)
from groundingdino.inputs.coordinates import items, numbers, shown
from groundingdino.inputs.prompt import Prompt

# "fill" removes without a model.
MODES = (
    *("replace", "remove", "fill", "regions", "background", "transparent", "color", "picture"),
    *("blur", "pixelate", "recolor", "blur-background", "spotlight", "sticker", "outpaint"),
)


def parse_task(
    mode: str,
    text: str = "",
    picture: Image.Image | None = None,
    regions: Sequence[Sequence[float | str]] | None = None,
    margins: Any = None,
) -> Task:
    """A task by its mode.

    Args:
        mode: One of `MODES`.
        text: What to paint; of "color" and "recolor" the colour, of "sticker" that of the edge (white), of "spotlight"
            what all else becomes, "grey" (as without a text) or "dark".
        picture: Of "picture", the new background.
        regions: Of "regions", [[x0, y0, x1, y1, "text"], ...].
        margins: Of "outpaint", as `Margins.parse` reads them; a quarter on each side without any.

    Raises:
        ValueError: there is no such mode, or it lacks what it needs.
    """
    if mode == "picture":
        if picture is None:
            raise ValueError("There is no picture for the background: pass one.")
        return PictureBackground(picture)
    if mode == "regions":
        return parse_regions(regions or ())
    if mode == "outpaint":
        return Outpaint(Margins.parse("25%" if margins is None else margins), text)
    if mode == "replace":
        return Replace(text)
    if mode == "background":
        return Background(text)
    if mode == "color":
        return ColorBackground(text)
    if mode == "recolor":
        return Recolor(text)
    if mode in ("blur", "pixelate"):
        return Obscure(cast(Any, mode))
    if mode == "blur-background":
        return BlurBackground()
    if mode == "spotlight":
        return Spotlight(cast(Any, text or "grey"))
    if mode == "sticker":
        return StickerCutOut(text or "white")
    if mode not in MODES:
        raise ValueError(f"There is no mode {shown(str(mode))}: choose one of {', '.join(MODES)}.")
    return TransparentBackground() if mode == "transparent" else Remove("fill" if mode == "fill" else "model")


def check_prompt_of(task: Task, prompt: str) -> None:
    """That nothing is to be found for a task that says itself where it paints; a ValueError otherwise.

    What a prompt names has no text of its own to be painted with.
    """
    if isinstance(task, PLACED) and Prompt.parse(prompt).phrases:
        if isinstance(task, Outpaint):
            raise ValueError(
                f"A picture grows whatever is in it, so {shown(prompt)} is not looked for: pass an empty prompt, and "
                "what the new part shows as the text."
            )
        raise ValueError(
            f"Regions are painted where their boxes are, so {shown(prompt)} is not looked for: "
            "pass an empty prompt, or replace what it names in an edit of its own."
        )


def parse_regions(values: Sequence[Sequence[float | str]]) -> Regions:
    """Reads [[x0, y0, x1, y1, "text"], ...]; a ValueError if they are malformed."""
    rows = items(values)
    if rows is not None:
        check_regions(len(rows))
    boxes = []
    for row in rows if rows is not None else [None]:
        *edges, text = items(row) or [None]
        box = numbers(edges, 4)
        if box is None or not isinstance(text, (str, NoneType)):
            raise ValueError("Expected regions as [[x0, y0, x1, y1, 'what it shows'], ...].")
        boxes.append((box, text or ""))
    return Regions(tuple(Region((x0, y0, x1, y1), text) for (x0, y0, x1, y1), text in boxes))
