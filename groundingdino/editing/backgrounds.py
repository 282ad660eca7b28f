"""Edits that take no model: another background behind the objects, and OpenCV's fill in their place."""

import cv2
import numpy as np
from PIL import Image, ImageOps

from groundingdino.editing.crops import Crop, blend
from groundingdino.editing.edits import ColorBackground, PictureBackground

FILL_SIZE = 512  # pixels: the fill walks over each pixel in turn, and finds no more detail in more of them
FILL_RADIUS = 5  # pixels of the reduced picture that it looks at


def make_transparent(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """RGBA of a picture (H, W, 3 or 4) that is transparent where alpha (H, W) uint8 is 255.

    Pixels of which alpha leaves nothing become transparent black: they are gone, not only hidden.
    """
    opacity = pixels[..., 3] if pixels.shape[2] == 4 else np.full(alpha.shape, 255, np.uint8)
    left = (opacity * (255 - alpha.astype(np.uint32)) + 127) // 255
    result = np.dstack([pixels[..., :3], left.astype(np.uint8)])
    result[(left == 0) & (alpha > 0)] = 0
    return result


def lay_behind(pixels: np.ndarray, alpha: np.ndarray, task: ColorBackground | PictureBackground) -> np.ndarray:
    """The picture (H, W, 3 or 4) with a colour or picture where alpha (H, W) uint8 is 255.

    The background is opaque. What of an object was transparent shows it.
    """
    height, width = alpha.shape
    if isinstance(task, ColorBackground):
        behind = np.full((height, width, 3), task.rgb, np.uint8)
    else:
        behind = np.asarray(ImageOps.fit(task.picture.convert("RGB"), (width, height), Image.Resampling.LANCZOS))
    if pixels.shape[2] == 4:
        seen = (pixels[..., 3] * (255 - alpha.astype(np.uint32)) + 127) // 255
        alpha = (255 - seen).astype(np.uint8)
    return blend(pixels[..., :3], behind, alpha)


def fill(pixels: np.ndarray, mask: np.ndarray, alpha: np.ndarray) -> tuple[Crop, np.ndarray]:
    """What continues the colours around a mask into it, by Telea's fast marching method (OpenCV's `inpaint`).

    Args:
        pixels: (H, W, 3) uint8.
        mask: (H, W) bool, what is filled.
        alpha: (H, W) uint8, the mask with its soft edge.

    Returns:
        Where it lies, and (h, w, 3) uint8 at the size of that rectangle.
    """
    *_, width, height = cv2.boundingRect((alpha > 0).view(np.uint8))
    crop = Crop.around(alpha, min(FILL_SIZE, 2 * max(width, height)), context=0.25, multiple=1)
    hole = crop.cut_mask(mask, 1).view(np.uint8)
    if hole.all():
        raise ValueError("The mask covers the whole picture: there is nothing around it to fill it with.")
    return crop, crop.uncut(cv2.inpaint(crop.cut(pixels), hole, FILL_RADIUS, cv2.INPAINT_TELEA))
