"""How far a pass of a model is, and what the picture looks like by then."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from groundingdino.editing.crops import Crop

PREVIEW_SIDE = 640  # pixels of a preview's long side


class PaintStep(NamedTuple):
    """Of one pass of a model: steps done, steps in all, and what it looks like by now."""

    step: int
    steps: int
    crop: Crop
    canvas: np.ndarray | None  # (h, w, 3) uint8 of any size with the crop's proportions; None before the first step


class EditPreview:
    """Small copies of the picture with what is being painted in it."""

    def __init__(self, picture: np.ndarray, alpha: np.ndarray):
        height, width = alpha.shape
        self._scale = min(1.0, PREVIEW_SIDE / max(width, height))
        size = (max(1, round(width * self._scale)), max(1, round(height * self._scale)))
        self._picture = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
        self._alpha = Image.fromarray(alpha).resize(size, Image.Resampling.BILINEAR, reducing_gap=2)

    def show(self, painted: PaintStep) -> Image.Image | None:
        """The whole picture, RGB; None before the first step, and of models whose steps cannot be shown."""
        if painted.canvas is None:
            return None
        x0, y0, x1, y1 = (round(edge * self._scale) for edge in painted.crop.box)
        shares = [scaled / whole for scaled, whole in zip(painted.crop.scaled, painted.crop.canvas, strict=True)]
        height, width = painted.canvas.shape[:2]
        part = Image.fromarray(painted.canvas).resize(
            (max(1, x1 - x0), max(1, y1 - y0)),
            Image.Resampling.BICUBIC,
            box=(0, 0, width * shares[0], height * shares[1]),
        )
        above = self._picture.copy()
        above.paste(part, (x0, y0))
        return Image.composite(above, self._picture, self._alpha)
