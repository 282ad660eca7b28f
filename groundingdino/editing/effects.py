"""Edits of what is there, without a model: blur, pixelate, recolour, and what is done to all else to set things off."""

import cv2
import numpy as np
import supervision as sv

from groundingdino.artwork.sprites import paint_over
from groundingdino.editing.blending import blend
from groundingdino.editing.mask import soften
from groundingdino.editing.tasks import BlurBackground, Obscure, Recolor, Spotlight, StickerCutOut

PIECES = 12  # that the longer side of something pixelated is made of, at least
BLUR = 0.08  # of the longer side of what is blurred: the standard deviation, so that no face is recognised any more
BACKGROUND_BLUR = 0.015  # of the picture's longer side: the same
DARKENED = 0.35  # of its light is left
EDGE = 0.012  # of the picture's longer side: the width of a sticker's edge, at least 3 pixels

Effect = Obscure | Recolor | BlurBackground | Spotlight


def change(pixels: np.ndarray, mask: np.ndarray, alpha: np.ndarray, task: Effect) -> np.ndarray:
    """The picture (H, W, 3) uint8 with an effect where alpha (H, W) uint8 is over 0.

    Args:
        mask: (H, W) bool, alpha without its soft edge.
    """
    x, y, width, height = cv2.boundingRect((alpha > 0).view(np.uint8))
    window = np.s_[y : y + height, x : x + width]
    part, inside, weight = pixels[window], mask[window], alpha[window]
    if isinstance(task, Obscure):
        changed = _pixelated(part) if task.by == "pixelate" else _blurred(part, BLUR * max(width, height))
    elif isinstance(task, Recolor):
        changed = paint_over(np.dstack([part, inside * np.uint8(255)]), np.array(task.rgb, np.float32) / 255)[..., :3]
    elif isinstance(task, BlurBackground):
        changed = _blurred(part, BACKGROUND_BLUR * max(pixels.shape), inside)
    else:
        grey = np.repeat(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        changed = grey if task.by == "grey" else np.rint(part * DARKENED).astype(np.uint8)
    result = pixels.copy()
    result[window] = blend(part, changed, weight)
    return result


def make_sticker(pixels: np.ndarray, alpha: np.ndarray, task: StickerCutOut) -> np.ndarray:
    """RGBA of a picture (H, W, 3 or 4): what alpha (H, W) uint8 leaves, an edge around it, all else transparent."""
    height, width = alpha.shape
    kept = alpha < 128
    edge = soften(kept, 0 if kept.all() else 1)
    grown = cv2.dilate(kept.view(np.uint8), _disc(max(3, round(EDGE * max(width, height))))) > 0
    opacity = np.maximum(soften(grown, 1), edge)
    solid = np.full(alpha.shape, 255, np.uint32) if pixels.shape[2] == 3 else pixels[..., 3].astype(np.uint32)
    shown = ((solid * (255 - alpha) + 127) // 255).astype(np.uint8)  # what is translucent shows the edge's colour
    plain = np.full((height, width, 3), task.rgb, np.uint8)
    inner = blend(plain, pixels[..., :3], shown)
    result = np.dstack([inner, opacity])
    result[opacity == 0] = 0
    return result


def _pixelated(part: np.ndarray) -> np.ndarray:
    height, width = part.shape[:2]
    size = max(2, round(max(height, width) / PIECES))
    everything = sv.Detections(np.array([[0, 0, width, height]], np.float32))
    return sv.PixelateAnnotator(pixel_size=min(size, height, width)).annotate(part.copy(), everything)


def _blurred(part: np.ndarray, spread: float, inside: np.ndarray | None = None) -> np.ndarray:
    """A part blurred by a Gaussian; only of what is `inside`, if given, so that what is sharp casts no halo."""
    scale = max(1, int(spread / 4))  # a wide blur of a small copy is the same, and takes no time
    size = (max(1, part.shape[1] // scale), max(1, part.shape[0] // scale))
    known = np.ones(part.shape[:2], np.float32) if inside is None else inside.astype(np.float32)
    values = cv2.resize(part.astype(np.float32) * known[..., None], size, interpolation=cv2.INTER_AREA)
    weights = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    sigma = max(0.5, spread / scale)
    total, share = (cv2.GaussianBlur(each, (0, 0), sigma) for each in (values, weights))
    mean = total / np.maximum(share, 1e-4)[..., None]
    enlarged = cv2.resize(mean, part.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(np.rint(enlarged), 0, 255).astype(np.uint8)


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
