"""Edits without a model, frame by frame: blur, pixelate, recolour, cut out or set off what is followed.

They are those of pictures (`editing.perform`): pixels outside the soft masks are those of the frame, to the bit.
"""

import math

import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.editing.backgrounds import lay_behind, make_transparent
from groundingdino.editing.edits import Edit, MaskSettings
from groundingdino.editing.effects import change, make_sticker
from groundingdino.editing.perform import edit_picture
from groundingdino.editing.tasks import (
    BlurBackground,
    ColorBackground,
    Obscure,
    PictureBackground,
    Recolor,
    Spotlight,
    StickerCutOut,
    Task,
    TransparentBackground,
)
from groundingdino.segmentation.masks import union

ON_OBJECTS = (Obscure, Recolor)
ON_ALL_ELSE = (BlurBackground, Spotlight, ColorBackground, PictureBackground, TransparentBackground, StickerCutOut)
WITH_ALPHA = (TransparentBackground, StickerCutOut)


def check_task(task: Task) -> None:
    """That a task can be done in each frame by itself.

    Raises:
        ValueError: it is painted by a model, or fills: what is made up would flicker from frame to frame.
    """
    if not isinstance(task, (*ON_OBJECTS, *ON_ALL_ELSE)):
        raise ValueError(
            "A video is edited frame by frame without a model: blur, pixelate or recolour what is followed, or change "
            "what is around it."
        )


def edit_frame(pixels: np.ndarray, objects: sv.Detections, task: Task) -> np.ndarray:
    """A frame after an edit.

    Args:
        pixels: (H, W, 3) uint8.
        objects: What is followed in it: masks, or boxes alone, which then count whole.
        task: As `check_task` wants it.

    Returns:
        (H, W, 3) uint8, or (H, W, 4) of `WITH_ALPHA`.
    """
    size = pixels.shape[1], pixels.shape[0]
    followed = _followed(objects, size)
    if followed.any() and (isinstance(task, ON_OBJECTS) or not followed.all()):
        edit = Edit(task, MaskSettings(boxes=objects.mask is None))
        return np.asarray(edit_picture(Image.fromarray(pixels), objects, edit).images[0])
    if isinstance(task, ON_OBJECTS):
        return pixels
    alpha = np.where(followed, 0, 255).astype(
        np.uint8
    )  # the same for all pixels, which `edit_picture` takes for a slip
    if isinstance(task, TransparentBackground):
        return make_transparent(pixels, alpha)
    if isinstance(task, StickerCutOut):
        return make_sticker(pixels, alpha, task)
    if isinstance(task, (ColorBackground, PictureBackground)):
        return lay_behind(pixels, alpha, task)
    assert isinstance(task, (BlurBackground, Spotlight))
    return pixels if followed.any() else change(pixels, ~followed, alpha, task)


def _followed(objects: sv.Detections, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: where any object is."""
    if objects.mask is not None:
        return union(objects.mask, size)
    whole = np.zeros(size[::-1], bool)
    for x0, y0, x1, y1 in objects.xyxy:
        if x1 > x0 and y1 > y0:
            whole[math.floor(y0) : math.ceil(y1), math.floor(x0) : math.ceil(x1)] = True
    return whole
