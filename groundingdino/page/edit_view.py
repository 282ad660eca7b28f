"""What the page shows of an edit, as plain data for the browser: the mask before it, and what came of it."""

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from groundingdino.page.edit_form import BACKGROUND, REGIONS, MaskForm
from groundingdino.page.outlines import outlines
from groundingdino.page.status_line import sentence
from groundingdino.page.studio import Picture
from groundingdino.page.view import jpeg_url
from groundingdino.segmentation.masks import compact

# `picture` names the one that the edit belongs to, `run` tells one edit from the next; `share` is done, 0 to 1. Of one
# that grows `ratio` is its new width over height, and `before` shows it in its new frame.
NO_EDIT: dict[str, Any] = {
    "picture": "",
    "run": 0.0,
    "working": False,
    "share": 0.0,
    "preview": "",
    "ratio": 0.0,
    "before": "",
    "candidates": [],
    "status": sentence(""),
}
# `picture` is the one that the two buttons belong to.
NO_HISTORY: dict[str, Any] = {"picture": "", "undo": False, "redo": False}

_WEBP_QUALITY = 88


class Outcome(NamedTuple):
    """The last finished edit of a session; its pictures are files, as they may be large and stay for long."""

    path: str  # of the picture that was edited
    results: tuple[str, ...]  # paths of PNG files, one for each candidate
    recipes: tuple[dict[str, Any], ...]  # likewise
    mask: str  # path of a PNG file
    shown: dict[str, Any]  # as the browser has it


def masked(
    shown: dict[str, Any], picture: Picture, alpha: np.ndarray | None, form: MaskForm, strokes: int
) -> dict[str, Any]:
    """A view of the bare picture with the mask over it.

    Args:
        shown: As `view` gives it.
        picture: What it shows.
        alpha: How much of each pixel will be new, (H, W) uint8; None if nothing will.
        form: The controls of the mask.
        strokes: How many of the brush are in the mask.
    """
    wording = {"tick": "Keep" if form.mode == BACKGROUND else "Edit", "asks": form.mode == REGIONS}
    shown = {**shown, **wording, "strokes": strokes}
    if alpha is None:
        return shown
    small = Image.fromarray(alpha).resize(picture.shown.size, Image.Resampling.BILINEAR, reducing_gap=2)
    inside = np.asarray(small) > 127
    # The line is drawn around the objects, and not also along the picture's edges.
    (outline,) = outlines(compact(~inside if form.mode == BACKGROUND else inside), 1 / picture.scale)
    return {**shown, "mask": _mask_url(small), "outline": outline}


def candidate_view(image: Image.Image, size: tuple[int, int], seed: int | None) -> dict[str, Any]:
    """A result at the size (width, height) at which the page shows it, and the seed that repeats it."""
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    return {"image": _webp_url(small) if "A" in small.getbands() else jpeg_url(small), "seed": seed}


def _mask_url(alpha: Image.Image) -> str:
    """A picture whose transparency is the mask, as CSS takes it."""
    buffer = io.BytesIO()
    Image.merge("LA", (Image.new("L", alpha.size), alpha)).save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _webp_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_WEBP_QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
