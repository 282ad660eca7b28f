"""Another background behind the objects, without a model."""

import numpy as np
from PIL import Image, ImageOps

from groundingdino.editing.blending import blend
from groundingdino.editing.tasks import ColorBackground, PictureBackground


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
        visible = (pixels[..., 3] * (255 - alpha.astype(np.uint32)) + 127) // 255
        alpha = (255 - visible).astype(np.uint8)
    return blend(pixels[..., :3], behind, alpha)
