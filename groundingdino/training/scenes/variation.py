"""A drawing as another hand might have drawn it. Pictures are RGBA, uint8, not premultiplied."""

import math

import numpy as np
from PIL import Image, ImageFilter

from groundingdino.artwork.sprites import LUMA, with_rgb


def vary(sprite: Image.Image, rng: np.random.Generator, keep_colour: bool) -> Image.Image:
    """A drawing as another hand might have drawn it: colours, lines, texture.

    Args:
        keep_colour: its colour is named in the prompt, or might be, so the hue stays.
    """
    pixels = np.asarray(sprite)
    rgb = pixels[..., :3].astype(np.float32)
    rgb = _relight(rgb, rng) if keep_colour else _recolour(rgb, rng)
    if rng.random() < 0.08:  # flat colours
        step = np.float32(255 / rng.integers(2, 5))
        rgb = np.round(rgb / step) * step
    if rng.random() < 0.12:  # texture
        fine = rng.integers(0, 256, (pixels.shape[0] // 2 + 1, pixels.shape[1] // 2 + 1), np.uint8)
        grain = np.asarray(Image.fromarray(fine).resize(sprite.size, Image.Resampling.BICUBIC), np.float32)
        rgb += (grain - 128)[..., None] * np.float32(rng.uniform(0.1, 0.4))
    if rng.random() < 0.2:  # drawn lines
        rgb = _ink(rgb, rng)
    result = with_rgb(pixels, rgb / 255)
    if rng.random() < 0.2:
        result = _outline(result, rng)
    if rng.random() < 0.25:  # soft edges
        alpha = result.getchannel("A").filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.0))))
        result.putalpha(alpha)
    return result


def _relight(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rgb - 128) * np.float32(rng.uniform(0.85, 1.1)) + np.float32(128 + rng.uniform(-12, 12))


def _recolour(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = (rgb @ LUMA)[..., None]
    chance = rng.random()
    if chance < 0.08:  # black and white, or one colour
        rgb = grey * np.array([1, 1, 1] if rng.random() < 0.5 else rng.uniform(0.6, 1.2, 3), np.float32)
    elif chance < 0.5:
        rgb = grey + (rgb - grey) * np.float32(rng.uniform(0.4, 1.4))
        rgb = rgb @ _hue_rotation(float(rng.normal(0, 18)))
    elif chance < 0.6:
        rgb = rgb @ _hue_rotation(float(rng.uniform(-180, 180)))
    if rng.random() < 0.5:
        rgb = (rgb - 128) * np.float32(rng.uniform(0.7, 1.2)) + 128 + rng.uniform(-25, 25, 3).astype(np.float32)
    return rgb


def _hue_rotation(degrees: float) -> np.ndarray:
    """(3, 3) matrix, to be multiplied from the right: turns colours around the grey axis."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    third, root = (1 - cos) / 3, math.sqrt(1 / 3) * sin
    a, b, c = cos + third, third - root, third + root
    return np.array([[a, c, b], [b, a, c], [c, b, a]], np.float32)


def _ink(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darker where the colours change, as if lines had been drawn."""
    luma = rgb @ LUMA
    edge = np.zeros_like(luma)
    edge[:, 1:] += np.abs(luma[:, 1:] - luma[:, :-1])
    edge[1:] += np.abs(luma[1:] - luma[:-1])
    return rgb * (1 - np.clip(edge * np.float32(rng.uniform(0.005, 0.03)), 0, 0.9))[..., None]


def _outline(sprite: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A contour of one colour around the drawing, mostly dark or white."""
    radius = int(rng.integers(1, 1 + max(1, max(sprite.size) // 40)))
    size = (sprite.width + 2 * radius, sprite.height + 2 * radius)
    wide = Image.new("RGBA", size)
    wide.paste(sprite, (radius, radius))
    level = 255 if rng.random() < 0.3 else int(rng.integers(0, 60))
    line = Image.new("RGBA", size, (level, level, level, 255))
    line.putalpha(wide.getchannel("A").filter(ImageFilter.MaxFilter(2 * radius + 1)))
    return Image.alpha_composite(line, wide)
