"""What is behind the objects: procedural pictures that belong to no name.

`paint` needs nothing but a random generator. All noise is integers scaled up by Pillow, which gives the same bytes on
every machine.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]


def paint(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A background: RGB, `width` x `height` pixels."""
    painter = _PAINTERS[rng.integers(len(_PAINTERS))]
    picture = painter(rng, width, height)
    if rng.random() < 0.3:
        _scatter(rng, picture)
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 3))))
    return picture


def noise(rng: np.random.Generator, width: int, height: int, cells: float, octaves: int = 4) -> Image.Image:
    """Cloud-like noise: greyscale, full range. `cells` is the number of coarsest features along the short side."""
    total = np.zeros((height, width), np.int32)
    for octave in range(octaves):
        scale = cells * 2**octave / min(width, height)
        grid = rng.integers(0, 256, (max(2, math.ceil(height * scale)), max(2, math.ceil(width * scale))), np.uint8)
        fine = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(fine, np.int32) << (octaves - 1 - octave)
    low, high = int(total.min()), int(total.max())
    return Image.fromarray(((total - low) * 255 // max(1, high - low)).astype(np.uint8))


def _colour(rng: np.random.Generator) -> Colour:
    """Any colour, the pale and the dull ones more often: strong ones are left to the objects."""
    base = rng.integers(0, 256, 3)
    grey = int(rng.integers(20, 256))
    mix = int(rng.integers(0, 90))
    red, green, blue = ((base * (100 - mix) + grey * mix) // 100).tolist()
    return red, green, blue


def _near(rng: np.random.Generator, colour: Colour, spread: int) -> Colour:
    red, green, blue = np.clip(np.array(colour) + rng.integers(-spread, spread + 1, 3), 0, 255).tolist()
    return red, green, blue


def _ramp(rng: np.random.Generator, grey: Image.Image, stops: int) -> Image.Image:
    """Greyscale -> RGB through a ramp of random colours, which are relatives of each other half of the time."""
    first = _colour(rng)
    related = rng.random() < 0.5
    colours = np.array([first] + [_near(rng, first, 60) if related else _colour(rng) for _ in range(stops - 1)])
    places = np.linspace(0, 255, stops)
    tables = [np.interp(np.arange(256), places, colours[:, channel]).round().astype(np.uint8) for channel in range(3)]
    values = np.asarray(grey)
    return Image.fromarray(np.stack([table[values] for table in tables], axis=-1))


def _directed(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(H, W) float64 in [0, 1]: distance along a random direction."""
    angle = float(rng.uniform(0, 2 * math.pi))
    across = np.arange(width) * math.cos(angle)
    down = np.arange(height) * math.sin(angle)
    distance = across[None] + down[:, None]
    return (distance - distance.min()) / max(1e-9, distance.max() - distance.min())


def _flat(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), _colour(rng))


def _gradient(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    values = _directed(rng, width, height)
    if rng.random() < 0.3:  # radial
        x = np.arange(width) / width - rng.uniform(0.2, 0.8)
        y = np.arange(height) / height - rng.uniform(0.2, 0.8)
        values = np.clip(np.sqrt(x[None] ** 2 + y[:, None] ** 2), 0, 1)
    return _ramp(rng, Image.fromarray((values * 255).astype(np.uint8)), int(rng.integers(2, 5)))


def _plasma(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    cells = float(np.exp(rng.uniform(math.log(1.5), math.log(16))))
    return _ramp(rng, noise(rng, width, height, cells), int(rng.integers(2, 5)))


def _photographic(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Soft shapes in independent channels and fine grain, as an unfocused photograph."""
    channels = [np.asarray(noise(rng, width, height, float(rng.uniform(1, 4)), 3), np.int32) for _ in range(3)]
    mean = sum(channels) // 3
    keep = int(rng.integers(20, 80))  # saturation in percent
    picture = np.stack([(mean * (100 - keep) + channel * keep) // 100 for channel in channels], axis=-1)
    grain = int(rng.integers(1, 12))
    picture += rng.integers(-grain, grain + 1, picture.shape)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def _stripes(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    count = float(rng.uniform(3, 30))
    values = (_directed(rng, width, height) * count % 1 * 255).astype(np.uint8)
    if rng.random() < 0.7:  # hard edges
        values = np.where(values < rng.integers(60, 200), np.uint8(0), np.uint8(255))
    return _ramp(rng, Image.fromarray(values), 2)


def _checker(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    cell = max(4, int(min(width, height) / rng.uniform(3, 20)))
    x, y = np.arange(width) // cell, np.arange(height) // cell
    if rng.random() < 0.4:  # tiles with joints
        joint = max(1, cell // 12)
        inside = (np.arange(width) % cell >= joint)[None] & (np.arange(height) % cell >= joint)[:, None]
        values = inside * np.uint8(255)
    else:
        values = ((x[None] + y[:, None]) % 2 * 255).astype(np.uint8)
    return _ramp(rng, Image.fromarray(values), 2)


def _dots(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    first = _colour(rng)
    picture = Image.new("RGB", (width, height), first)
    draw = ImageDraw.Draw(picture)
    step = max(6, int(min(width, height) / rng.uniform(4, 18)))
    radius = max(1, int(step * rng.uniform(0.1, 0.4)))
    colour = _colour(rng)
    for row, y in enumerate(range(0, height + step, step)):
        for x in range(row % 2 * (step // 2), width + step, step):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return picture


def _landscape(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Sky above hills or ground."""
    horizon = float(rng.uniform(0.3, 0.75)) * height
    sky, haze = _near(rng, (130, 180, 235), 60), _near(rng, (215, 225, 240), 30)
    down = np.clip(np.arange(height) / horizon, 0, 1)[:, None, None]
    column = np.array(sky) * (1 - down) + np.array(haze) * down
    picture = Image.fromarray(np.broadcast_to(column, (height, width, 3)).astype(np.uint8).copy())
    draw = ImageDraw.Draw(picture)
    ground = _near(rng, ((95, 150, 75), (195, 170, 120), (150, 150, 155), (235, 240, 245))[rng.integers(4)], 40)
    for layer in range(int(rng.integers(1, 4))):
        level = horizon + layer * (height - horizon) * 0.3
        phase, waves, swing = rng.uniform(0, 6.3), rng.uniform(0.5, 3), rng.uniform(0, 0.06) * height
        xs = np.linspace(0, width, 40)
        ys = level + swing * np.sin(phase + xs / width * waves * 2 * math.pi)
        outline = [(round(float(x)), round(float(y))) for x, y in zip(xs, ys, strict=True)]
        red, green, blue = (max(0, value - 18 * layer) for value in ground)
        draw.polygon([(0, height), *outline, (width, height)], fill=(red, green, blue))
    if rng.random() < 0.6:
        grain = noise(rng, width, height, float(rng.uniform(4, 20)))
        picture = Image.blend(picture, Image.merge("RGB", (grain, grain, grain)), float(rng.uniform(0.03, 0.15)))
    return picture


def _grain(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Wood-like or marble-like: noise stretched along one direction and folded."""
    stretch = int(rng.integers(2, 14))
    base = noise(rng, max(2, width // stretch), height, float(rng.uniform(2, 6)))
    values = np.asarray(base.resize((width, height), Image.Resampling.BICUBIC), np.int32)
    folded = values * int(rng.integers(1, 7)) % 510
    grey = Image.fromarray(np.where(folded > 255, 510 - folded, folded).astype(np.uint8))
    colour = _near(rng, ((150, 105, 65), (205, 170, 125), (225, 222, 218), (70, 55, 45))[rng.integers(4)], 25)
    flat = Image.new("RGB", (width, height), colour)
    picture = Image.blend(flat, Image.merge("RGB", (grey, grey, grey)), float(rng.uniform(0.06, 0.25)))
    return picture.transpose(Image.Transpose.ROTATE_90).resize((width, height)) if rng.random() < 0.5 else picture


def _bokeh(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    picture = _gradient(rng, width, height)
    lights = picture.copy()
    draw = ImageDraw.Draw(lights)
    short = min(width, height)
    for _ in range(int(rng.integers(8, 40))):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.02, 0.14) * short
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(rng))
    lights = lights.filter(ImageFilter.GaussianBlur(short * float(rng.uniform(0.004, 0.03))))
    return Image.blend(picture, lights, float(rng.uniform(0.25, 0.7)))


def _paper(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    base = np.array(_near(rng, (238, 234, 226), 16), np.int32)
    fibre = np.asarray(noise(rng, width, height, 30, 3), np.int32)[..., None] - 128
    shades = base + fibre * int(rng.integers(3, 16)) // 128
    picture = Image.fromarray(np.clip(shades, 0, 255).astype(np.uint8))
    if rng.random() < 0.4:  # ruled
        draw = ImageDraw.Draw(picture)
        step, colour = max(6, min(width, height) // int(rng.integers(8, 24))), _near(rng, (150, 175, 215), 40)
        for y in range(step, height, step):
            draw.line((0, y, width, y), fill=colour)
        if rng.random() < 0.5:
            for x in range(step, width, step):
                draw.line((x, 0, x, height), fill=colour)
    return picture


def _scatter(rng: np.random.Generator, picture: Image.Image) -> None:
    """Polygons, ellipses and lines that belong to no name, drawn into the picture."""
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    short = min(width, height)
    for _ in range(int(rng.integers(2, 25))):
        x, y, size = rng.uniform(0, width), rng.uniform(0, height), short * float(rng.uniform(0.02, 0.25))
        fill = _colour(rng)
        kind = rng.integers(4)
        if kind == 0:
            draw.ellipse(
                (x - size, y - size * rng.uniform(0.3, 1), x + size, y + size * rng.uniform(0.3, 1)), fill=fill
            )
        elif kind == 1:
            points = [(x + size * rng.uniform(-1, 1), y + size * rng.uniform(-1, 1)) for _ in range(rng.integers(3, 7))]
            draw.polygon(points, fill=fill)
        elif kind == 2:
            end = (x + 4 * size * rng.uniform(-1, 1), y + 4 * size * rng.uniform(-1, 1))
            draw.line(((x, y), end), fill=fill, width=max(1, int(short * rng.uniform(0.003, 0.03))))
        else:
            draw.arc((x - size, y - size, x + size, y + size), 0, float(rng.uniform(60, 360)), fill=fill, width=2)


_PAINTERS: tuple[Callable[[np.random.Generator, int, int], Image.Image], ...] = (
    _flat,
    _gradient,
    _plasma,
    _plasma,
    _photographic,
    _photographic,
    _stripes,
    _checker,
    _dots,
    _landscape,
    _landscape,
    _grain,
    _grain,
    _bokeh,
    _paper,
)
