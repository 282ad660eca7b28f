"""One drawing on its way into a scene: coloured, turned. Pictures are RGBA, uint8, not premultiplied."""

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

# Ranges of (hue in degrees, saturation, value) that people call by the word without thinking.
COLOUR_RANGES = {
    "red": ((-8, 6), (0.8, 0.95), (0.75, 0.95)),
    "orange": ((22, 32), (0.85, 1.0), (0.92, 1.0)),
    "yellow": ((49, 57), (0.75, 0.95), (0.95, 1.0)),
    "green": ((105, 145), (0.6, 0.9), (0.5, 0.75)),
    "blue": ((207, 230), (0.7, 0.95), (0.7, 0.95)),
    "purple": ((268, 284), (0.55, 0.8), (0.55, 0.8)),
    "pink": ((325, 345), (0.4, 0.6), (0.95, 1.0)),
    "brown": ((18, 28), (0.55, 0.75), (0.36, 0.5)),
    "black": ((0, 360), (0.0, 0.12), (0.12, 0.2)),
    "white": ((0, 360), (0.0, 0.03), (0.94, 1.0)),
    "gray": ((0, 360), (0.0, 0.06), (0.48, 0.6)),
}
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Pose:
    """How a drawing lies in the picture.

    Args:
        size: its longest side in pixels before it is turned.
        angle: degrees, counter-clockwise.
        mirror: left and right exchanged.
        stretch: width over height, relative to the drawing.
        shear: horizontal shift per unit of height.
        corners: (4, 2) shifts of the corners as parts of the size, which give a slight perspective.
    """

    size: float
    angle: float = 0.0
    mirror: bool = False
    stretch: float = 1.0
    shear: float = 0.0
    corners: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 4


def fit(sprite: Image.Image, size: float) -> Image.Image:
    """Scaled down so that the longest side is about `size` pixels, never up: warping does that."""
    scale = size / max(sprite.size)
    if scale >= 0.8:
        return sprite
    return sprite.resize(
        (max(2, round(sprite.width * scale)), max(2, round(sprite.height * scale))), Image.Resampling.BOX
    )


def warp(sprite: Image.Image, pose: Pose) -> Image.Image:
    """The drawing in its pose, in the smallest upright rectangle that holds it."""
    scale = pose.size / max(sprite.size)
    width = sprite.width * scale * math.sqrt(pose.stretch)
    height = sprite.height * scale / math.sqrt(pose.stretch)
    x = np.array([-0.5, 0.5, 0.5, -0.5]) * width
    y = np.array([-0.5, -0.5, 0.5, 0.5]) * height
    corners = np.array(pose.corners) * pose.size
    x, y = x + pose.shear * y + corners[:, 0], y + corners[:, 1]
    cos, sin = math.cos(math.radians(pose.angle)), math.sin(math.radians(pose.angle))
    x, y = cos * x + sin * y, cos * y - sin * x
    x, y = x - x.min(), y - y.min()
    if pose.mirror:
        x = x.max() - x
    size = (max(1, math.ceil(x.max() - 1e-6)), max(1, math.ceil(y.max() - 1e-6)))
    source_x = np.array([0, sprite.width, sprite.width, 0], float)
    source_y = np.array([0, 0, sprite.height, sprite.height], float)
    coefficients = _homography(x, y, source_x, source_y)
    return sprite.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)


def _homography(x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> list[float]:
    """Pillow's eight perspective coefficients, which map output points (x, y) to input points (u, v)."""
    one, zero = np.ones(4), np.zeros(4)
    rows_u = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=1)
    rows_v = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=1)
    return np.linalg.solve(np.concatenate([rows_u, rows_v]), np.concatenate([u, v])).tolist()


def tint(sprite: Image.Image, colour: str, rng: np.random.Generator) -> Image.Image:
    """The drawing in a named colour, light and shade kept.

    Where one colour covers most of it (a car's paint), only that is replaced; everything is where none does.

    Args:
        colour: one of `COLOUR_RANGES`.
    """
    hue, saturation, value = (float(rng.uniform(*span)) for span in COLOUR_RANGES[colour])
    target = np.array(colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value), np.float32)
    part = _main_colour(np.asarray(sprite.convert("RGB").convert("HSV")), np.asarray(sprite)[..., 3])
    gloss = 0.35 if colour in ("black", "brown", "gray") else 0.6
    return Image.fromarray(paint_over(np.asarray(sprite), target, part, gloss))


def paint_over(
    pixels: np.ndarray, target: np.ndarray, part: np.ndarray | None = None, gloss: float = 0.6
) -> np.ndarray:
    """What is drawn, (H, W, 4) uint8, in another colour, light and shade kept.

    Args:
        target: (3,) in [0, 1].
        part: (H, W) float32 in [0, 1], how much of each pixel is painted; None: all.
        gloss: how white the lightest places become, in [0, 1].
    """
    if part is None:
        part = np.ones(pixels.shape[:2], np.float32)
    rgb = pixels[..., :3].astype(np.float32) / 255
    luma = rgb @ LUMA
    seen = luma[(part > 0.5) & (pixels[..., 3] > 127)]
    middle = float(np.clip(np.percentile(seen, 60), 0.1, 0.9)) if seen.size else 0.5
    shade = np.minimum(luma / middle, 1)[..., None]
    light = np.clip((luma - middle) / (1 - middle), 0, 1)[..., None]
    painted = target * shade + (1 - target) * light * gloss
    rgb += part[..., None] * (painted - rgb)
    return _with_rgb(pixels, rgb)


def _main_colour(hsv: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1]: how much each pixel belongs to the colour that covers most of the drawing."""
    hue, strength = hsv[..., 0].astype(np.int32), hsv[..., 1]
    vivid = (strength > 70) & (hsv[..., 2] > 60) & (alpha > 127)
    counts = np.bincount(hue[vivid] // 8, minlength=32)
    near = counts + np.roll(counts, 1) + np.roll(counts, -1)
    if near.max() < 0.4 * max(1, int((alpha > 127).sum())):
        return np.ones(hue.shape, np.float32)
    centre = int(near.argmax()) * 8 + 4
    distance = np.abs((hue - centre + 128) % 256 - 128)
    close = np.clip((42 - distance) / 14, 0, 1).astype(np.float32)
    return close * np.clip((strength.astype(np.float32) - 25) / 40, 0, 1)


def with_rgb(pixels: np.ndarray, rgb: np.ndarray) -> Image.Image:
    """`rgb` in [0, 1] with the alpha of `pixels`."""
    return Image.fromarray(_with_rgb(pixels, rgb))


def _with_rgb(pixels: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    result = pixels.copy()
    result[..., :3] = np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)
    return result
