"""A painter without a model: fills what is edited from around it, and lays drawings of the text's name over that."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Lock
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from groundingdino.artwork.drawings import MAIN_STYLE, TRAINING_STYLES, Artwork
from groundingdino.artwork.names import Drawing, Name
from groundingdino.artwork.reading import Wanted, read
from groundingdino.artwork.sprites import Pose, tint, warp
from groundingdino.editing.available_models import INPAINTERS, InpainterCard
from groundingdino.editing.blending import blend
from groundingdino.editing.crops import Crop
from groundingdino.editing.edits import Sampling
from groundingdino.editing.filling import fill
from groundingdino.editing.perform import BoxText, Painted
from groundingdino.editing.preview import PaintStep
from groundingdino.editing.silhouettes import SMALL, apart, cut_out, upright
from groundingdino.runtime.interruption import StopCheck, raise_if

SHARE = 0.92  # of a box's sides: how much of it a drawing takes
MOST_STRETCH = 1.2  # of a drawing's width over height, to take more of its box
KEEPS_POSE = 0.75  # how many seeds turn the drawing to the side to which the object was turned
TURN = 3.0  # degrees, the standard deviation of small turns
CHANGED = 24  # grey levels from which a pixel belonged to what was there
SHADOW_SHOWS = 3.0  # grey levels by which the ground below an object is darker if it has a shadow
CUT_OFF = 0.1  # of a drawing: from then on a note says that the mask cuts it off


class _Chosen(NamedTuple):
    """A drawing of a style, and how it lies."""

    drawing: Drawing
    style: str
    mirror: bool
    angle: float


@dataclass(frozen=True)
class _Place:
    """A box in pixels of what is painted, and what was there.

    Attributes:
        box: x0, y0, x1, y1.
        shape: (SMALL, SMALL) bool, the silhouette of what was there, see `upright`.
        shade: How much darker the ground below it was than it is now, in grey levels.
    """

    box: tuple[float, float, float, float]
    shape: np.ndarray
    shade: float

    @property
    def size(self) -> tuple[float, float]:
        """Of a drawing at most, in pixels."""
        x0, y0, x1, y1 = self.box
        return SHARE * (x1 - x0), SHARE * (y1 - y0)


class Stickers:
    """Lays drawings; safe to share between threads."""

    paints_regions = True
    lays_drawings = True

    def __init__(self, card: InpainterCard = INPAINTERS["embedded"]):
        self.card = card
        self._artwork: dict[str, Artwork] = {}  # by style, read when first needed
        self._reading = Lock()

    @property
    def name(self) -> str:
        """That of its card."""
        return self.card.name

    def paint(
        self,
        pixels: np.ndarray,
        mask: np.ndarray,
        alpha: np.ndarray,
        texts: tuple[BoxText, ...],
        sampling: Sampling,
        report: Callable[[PaintStep], None],
        stop: StopCheck | None = None,
    ) -> Painted:
        """Fill a mask from around it, and lay a drawing into each box that has a text.

        The seed chooses the drawings, their style and how they lie; what else `sampling` says is refused.

        Args:
            pixels: (H, W, 3) uint8.
            mask: (H, W) bool, what is filled.
            alpha: (H, W) uint8, the mask with its soft edge: all of it will be in the result.
            texts: What to draw where; "" draws nothing.
            sampling: With a seed.
            report: Called before the fill, after it and after each drawing.
            stop: Called as often; once it returns True, `interruption.Stopped` is raised.

        Raises:
            ValueError: there is no drawing of what a text asks for, see `reading.read`; settings mean nothing to it.
        """
        self.card.refuse_ignored(sampling)
        wanted = [read(text) if text else None for _, text in texts]  # at once, before anything takes time
        steps = 1 + sum(each is not None for each in wanted)
        crop, filled = fill(pixels, mask, alpha)
        report(PaintStep(0, steps, crop, None))
        canvas, inside = filled.copy(), alpha[crop.window]
        report(PaintStep(1, steps, crop, canvas.copy()))
        notes: list[str] = []
        drawn = []
        rng = np.random.default_rng(sampling.seed)
        style = _style_of(sampling.seed or 0)
        for (box, _), each in zip(texts, wanted, strict=True):
            raise_if(stop)
            if each is None:
                continue
            place = _look_at(pixels[crop.window], filled, _moved(box, crop))
            chosen = self._choose(each, style, place, rng)
            cut_off = self._lay(canvas, inside, each, place, chosen, rng)
            drawn.append([each.name.name, chosen.style, chosen.drawing.codepoints])
            notes += [*_about(each, cut_off)]
            report(PaintStep(1 + len(drawn), steps, crop, canvas.copy()))
        return Painted(crop, canvas, tuple(notes), {"drawn": drawn})

    def _choose(self, wanted: Wanted, style: str, place: _Place, rng: np.random.Generator) -> _Chosen:
        """The drawing that is most like what was there, in a style if that has it, turned by the seed."""
        name = wanted.name
        drawings = [each for each in name.drawings if each.colour == wanted.colour]
        drawings = drawings or [each for each in name.drawings if each.colour is None] or [*name.drawings]
        mirrors = (False, True) if name.pose == "" else (False,)
        likeness = {(each, mirror): self._likeness(each, mirror, place) for each in drawings for mirror in mirrors}
        (drawing, mirror) = max(likeness, key=lambda key: likeness[key])
        if len(mirrors) > 1 and rng.random() > KEEPS_POSE:
            mirror = not mirror
        style = style if self._of(style).has(style, drawing.codepoints) else MAIN_STYLE
        return _Chosen(drawing, style, mirror, 0.0 if name.pose else float(rng.normal(0, TURN)))

    def _likeness(self, drawing: Drawing, mirror: bool, place: _Place) -> float:
        """How well the outlines of a drawing and of what was there agree: minus their distance, in `SMALL`ths."""
        sprite = self._of(MAIN_STYLE).sprite(MAIN_STYLE, drawing.codepoints)
        opaque = np.asarray(sprite)[..., 3] > 127
        return -apart(upright(opaque[:, ::-1] if mirror else opaque), place.shape)

    def _lay(
        self,
        canvas: np.ndarray,
        inside: np.ndarray,
        wanted: Wanted,
        place: _Place,
        chosen: _Chosen,
        rng: np.random.Generator,
    ) -> float:
        """Draws into the canvas (H, W, 3), with a shadow if there was one; the share of it that the mask cuts off."""
        side = math.ceil(max(place.size))
        sprite = self._of(chosen.style).draw(chosen.style, chosen.drawing.codepoints, max(8, side))
        if wanted.colour is not None and wanted.colour != chosen.drawing.colour and wanted.name.tint:
            sprite = tint(sprite, wanted.colour, rng)
        width, height = _fitted(sprite.size, place.size)
        stretch = width / height / (sprite.width / sprite.height)
        pose = Pose(max(sprite.size), chosen.angle, chosen.mirror, stretch)
        turned = warp(sprite, pose)  # which needs more room
        scale = min(place.size[0] / turned.width, place.size[1] / turned.height)
        laid = warp(sprite, replace(pose, size=max(1.0, scale * pose.size)))
        x0, y0, x1, y1 = place.box
        x = round((x0 + x1 - laid.width) / 2)
        below = round(y1 - (1 - SHARE) / 2 * (y1 - y0) - laid.height)
        y = below if place.shade > SHADOW_SHOWS else round((y0 + y1 - laid.height) / 2)
        if place.shade > SHADOW_SHOWS:
            _shade(canvas, laid, x, y, min(0.5, place.shade / 60 + 0.15))
        target, source = _overlap(canvas.shape, laid, x, y)
        opacity = np.asarray(laid)[..., 3]
        canvas[target] = blend(canvas[target], np.asarray(laid)[source][..., :3], opacity[source])
        visible = (opacity[source] / 255 * (inside[target] / 255)).sum()
        return 1 - float(visible / max(1.0, (opacity / 255).sum()))

    def _of(self, style: str) -> Artwork:
        with self._reading:
            if style not in self._artwork:
                self._artwork[style] = Artwork((style,), resolution=SMALL)
            return self._artwork[style]


def _style_of(seed: int) -> str:
    """The main style for three of four seeds, the others in turn for the fourth: candidates count their seeds up.

    The main one is that of the examples, and what the detector finds again best by the same words.
    """
    others = [style for style in TRAINING_STYLES if style != MAIN_STYLE]  # the other one is drawn in outlines
    return others[seed // 4 % len(others)] if seed % 4 == 3 else MAIN_STYLE


def _look_at(before: np.ndarray, filled: np.ndarray, box: tuple[float, float, float, float]) -> _Place:
    """What was in a box: the pixels that the fill changed."""
    height, width = filled.shape[:2]
    x0, y0, x1, y1 = (round(edge) for edge in box)
    window = np.s_[max(0, y0) : max(1, min(y1, height)), max(0, x0) : max(1, min(x1, width))]
    steps = filled[window].astype(np.float32) - before[window]
    shape = cut_out(before, box, np.abs(steps).max(-1) > CHANGED)
    ground = steps[-max(1, round(len(steps) / 14)) :]  # below the object, as masks grow by a twelfth
    return _Place(box, upright(shape), float(ground.mean()) if y1 < height else 0.0)


def _fitted(drawing: tuple[int, int], room: tuple[float, float]) -> tuple[float, float]:
    """The largest (width, height) of a drawing in a room, stretched no more than `MOST_STRETCH`."""
    own, wished = drawing[0] / drawing[1], room[0] / room[1]
    aspect = own * min(max(wished / own, 1 / MOST_STRETCH), MOST_STRETCH)
    width = min(room[0], room[1] * aspect)
    return width, width / aspect


def _shade(canvas: np.ndarray, laid: Image.Image, x: int, y: int, strength: float) -> None:
    """A soft shadow under a drawing at (x, y), where it touches the ground."""
    low = np.asarray(laid)[-max(1, laid.height // 8) :, :, 3] > 127
    columns = np.flatnonzero(low.any(0))
    if not len(columns):
        return
    middle = (x + int(columns[0] + columns[-1]) // 2, y + laid.height - max(1, laid.height // 40))
    half = (max(2, round(0.55 * (columns[-1] - columns[0] + 1))), max(1, laid.height // 22))
    dark = np.zeros(canvas.shape[:2], np.float32)
    cv2.ellipse(dark, middle, half, 0, 0, 360, strength, cv2.FILLED, cv2.LINE_AA)
    soft = cv2.GaussianBlur(dark, (0, 0), max(1.0, laid.height / 40))
    canvas[:] = np.rint(canvas * (1 - soft[..., None])).astype(np.uint8)


def _overlap(
    shape: tuple[int, ...], laid: Image.Image, x: int, y: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of a canvas and of a drawing at (x, y), where they overlap."""
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = max(x0, min(x + laid.width, shape[1])), max(y0, min(y + laid.height, shape[0]))
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))


def _moved(box: tuple[float, float, float, float], crop: Crop) -> tuple[float, float, float, float]:
    left, top = crop.box[:2]
    return box[0] - left, box[1] - top, box[2] - left, box[3] - top


def _about(wanted: Wanted, cut_off: float) -> Iterator[str]:
    name: Name = wanted.name
    if wanted.unread:
        yield (
            f"The drawing shows '{name.name}' and leaves out '{' '.join(wanted.unread)}': for more than a name, choose "
            "a diffusion model."
        )
    if wanted.colour is not None and not name.tint and wanted.colour not in name.own_colours:
        yield f"The colour of '{name.name}' stays as it is drawn."
    if cut_off > CUT_OFF:
        yield "The mask cuts the drawing off: edit boxes instead of masks to see all of it."
