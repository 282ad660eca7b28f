"""A picture while objects are put into it, which knows what is seen at each pixel."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

SOLID = 128  # alpha from which a pixel belongs to the object
MIN_VISIBLE = 0.6  # of an object's own pixels, when others cover it
MIN_INSIDE = 0.75  # of an object's own pixels, when the picture ends


@dataclass(frozen=True)
class Shadow:
    """A soft shadow; lengths are parts of the object's longest side, strength is in [0, 1]."""

    blur: float
    right: float
    down: float
    strength: float


class Canvas:
    """A picture and its objects.

    Args:
        background: RGB; it is copied.

    Attributes:
        pixels: (H, W, 3) uint8.
        owners: (H, W) uint8, the index of the object seen at each pixel plus one; 0 is background.
    """

    def __init__(self, background: Image.Image):
        self.pixels: np.ndarray = np.array(background)
        self.owners: np.ndarray = np.zeros(self.pixels.shape[:2], np.uint8)
        self._areas: list[int] = []  # pixels of each object as if nothing covered it

    def has_room(self, sprite: Image.Image, x: int, y: int) -> bool:
        """Whether an RGBA object at (x, y), its upper left corner, would leave itself and all others visible."""
        solid = np.asarray(sprite)[..., 3] >= SOLID
        area = int(solid.sum())
        target, source = self._overlap(solid.shape, x, y)
        mine = solid[source]
        if area == 0 or mine.sum() < MIN_INSIDE * area:
            return False
        covered = np.bincount(self.owners[target][mine], minlength=len(self._areas) + 1)[1:]
        if not covered.any():
            return True
        left = np.bincount(self.owners.ravel(), minlength=len(self._areas) + 1)[1:] - covered
        return bool((left >= MIN_VISIBLE * np.array(self._areas))[covered > 0].all())

    def put(self, sprite: Image.Image, x: int, y: int, shadow: Shadow | None = None) -> None:
        """Draw an RGBA object with its upper left corner at (x, y), over all before it."""
        source_pixels = np.asarray(sprite)
        solid = source_pixels[..., 3] >= SOLID
        if shadow is not None:
            self._shade(source_pixels[..., 3], x, y, shadow)
        target, source = self._overlap(solid.shape, x, y)
        alpha = source_pixels[source][..., 3:].astype(np.uint16)
        colour = source_pixels[source][..., :3]
        self.pixels[target] = (colour * alpha + self.pixels[target] * (255 - alpha) + 127) // 255
        self._areas.append(int(solid.sum()))
        self.owners[target][solid[source]] = len(self._areas)

    def boxes(self) -> np.ndarray:
        """(N, 4) float32: xyxy pixels of the visible part of each object, zeros where nothing of it is seen."""
        boxes = np.zeros((len(self._areas), 4), np.float32)
        for index in range(len(boxes)):
            mask = self.owners == index + 1
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            if columns.size:
                boxes[index] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        return boxes

    def visible_shares(self) -> np.ndarray:
        """(N,) float32 in [0, 1]: how much of each object is seen; the rest is covered or outside the picture."""
        seen = np.bincount(self.owners.ravel(), minlength=len(self._areas) + 1)[1:]
        return (seen / np.maximum(self._areas, 1)).astype(np.float32)

    def _shade(self, alpha: np.ndarray, x: int, y: int, shadow: Shadow) -> None:
        side = max(alpha.shape)
        blur = side * shadow.blur
        margin = math.ceil(2 * blur)
        soft = Image.new("L", (alpha.shape[1] + 2 * margin, alpha.shape[0] + 2 * margin))
        soft.paste(Image.fromarray(np.ascontiguousarray(alpha)), (margin, margin))
        dark = np.asarray(soft.filter(ImageFilter.GaussianBlur(blur)), np.uint16) * round(255 * shadow.strength) // 255
        left, top = x - margin + round(side * shadow.right), y - margin + round(side * shadow.down)
        target, source = self._overlap(dark.shape, left, top)
        self.pixels[target] = self.pixels[target] * (255 - dark[source][..., None]) // 255

    def _overlap(self, shape: tuple[int, ...], x: int, y: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Slices of the picture and of an (H, W) array laid at (x, y), where they overlap; empty where they do not."""
        height, width = self.owners.shape
        x0, y0 = min(max(x, 0), width), min(max(y, 0), height)
        x1, y1 = max(x0, min(x + shape[1], width)), max(y0, min(y + shape[0], height))
        source = (slice(max(y0 - y, 0), max(y1 - y, 0)), slice(max(x0 - x, 0), max(x1 - x, 0)))
        return (slice(y0, y1), slice(x0, x1)), source
