"""Edits to learn from: a square piece of a picture, what is repainted in it, and what is there afterwards.

The piece lies as an editor cuts it: the repainted region in its middle, the region's longest side `REGION_SHARE` of the
piece's. What a prompt names fills that region but for a margin, upright and in the main style; without a prompt the
surroundings go on.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from groundingdino.artwork.drawings import MAIN_STYLE, Artwork
from groundingdino.artwork.names import COLOURS, Name, load_names, plural
from groundingdino.artwork.sprites import Pose, fit, tint, warp
from groundingdino.training.backgrounds import paint
from groundingdino.training.canvas import SOLID, Canvas
from groundingdino.training.captions import ARTICLES, is_held_out

SIDE = 96  # pixels of a piece
REGION_SHARE = 0.8  # of the piece's side: the longest side of what is repainted
MARGIN = 0.08  # of the object's sides: how far the repainted region reaches beyond it, at each edge
MOST_STRETCH = 1.5  # of an object's width over height, to fill a region of another shape
BANK_SIDE = 384  # pixels of a background that pieces are cut from


@dataclass(frozen=True)
class Edit:
    """A piece of a picture after an edit.

    Args:
        image: (S, S, 3) uint8, RGB.
        mask: (S, S) bool, True where it was repainted.
        prompt: what was asked for; empty where the surroundings should go on.
    """

    image: np.ndarray
    mask: np.ndarray
    prompt: str


class EditMaker:
    """Makes edits; each depends on nothing but the maker's settings and its index.

    Args:
        artwork: the drawings; `MAIN_STYLE` has to be among them.
        seed: of everything.
        bank: how many backgrounds are painted ahead.
        fill_rate: how many of the edits have no prompt.
    """

    def __init__(self, artwork: Artwork, seed: int, bank: int = 256, fill_rate: float = 0.2):
        self.artwork, self.seed, self.bank, self.fill_rate = artwork, seed, bank, fill_rate
        self.names = load_names()

    def prototype(self, label: int) -> Image.Image:
        """The drawing that stands for a class: its first character in the main style."""
        return self.artwork.sprite(MAIN_STYLE, self.names[label].drawings[0].codepoints)

    def edit(self, index: int) -> Edit:
        """Edit number `index`."""
        rng = np.random.default_rng([self.seed, index])
        fills = rng.random() < self.fill_rate
        # Classes in turn, each time in another order.
        turn, place = divmod(index, len(self.names))
        label = int(np.random.default_rng([self.seed, 1, turn]).permutation(len(self.names))[place])
        aspect = self._draw_aspect(label, rng)
        region = _draw_region(aspect, rng)
        canvas = Canvas(self._background(rng))
        for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.6 else 0):
            self._put_neighbour(canvas, region, rng)
        if fills:
            return Edit(canvas.pixels, _draw_mask(region, rng), "")
        prompt, sprite = self.say(label, rng)
        mask = self._put_object(canvas, sprite, region, rng)
        return Edit(canvas.pixels, mask, prompt)

    def say(self, label: int, rng: np.random.Generator) -> tuple[str, Image.Image]:
        """A prompt for a class, and the drawing it asks for: sometimes in a colour."""
        name = self.names[label]
        sprite = self.prototype(label)
        text = name.name
        if name.synonyms and rng.random() < 0.2:
            text = name.synonyms[rng.integers(len(name.synonyms))]
        if rng.random() < 0.05:
            text = plural(text)
        colours = _tints(name)
        if colours and rng.random() < 0.12:
            colour = colours[rng.integers(len(colours))]
            text, sprite = f"{colour} {text}", tint(sprite, colour, rng)
        if rng.random() < 0.15:
            text = f"{ARTICLES[rng.integers(len(ARTICLES))]} {text}"
        return text, sprite

    def _draw_aspect(self, label: int, rng: np.random.Generator) -> float:
        """Width over height of a region: mostly near the object's own, sometimes that of something else."""
        sprite = self.prototype(label if rng.random() < 0.5 else int(rng.integers(len(self.names))))
        return float(np.clip(sprite.width / sprite.height * math.exp(rng.normal(0, 0.15)), 0.3, 3.3))

    def _put_object(
        self, canvas: Canvas, sprite: Image.Image, region: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Fill a region (x0, y0, x1, y1) but for its margin; returns what is repainted, (S, S) bool."""
        width, height = (region[2:] - region[:2]) / (1 + 2 * MARGIN)
        mask = _box_mask(region, rng)
        shape = rng.random()
        if shape < 0.12:  # rounder regions hold less
            width, height = 0.8 * width, 0.8 * height
            mask = _ellipse_mask(region)
        own = sprite.width / sprite.height
        stretch = width / height / own
        kept = math.exp(np.clip(math.log(stretch), -math.log(MOST_STRETCH), math.log(MOST_STRETCH)))
        if stretch > kept:
            width = height * own * kept
        elif stretch < kept:
            height = width / own / kept
        size = (max(2, round(width)), max(2, round(height)))
        drawn = sprite.resize(size, Image.Resampling.BOX if size[0] < sprite.width else Image.Resampling.BICUBIC)
        middle = (region[:2] + region[2:]) / 2
        x, y = round(float(middle[0]) - size[0] / 2), round(float(middle[1]) - size[1] / 2)
        canvas.put(drawn, x, y)
        if shape > 0.88:  # its own outline, generously
            mask = _grown(canvas.owners == canvas.owners.max(), int(rng.integers(4, 12)))
        return mask

    def _put_neighbour(self, canvas: Canvas, region: np.ndarray, rng: np.random.Generator) -> None:
        """Something else nearby, which the region hides a little of at most."""
        name = self.names[rng.integers(len(self.names))]
        drawing = name.drawings[rng.integers(len(name.drawings))]
        pose = Pose(
            size=SIDE * math.exp(rng.uniform(math.log(0.15), math.log(1.2))),
            angle=float(rng.normal(0, 10)),
            mirror=name.pose == "" and rng.random() < 0.5,
        )
        sprite = warp(fit(self.artwork.sprite(MAIN_STYLE, drawing.codepoints), pose.size), pose)
        for _ in range(8):
            x = int(rng.integers(-sprite.width // 2, SIDE - sprite.width // 2))
            y = int(rng.integers(-sprite.height // 2, SIDE - sprite.height // 2))
            overlap_x = min(x + sprite.width, region[2]) - max(x, region[0])
            overlap_y = min(y + sprite.height, region[3]) - max(y, region[1])
            hidden = max(0.0, overlap_x) * max(0.0, overlap_y) / (sprite.width * sprite.height)
            if hidden < 0.25:
                canvas.put(sprite, x, y)
                return

    @cached_property
    def _bank(self) -> list[Image.Image]:
        rng = np.random.default_rng([self.seed, 2])
        return [paint(rng, BANK_SIDE, BANK_SIDE) for _ in range(self.bank)]

    def _background(self, rng: np.random.Generator) -> Image.Image:
        picture = self._bank[rng.integers(self.bank)]
        side = BANK_SIDE * math.exp(rng.uniform(math.log(0.2), 0))
        left, top = (float(rng.uniform(0, BANK_SIDE - side)) for _ in range(2))
        picture = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
        if rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if rng.random() < 0.3:
            picture = Image.merge("RGB", [picture.getchannel(int(c)) for c in rng.permutation(3)])
        return picture


def _tints(name: Name) -> list[str]:
    return [colour for colour in COLOURS if name.tint and not is_held_out(colour, name)]


def _draw_region(aspect: float, rng: np.random.Generator) -> np.ndarray:
    """(x0, y0, x1, y1) float pixels of a region in the middle of a piece."""
    longest = SIDE * REGION_SHARE * rng.uniform(0.95, 1.05)
    size = np.array([longest * min(1, aspect), longest / max(1, aspect)])
    middle = SIDE / 2 + rng.uniform(-2, 2, 2)
    return np.concatenate([middle - size / 2, middle + size / 2])


def _draw_mask(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Any mask within a region: a box, an ellipse, or what somebody paints over."""
    kind = rng.random()
    if kind < 0.6:
        return _box_mask(region, rng)
    return _ellipse_mask(region) if kind < 0.75 else _strokes_mask(region, rng)


def _box_mask(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    x0, y0, x1, y1 = region.tolist()
    radius = float(rng.uniform(0, 0.25)) * min(x1 - x0, y1 - y0) if rng.random() < 0.3 else 0
    picture = Image.new("1", (SIDE, SIDE))
    ImageDraw.Draw(picture).rounded_rectangle((x0, y0, x1 - 1, y1 - 1), radius, fill=1)
    return np.array(picture)


def _ellipse_mask(region: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = region.tolist()
    picture = Image.new("1", (SIDE, SIDE))
    ImageDraw.Draw(picture).ellipse((x0, y0, x1 - 1, y1 - 1), fill=1)
    return np.array(picture)


def _strokes_mask(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    picture = Image.new("1", (SIDE, SIDE))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 4))):
        points = [tuple(rng.uniform(region[:2], region[2:]).tolist()) for _ in range(int(rng.integers(2, 6)))]
        draw.line(points, fill=1, width=int(rng.integers(4, 24)), joint="curve")
    return np.array(picture)


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.filter(ImageFilter.MaxFilter(2 * pixels + 1))) >= SOLID
