"""The example pictures of the page, laid out by hand and drawn by the scenes' code.

    python -m groundingdino.training.scenes.examples            # writes assets/examples

writes a picture each and `examples.json`, a list of {"file", "prompt"}.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from groundingdino.artwork.drawings import MAIN_STYLE, Artwork
from groundingdino.artwork.names import load_names
from groundingdino.artwork.sprites import Pose, fit, tint, warp
from groundingdino.files.assets import ASSETS
from groundingdino.training.scenes.backgrounds import noise
from groundingdino.training.scenes.canvas import Canvas, Shadow

FOLDER = ASSETS / "examples"
RESOLUTION = 512  # pixels; objects are drawn smaller than this
ON_GROUND = Shadow(blur=0.03, right=0.01, down=0.03, strength=0.35)

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Item:
    """An object of an example.

    Args:
        name: of `names.tsv`.
        x, y: centre, as parts of the picture's width and height.
        size: longest side as a part of the picture's short side.
        drawing: which of the name's drawings.
        colour: a colour word to tint it with.
    """

    name: str
    x: float
    y: float
    size: float
    angle: float = 0.0
    drawing: int = 0
    colour: str | None = None
    mirror: bool = False


@dataclass(frozen=True)
class Example:
    """A picture to be drawn, and the prompt the page suggests for it."""

    file: str
    prompt: str
    size: tuple[int, int]
    background: Callable[[int, int], Image.Image]
    items: tuple[Item, ...]
    shadow: Shadow | None = ON_GROUND


def draw(example: Example, artwork: Artwork) -> Canvas:
    """The picture of an example: the same bytes on every call."""
    rng = np.random.default_rng(0)
    width, height = example.size
    names = {name.name: name for name in load_names()}
    canvas = Canvas(example.background(width, height))
    for item in example.items:
        drawing = names[item.name].drawings[item.drawing]
        size = item.size * min(width, height)
        sprite = fit(artwork.sprite(MAIN_STYLE, drawing.codepoints), size)
        if item.colour is not None:
            sprite = tint(sprite, item.colour, rng)
        sprite = warp(sprite, Pose(size, angle=item.angle, mirror=item.mirror))
        x, y = round(item.x * width - sprite.width / 2), round(item.y * height - sprite.height / 2)
        canvas.put(sprite, x, y, example.shadow)
    return canvas


def _down(width: int, height: int, top: Colour, bottom: Colour) -> Image.Image:
    """A smooth change from the top to the bottom."""
    part = np.linspace(0, 1, height)[:, None, None]
    rows = np.array(top) * (1 - part) + np.array(bottom) * part
    return Image.fromarray(np.broadcast_to(rows, (height, width, 3)).round().astype(np.uint8))


def _grained(picture: Image.Image, seed: int, cells: float, strength: float) -> Image.Image:
    grey = noise(np.random.default_rng(seed), *picture.size, cells)
    return Image.blend(picture, Image.merge("RGB", (grey, grey, grey)), strength)


def _meadow(width: int, height: int) -> Image.Image:
    picture = _down(width, height, (126, 195, 240), (228, 243, 250))
    hills = ImageDraw.Draw(picture)
    hills.ellipse((-0.3 * width, 0.42 * height, 0.7 * width, 1.5 * height), fill=(150, 204, 116))
    hills.ellipse((0.35 * width, 0.38 * height, 1.5 * width, 1.6 * height), fill=(132, 192, 102))
    hills.ellipse((-0.6 * width, 0.52 * height, 1.6 * width, 2.2 * height), fill=(112, 178, 88))
    return _grained(picture.filter(ImageFilter.GaussianBlur(1)), 1, 14, 0.05)


def _desk(width: int, height: int) -> Image.Image:
    planks = 5
    picture = Image.new("RGB", (width, height))
    rng = np.random.default_rng(2)
    for plank in range(planks):
        top, bottom = plank * height // planks, (plank + 1) * height // planks
        grain = noise(rng, width // 10, bottom - top, 5).resize((width, bottom - top), Image.Resampling.BICUBIC)
        shade = int(rng.integers(-8, 9))
        wood = Image.new("RGB", grain.size, (214 + shade, 172 + shade, 124 + shade))
        picture.paste(Image.blend(wood, Image.merge("RGB", (grain, grain, grain)), 0.08), (0, top))
        ImageDraw.Draw(picture).line((0, top, width, top), fill=(168, 126, 84), width=2)
    return picture


def _street(width: int, height: int) -> Image.Image:
    picture = _down(width, height, (152, 205, 242), (250, 240, 225))
    draw = ImageDraw.Draw(picture)
    rng = np.random.default_rng(3)
    left = 0
    while left < width:
        wide, top = int(rng.integers(60, 120)), int(rng.uniform(0.14, 0.36) * height)
        fill = ((232, 205, 178), (214, 190, 196), (190, 204, 214), (226, 216, 190))[rng.integers(4)]
        draw.rectangle((left, top, left + wide, 0.6 * height), fill=fill)
        for y in range(top + 14, int(0.52 * height), 30):
            for x in range(left + 12, left + wide - 16, 26):
                draw.rectangle((x, y, x + 11, y + 15), fill=(245, 240, 225))
        left += wide
    draw.rectangle((0, 0.56 * height, width, 0.64 * height), fill=(205, 203, 200))
    draw.rectangle((0, 0.64 * height, width, height), fill=(104, 108, 116))
    for x in range(20, width, 120):
        draw.rectangle((x, 0.81 * height, x + 60, 0.825 * height), fill=(240, 236, 224))
    return _grained(picture, 3, 60, 0.03)


def _sea(width: int, height: int) -> Image.Image:
    picture = _down(width, height, (96, 200, 226), (14, 82, 138))
    light = Image.new("L", (width, height))
    rays = ImageDraw.Draw(light)
    for x in (0.1, 0.34, 0.6, 0.85):
        rays.polygon(
            [(x * width, -10), ((x + 0.09) * width, -10), ((x - 0.02) * width, height), ((x - 0.3) * width, height)],
            fill=34,
        )
    picture.paste((255, 255, 255), (0, 0), light.filter(ImageFilter.GaussianBlur(14)))
    sand = ImageDraw.Draw(picture)
    sand.ellipse((-0.4 * width, 0.84 * height, 1.1 * width, 1.3 * height), fill=(226, 205, 160))
    sand.ellipse((0.2 * width, 0.87 * height, 1.6 * width, 1.3 * height), fill=(236, 216, 172))
    return _grained(picture, 4, 10, 0.03)


def _party(width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), (253, 232, 225))
    draw = ImageDraw.Draw(picture)
    for row, y in enumerate(range(0, int(0.72 * height), 48)):
        for x in range(24 * (row % 2), width + 48, 48):
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=(250, 214, 206))
    draw.rectangle((0, 0.7 * height, width, height), fill=(186, 222, 214))
    draw.rectangle((0, 0.7 * height, width, 0.712 * height), fill=(160, 202, 193))
    return picture


def _night(width: int, height: int) -> Image.Image:
    picture = _grained(_down(width, height, (18, 20, 52), (70, 44, 110)), 5, 3, 0.1)
    draw = ImageDraw.Draw(picture)
    rng = np.random.default_rng(5)
    for _ in range(140):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.4, 1.6)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(235, 235, 250))
    draw.ellipse((-0.3 * width, 0.86 * height, 1.3 * width, 1.6 * height), fill=(148, 140, 160))
    return picture


EXAMPLES = (
    Example(
        file="picnic.webp",
        prompt="cat . pizza . red apple . bread",
        size=(960, 640),
        background=_meadow,
        items=(
            Item("kite", 0.9, 0.14, 0.2),
            Item("cloud", 0.42, 0.12, 0.24),
            Item("tree", 0.12, 0.36, 0.52),
            Item("butterfly", 0.72, 0.3, 0.11, angle=15),
            Item("bread", 0.82, 0.58, 0.3),
            Item("cat", 0.37, 0.58, 0.4, drawing=1),
            Item("pizza", 0.6, 0.76, 0.28, angle=-10),
            Item("apple", 0.2, 0.84, 0.15),
            Item("apple", 0.31, 0.89, 0.15, drawing=1),
            Item("watermelon", 0.86, 0.86, 0.24),
        ),
    ),
    Example(
        file="desk.webp",
        prompt="laptop . cup of coffee . headphones . phone",
        size=(880, 660),
        background=_desk,
        items=(
            Item("laptop", 0.42, 0.34, 0.52),
            Item("potted plant", 0.87, 0.25, 0.34),
            Item("coffee", 0.13, 0.3, 0.26),
            Item("headphones", 0.14, 0.74, 0.3, angle=12),
            Item("notebook", 0.4, 0.78, 0.3, drawing=1, angle=-6),
            Item("pencil", 0.56, 0.8, 0.22, angle=20),
            Item("mobile phone", 0.72, 0.72, 0.28, angle=8),
            Item("glasses", 0.88, 0.6, 0.24, angle=-8),
        ),
    ),
    Example(
        file="street.webp",
        prompt="blue car . red car . dog . traffic light . taxi",
        size=(960, 540),
        background=_street,
        items=(
            Item("traffic light", 0.06, 0.4, 0.34, drawing=1),
            Item("tree", 0.29, 0.38, 0.46),
            Item("tree", 0.94, 0.36, 0.48),
            Item("bicycle", 0.44, 0.54, 0.22),
            Item("dog", 0.16, 0.53, 0.2, drawing=1),
            Item("bus", 0.66, 0.58, 0.42),
            Item("car", 0.17, 0.81, 0.34, colour="red"),
            Item("car", 0.47, 0.84, 0.34, colour="blue"),
            Item("taxi", 0.83, 0.84, 0.34),
        ),
    ),
    Example(
        file="sea.webp",
        prompt="turtle . tropical fish . octopus . whale",
        size=(640, 880),
        background=_sea,
        items=(
            Item("whale", 0.62, 0.17, 0.46, drawing=1),
            Item("tropical fish", 0.24, 0.27, 0.22),
            Item("tropical fish", 0.4, 0.37, 0.17, mirror=True),
            Item("fish", 0.82, 0.36, 0.2),
            Item("turtle", 0.3, 0.55, 0.34),
            Item("octopus", 0.72, 0.6, 0.4),
            Item("coral", 0.86, 0.85, 0.32),
            Item("crab", 0.42, 0.88, 0.26),
            Item("shell", 0.13, 0.9, 0.15),
        ),
        shadow=None,
    ),
    Example(
        file="party.webp",
        prompt="birthday cake . yellow balloon . gift . cupcake . teddy bear",
        size=(720, 720),
        background=_party,
        items=(
            Item("balloon", 0.12, 0.2, 0.3, angle=8, colour="red"),
            Item("balloon", 0.33, 0.14, 0.28, colour="yellow"),
            Item("balloon", 0.86, 0.18, 0.3, angle=-8, colour="blue"),
            Item("party popper", 0.61, 0.26, 0.22),
            Item("teddy bear", 0.18, 0.64, 0.34),
            Item("birthday cake", 0.51, 0.63, 0.42),
            Item("gift", 0.82, 0.68, 0.28),
            Item("cupcake", 0.33, 0.87, 0.18),
            Item("gift", 0.66, 0.88, 0.18, colour="purple"),
        ),
    ),
    Example(
        file="space.webp",
        prompt="rocket . ufo . astronaut . robot",
        size=(900, 675),
        background=_night,
        items=(
            Item("saturn", 0.16, 0.22, 0.32),
            Item("crescent moon", 0.87, 0.17, 0.22),
            Item("star", 0.41, 0.12, 0.1),
            Item("star", 0.66, 0.36, 0.08),
            Item("comet", 0.61, 0.12, 0.18),
            Item("rocket", 0.42, 0.47, 0.42),
            Item("ufo", 0.8, 0.53, 0.32),
            Item("robot", 0.13, 0.78, 0.28),
            Item("astronaut", 0.47, 0.83, 0.3),
            Item("alien", 0.82, 0.83, 0.26),
        ),
        shadow=None,
    ),
)


# Photographs that are shown beside them, as they are, and their prompts; see README.md in their folder.
PHOTOGRAPHED = {"cat.webp": "cat", "astronaut.webp": "person . head"}


def main() -> None:
    """Command line, see the top of the file."""
    parser = argparse.ArgumentParser(prog="python -m groundingdino.training.scenes.examples", description="Draws them.")
    parser.add_argument("--output", type=Path, default=FOLDER, help="default: %(default)s")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    artwork = Artwork((MAIN_STYLE,), RESOLUTION)
    for example in EXAMPLES:
        Image.fromarray(draw(example, artwork).pixels).save(folder / example.file, quality=88, method=6)
    prompts = {example.file: example.prompt for example in EXAMPLES} | PHOTOGRAPHED
    record = [{"file": file, "prompt": prompt} for file, prompt in prompts.items()]
    (folder / "examples.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{folder}: {len(EXAMPLES)} examples")


if __name__ == "__main__":
    main()
